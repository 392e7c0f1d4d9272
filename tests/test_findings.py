"""The tables of docs/findings.md are those of the stored results."""

from __future__ import annotations

from pathlib import Path

import pytest

from findings_tables import TABLES

PAGE = (Path(__file__).parents[1] / "docs" / "findings.md").read_text()


@pytest.mark.parametrize("recipe", TABLES)
def test_the_page_shows_what_was_measured(recipe: str) -> None:
    assert "\n".join(TABLES[recipe](recipe)) in PAGE
    assert f"`medaegis run {recipe} " in PAGE
