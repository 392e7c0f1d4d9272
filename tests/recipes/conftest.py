"""The stages of `run all --tiny`, for the tests of single recipes that come after it."""

from __future__ import annotations

from pathlib import Path

import pytest

FINISHED = "finished"


@pytest.fixture(scope="session")
def all_tiny(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder of `run all --tiny`, the same for all workers; it holds `FINISHED` once nothing is added to it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "all"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def stages(all_tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stages that the tests of a file share, with those of `run all --tiny` where it has finished."""
    return all_tiny / "stages" if (all_tiny / FINISHED).exists() else tmp_path_factory.mktemp("stages")


@pytest.fixture
def out(tmp_path: Path, stages: Path) -> Path:
    """A folder of a run whose stages are shared with other tests, as those of `runs/` are."""
    (tmp_path / "stages").symlink_to(stages)
    return tmp_path
