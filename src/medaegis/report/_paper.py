"""A run's figures laid out as the papers lay out their tables: to print beside them, and to export."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from medaegis.report._curves import success_curves
from medaegis.report._cushions import cushion_grids
from medaegis.report._lesions import lesion_grid
from medaegis.report._read import Row as TableRow
from medaegis.report._read import RunFolder
from medaegis.report._study import Study, StudyTable
from medaegis.report._tables import (
    CLEAN_METRICS,
    SUCCESS,
    VARIANT_LABELS,
    Cell,
    Column,
    Grid,
    Line,
    Scope,
    blocks,
    budget,
    cell,
    detectors_of,
    interval,
    lookup,
    number,
    scopes,
    unique,
    variants_of,
)
from medaegis.report._unnoticed import white_box_grid

ARROW = " \u2192 "
METRICS = ("AUC", "TPR@90")


def paper_tables(run: RunFolder, study: Study | None) -> tuple[StudyTable, ...]:
    """The tables of a run as its paper has them.

    Args:
        run: a run folder's contents.
        study: the page's study, where the run is one.

    Returns:
        Lesions by size, attacks by budget, a study's own tables, ways of hiding, or detectors by attack: what the run
        measured; none where its table holds no attack.

    Example:
        >>> paper_tables(read_run(Path("runs/demo")), None)[0].grid.corner  # doctest: +SKIP
        'Detector'
    """
    table = run.table
    lesions, curves = lesion_grid(table), success_curves(table)
    if lesions is not None:
        return (StudyTable("Synthetic lesions: AUC of the HFC score, and changed decisions (FR), in percent", lesions),)
    if study is not None:
        return study.tables
    if curves is not None and not any(row.detector for row in table):
        return (StudyTable("Fooled cases in percent, by attack and budget", curves.grid),)
    cushions = tuple(StudyTable(f"{caption}, in percent", grid) for caption, grid in cushion_grids(table).items())
    return cushions or (*main_tables(table), *_white_boxes(table))


def main_tables(table: Sequence[TableRow]) -> tuple[StudyTable, ...]:
    """Ways of hiding where there are more than two, else detectors by attack; none where Cushions are compared.

    Example:
        >>> main_tables([])
        ()
    """
    return () if cushion_grids(table) else tuple(_comparisons(table)) or point_wise(table)


def _about(scope: Scope) -> str:
    return f"{scope.dataset}, {scope.model}, {scope.attack} at {scope.eps}"


def _comparisons(table: Sequence[TableRow]) -> list[StudyTable]:
    found = [(block.scope, block.comparison) for block in blocks(table)]
    return [StudyTable(f"Ways of hiding: {_about(s)}, in percent", grid) for s, grid in found if grid is not None]


def _white_boxes(table: Sequence[TableRow]) -> list[StudyTable]:
    found = [(scope, white_box_grid(table, scope)) for scope in scopes(table)]
    return [StudyTable(f"White-box: {_about(scope)}, in percent", grid) for scope, grid in found if grid is not None]


def point_wise(table: Sequence[TableRow]) -> tuple[StudyTable, ...]:
    """HFC-21 Table 2: rows detectors, columns attacks and measures, cells "without -> with HFC"; one table a budget.

    Args:
        table: the rows of table.csv.

    Returns:
        Tables by data set, model and budget; attacks without a detector stand in one line, the classifier's.

    Example:
        >>> point_wise([])
        ()
    """
    every = scopes(table)
    places = dict.fromkeys((s.dataset, s.model, s.eps) for s in sorted(every, key=lambda s: budget(s.eps)))
    groups = [[s for s in every if (s.dataset, s.model, s.eps) == place] for place in places]
    return tuple(_point_wise(table, group) for group in groups)


def _point_wise(table: Sequence[TableRow], group: Sequence[Scope]) -> StudyTable:
    first = group[0]
    names = unique(name for scope in group for name in detectors_of(table, scope))
    paired = any(len(variants_of(table, scope)) > 1 for scope in group)
    what = f"{VARIANT_LABELS['without']}{ARROW}{VARIANT_LABELS['with']}" if paired else "detectors"
    about = f"{first.dataset}, {first.model}, budget {first.eps}"
    if not names:
        lines = tuple(Line(s.attack, (_pair(table, s, SUCCESS, ""),)) for s in group)
        return StudyTable(f"{about}, in percent", Grid("Attack", (Column(SUCCESS, ("",)),), lines, paired))
    columns = tuple(Column(_head(table, scope), METRICS) for scope in group)
    lines = tuple(Line(n, tuple(_pair(table, s, m, n) for s in group for m in METRICS)) for n in names)
    return StudyTable(f"{about}: {what}, in percent", Grid("Detector", columns, lines, paired))


def counted_once(table: StudyTable) -> StudyTable:
    """The table with n in its caption instead of in every cell, where all cells have the same.

    Example:
        >>> grid = Grid("Detector", (Column("AUC", ("",)),), (Line("KD", (Cell("50.0", n="n = 9"),)),))
        >>> counted_once(StudyTable("Ours", grid)).caption
        'Ours (n = 9)'
    """
    counts = unique(one.n for line in table.grid.lines for one in line.cells if one.n)
    if len(counts) != 1:
        return table
    lines = tuple(replace(line, cells=tuple(replace(one, n="") for one in line.cells)) for line in table.grid.lines)
    return StudyTable(f"{table.caption} ({counts[0]})", replace(table.grid, lines=lines))


def _head(table: Sequence[TableRow], scope: Scope) -> str:
    """The attack with its success, as the papers' heads have it."""
    found = _pair(table, scope, SUCCESS, "")
    paper = f"; published {found.published.rpartition(ARROW)[2]}" if found.published else ""
    return f"{scope.attack} ({SUCCESS} {found.value}{paper})"


def _pair(table: Sequence[TableRow], scope: Scope, metric: str, detector: str) -> Cell:
    """Without and with HFC in one cell; an attack that does not hide has one figure."""
    rows = [lookup(table, scope, metric, detector, variant) for variant in variants_of(table, scope)]
    if len(rows) == 1:
        return cell(rows[0])
    cells = [cell(row) for row in rows]
    n = unique(one.n for one in cells if one.n)
    published = [row is not None and math.isfinite(row.published) for row in rows]
    reasons = unique(one.reason for one in cells if one.reason)
    return Cell(
        ARROW.join(one.value for one in cells),
        ARROW.join(one.interval or "n/a" for one in cells) if any(one.interval for one in cells) else "",
        ", ".join(n),
        ARROW.join(one.published or "\u2013" for one in cells) if any(published) else "",
        "; ".join(reasons) if len(reasons) == 1 and not any(one.interval for one in cells) else "",
    )


def clean_line(table: Sequence[TableRow]) -> str:
    """The classifiers' clean figures in one sentence; empty where there are none.

    Example:
        >>> clean_line([])
        ''
    """
    parts: list[str] = []
    for dataset, model in dict.fromkeys((row.dataset, row.model) for row in table):
        own = [r for r in table if (r.dataset, r.model) == (dataset, model) and r.metric in CLEAN_METRICS]
        said = ", ".join(f"{r.metric} {number(r.value)} {interval(r)}" for r in own if not r.detector)
        parts += [f"{dataset}, {model}: {said}."] if said else []
    return " ".join(parts)
