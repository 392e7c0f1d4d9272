"""Rows of stored results, and how the docs write them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.csv

RESULTS = Path(__file__).parents[1] / "results" / "0.1.0"
Line = dict[str, Any]


def lines_of(recipe: str, sheet: str = "table") -> list[Line]:
    return pyarrow.csv.read_csv(RESULTS / recipe / f"{sheet}.csv").to_pylist()


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    shown = [heads, ["---"] * len(heads), *rows]
    return [f"| {' | '.join(row)} |" for row in shown]


def figure(line: Line, *, interval: bool = False) -> str:
    value = line["value"]
    text = f"{value:.0f}" if value in (0, 100) else f"{value:.1f}"
    return f"{text} [{line['ci_low']:.0f}, {line['ci_high']:.0f}]" if interval else text


def published(line: Line) -> str:
    return "" if line["published"] is None else f" ({line['published']:g})"


def only(lines: list[Line], **wanted: str) -> Line:
    (found,) = [line for line in lines if all(line[name] == value for name, value in wanted.items())]
    return found


def distinct(lines: list[Line], *names: str) -> list[tuple[str, ...]]:
    return list(dict.fromkeys(tuple(line[name] for name in names) for line in lines if line["attack"]))


def beside(lines: list[Line], **place: str) -> str:
    """A figure without -> with HFC, the papers' in brackets."""
    pair = [only(lines, hfc=hfc, **place) for hfc in ("without", "with")]
    return " -> ".join(figure(line) + published(line) for line in pair)
