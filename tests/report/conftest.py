from __future__ import annotations

from pathlib import Path

import pytest

from medaegis.report import render_report
from report.fake_run import write_fake_run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered run folder that no test changes."""
    folder = write_fake_run(tmp_path_factory.mktemp("runs") / "finished")
    render_report(folder)
    return folder


@pytest.fixture(scope="session")
def page(finished: Path) -> str:
    return (finished / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small unrendered run folder that a test may change."""
    return write_fake_run(tmp_path / "run", budgets=(1,))
