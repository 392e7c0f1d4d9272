"""What the pages on features share: drawings in groups, tables and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
class StudyGroup:
    """Drawings under one heading; `text` says how to read them."""

    title: str
    text: str
    legend: tuple[Stroke, ...]
    panels: tuple[StudyPanel, ...]


@dataclass(frozen=True)
class StudyTable:
    """A table with its caption."""

    caption: str
    grid: Grid


@dataclass(frozen=True)
class Study:
    """One page's subject: what it found, its drawings and its tables; `note` says what its figures are."""

    title: str
    note: str
    findings: tuple[Finding, ...]
    groups: tuple[StudyGroup, ...]
    tables: tuple[StudyTable, ...]


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
    for one in tables:
        lines += ["", one.caption, *grid_lines(one.grid)]
    return lines


def grid_lines(grid: Grid) -> list[str]:
    """A printed table as lines for a terminal, with the papers' figures.

    Example:
        >>> grid_lines(Grid("Layer", (), ()))
        ['Layer']
    """
    heads = [f"{column.metric} {variant}".strip() for column in grid.columns for variant in column.variants]
    start = 2 + max([len(grid.corner), *(len(line.name) for line in grid.lines)])
    rows = [(grid.corner, heads)] + [(line.name, [_told(cell) for cell in line.cells]) for line in grid.lines]
    wide = [max(26, 2 + max(len(texts[i]) for _, texts in rows)) for i in range(len(heads))]
    return [
        (name.ljust(start) + "".join(text.ljust(width) for text, width in zip(texts, wide, strict=True))).rstrip()
        for name, texts in rows
    ]


def _told(cell: Cell) -> str:
    published = f" (paper: {cell.published})" if cell.published else ""
    return f"{cell.value} {cell.interval}".strip() + published
