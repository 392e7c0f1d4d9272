from __future__ import annotations

from pathlib import Path

import pytest

from experiment.own_images import NETS, write_images


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six dark and six light images."""
    return write_images(tmp_path_factory.mktemp("data") / "pictures")


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an importable module of networks."""
    (tmp_path / "brightness_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "brightness_nets"
