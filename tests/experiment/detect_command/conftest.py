from __future__ import annotations

from pathlib import Path

import pytest

from experiment import striped
from experiment.detect_command.detect_world import World, make_world


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an importable module of networks."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return striped.write_module(tmp_path, "striped_nets")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A network, its images and its detectors, fitted once for all tests."""
    root = tmp_path_factory.mktemp("striped")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root))
        return make_world(root)
