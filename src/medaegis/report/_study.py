"""What the pages on features share: drawings in groups, tables and sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from markupsafe import Markup

from medaegis.report._figures import Stroke
from medaegis.report._headline import Finding
from medaegis.report._read import Row
from medaegis.report._tables import Cell, Grid

CLEAN = ("clean accuracy", "clean AUC")


@dataclass(frozen=True)
class StudyPanel:
    """One drawing with its heading and a line beneath."""

    title: str
    svg: Markup
    note: str


@dataclass(frozen=True)
class StudyTable:
    """A table with its caption."""

    caption: str
    grid: Grid


@dataclass(frozen=True)
class StudyGroup:
    """Drawings under one heading; `text` says how to read them.

    `numbers` are the figures behind them, where no table of the study has them.
    """

    title: str
    text: str
    legend: tuple[Stroke, ...]
    panels: tuple[StudyPanel, ...]
    numbers: tuple[StudyTable, ...] = ()


@dataclass(frozen=True)
class Study:
    """One page's subject: what it found, its drawings and its tables; `note` says what its figures are."""

    title: str
    note: str
    findings: tuple[Finding, ...]
    groups: tuple[StudyGroup, ...]
    tables: tuple[StudyTable, ...]


Made = TypeVar("Made")


def by_set(table: Sequence[Row], make: Callable[[Sequence[Row]], Made | None]) -> dict[str, Made]:
    """What is made of each data set's and network's rows, by both names; "" where the table is of one only.

    Args:
        table: the rows of table.csv.
        make: from rows; None where there is nothing to make.

    Example:
        >>> by_set([], len)
        {}
    """
    scopes = list(dict.fromkeys((row.dataset, row.model) for row in table))
    made = {one: make([row for row in table if (row.dataset, row.model) == one]) for one in scopes}
    found = {one: value for one, value in made.items() if value is not None}
    return {", ".join(one) if len(found) > 1 else "": value for one, value in found.items()}


def tables_by_set(
    table: Sequence[Row], make: Callable[[Sequence[Row]], tuple[StudyTable, ...]]
) -> tuple[StudyTable, ...]:
    """Tables of each data set and network; captions begin with their names where there are several.

    Example:
        >>> tables_by_set([], lambda rows: ())
        ()
    """
    found = by_set(table, lambda rows: make(rows) or None)
    return tuple(
        replace(one, caption=f"{title}: {one.caption[0].lower()}{one.caption[1:]}" if title else one.caption)
        for title, tables in found.items()
        for one in tables
    )


def tables_text(table: Sequence[Row], tables: Sequence[StudyTable]) -> list[str]:
    """A study's tables as lines for a terminal, after the classifiers' clean figures.

    Example:
        >>> tables_text([], [])
        []
    """
    lines: list[str] = []
    for name, model in dict.fromkeys((r.dataset, r.model) for r in table if r.metric in CLEAN):
        own = [r for r in table if (r.dataset, r.model) == (name, model) and r.metric in CLEAN]
        said = ", ".join(f"{r.metric} {r.value:.1f} [{r.ci_low:.1f}, {r.ci_high:.1f}] n={r.n}" for r in own)
        lines.append(f"{name}, {model}: {said}")
    return lines + grids_text(tables)


def grids_text(tables: Sequence[StudyTable]) -> list[str]:
    """Tables as lines for a terminal, each behind an empty line and its caption.

    Example:
        >>> grids_text([])
        []
    """
    return [line for one in tables for line in ("", one.caption, *grid_lines(one.grid))]


def grid_lines(grid: Grid) -> list[str]:
    """A printed table as lines for a terminal, with the papers' figures.

    Example:
        >>> grid_lines(Grid("Layer", (), ()))
        ['Layer']
    """
    heads = [f"{column.metric} {variant}".strip() for column in grid.columns for variant in column.variants]
    rows = [(line, [_cell_text(cell) for cell in line.cells]) for line in grid.lines]
    wide = [2 + max(len(texts[i]) for texts in (heads, *(texts for _, texts in rows))) for i in range(len(heads))]
    start = 2 + max([len(grid.corner), *(len(line.name) for line in grid.lines)])
    found = [_joined(grid.corner, heads, start, wide)]
    group = ""
    for line, texts in rows:
        found += [f"- {line.group}"] if line.group != group else []
        group = line.group
        found.append(_joined(line.name, texts, start, wide))
    return found


def _joined(name: str, texts: Sequence[str], start: int, wide: Sequence[int]) -> str:
    return (name.ljust(start) + "".join(text.ljust(width) for text, width in zip(texts, wide, strict=True))).rstrip()


def _cell_text(cell: Cell) -> str:
    published = f"(paper: {cell.published})" if cell.published else ""
    return " ".join(part for part in (cell.value, cell.interval, published) if part)
