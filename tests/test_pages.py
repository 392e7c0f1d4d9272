"""The pages in docs/results are those of the stored results: `make pages` was run after the last change of one."""

from __future__ import annotations

import base64
import csv
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RESULTS, PAGES = ROOT / "results" / "0.1.0", ROOT / "docs" / "results"
STORED = sorted(path.parent.relative_to(RESULTS) for path in RESULTS.glob("**/table.csv"))


def figures(table: str) -> list[list[str | float]]:
    """A table's lines; figures as numbers, since the page writes them rounded, and leaves a NaN out."""
    return [[as_number(value) for value in line] for line in csv.reader(table.splitlines())]


def as_number(text: str) -> str | float:
    try:
        return "" if text == "nan" else float(text)
    except ValueError:
        return text


@pytest.mark.parametrize("name", STORED, ids=str)
def test_a_result_has_its_page_with_its_figures(name: Path) -> None:
    """The table that the page offers as a download is the stored one."""
    download = re.search(
        r'href="data:text/csv;charset=utf-8;base64,([^"]+)"', (PAGES / name / "report.html").read_text()
    )
    assert download
    shown = figures(base64.b64decode(download[1]).decode())
    stored = figures((RESULTS / name / "table.csv").read_text())
    assert len(stored) > 1
    assert shown == stored


def test_no_page_outlives_its_result() -> None:
    assert {page.parent.relative_to(PAGES) for page in PAGES.glob("*/**/report.html")} == set(STORED)


def test_the_index_leads_to_every_page() -> None:
    index = (PAGES / "index.html").read_text()
    missing = [name for name in STORED if len(name.parts) == 1 and f'href="{name}/report.html"' not in index]
    assert not missing
