"""The tables of docs/findings.md are those of the stored results, and the page names the commands that made them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from findings_tables import RECIPES, RESULTS, TABLES

PAGE = (Path(__file__).parents[1] / "docs" / "findings.md").read_text()


@pytest.mark.parametrize("name", TABLES)
def test_the_page_shows_what_was_measured(name: str) -> None:
    assert "\n".join(TABLES[name](name)) in PAGE


@pytest.mark.parametrize("name", TABLES)
def test_the_page_names_the_command(name: str) -> None:
    command = json.loads((RESULTS / name / "manifest.json").read_text())["command"]
    changes = [word for word in command.split() if "=" in word]
    assert command.split()[:2] == ["medaegis", "run"]
    sets = "".join(f" --set {change}" for change in changes)
    assert f"`medaegis run {RECIPES.get(name, name)} --data DIR{sets}`" in PAGE
