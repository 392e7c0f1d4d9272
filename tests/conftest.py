"""The order of the test files: the longest come first, so that two workers end together."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
LONG = (
    HERE / "recipes" / "test_run_all_tiny.py",
    HERE / "contracts",
    HERE / "recipes",  # these find stages of the first file, so they come later
    HERE / "experiment",
    HERE / "defend",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: next((i for i, one in enumerate(LONG) if item.path.is_relative_to(one)), len(LONG)))
