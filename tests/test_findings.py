"""The tables of docs/findings, the reference mode and README are those of the stored results; commands are named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from findings_lines import RESULTS, lines_of
from findings_tables import DRAWN, RECIPES, REPEATED, TABLES

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [*sorted((DOCS / "findings").glob("*.md")), DOCS / "reference-mode.md", DOCS.parent / "README.md"]
PAGE = "\n".join(page.read_text() for page in PAGES)


@pytest.mark.parametrize(("name", "draw"), DRAWN)
def test_the_page_shows_what_was_measured(name: str, draw: Callable[[str], list[str]]) -> None:
    assert "\n".join(draw(name)) in PAGE


@pytest.mark.parametrize("name", TABLES)
def test_the_page_names_the_command(name: str) -> None:
    command = json.loads((RESULTS / name / "manifest.json").read_text())["command"]
    changes = [word for word in command.split() if "=" in word]
    assert command.split()[:2] == ["medaegis", "run"]
    sets = "".join(f" --set {change}" for change in changes)
    data = " --data DIR" if "--data" in command.split() else ""
    assert f"`medaegis run {RECIPES.get(name, name.partition('/')[0])}{data}{sets}`" in PAGE


@pytest.mark.parametrize(("again", "before"), REPEATED.items())
def test_the_same_processor_gives_the_same_figures(again: str, before: str) -> None:
    place = ("dataset", "model", "attack", "eps", "hfc", "detector", "metric")
    first = {tuple(line[name] for name in place): line["value"] for line in lines_of(before)}
    # A worst case is over the attackers of the run.
    both = [line for line in lines_of(again) if line["attack"] != "Worst case"]
    assert len(both) > 20
    assert [line["value"] for line in both] == [first[tuple(line[name] for name in place)] for line in both]
