"""The stress test's page: change of the mean activation by block, data set, direction and budget."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medaegis.report._figures import Stroke
from medaegis.report._headline import Finding
from medaegis.report._read import Row
from medaegis.report._study import Study, StudyGroup, StudyPanel, StudyTable
from medaegis.report._study_figures import Profile, profile_svg
from medaegis.report._tables import Column, Grid, Line, budget, cell, number, unique

RATIO, BEFORE, AFTER = "change ratio", "activation before", "activation after"
WAYS = {"down": "lowered", "up": "raised"}
LINES = (
    ("#D55E00", ()),
    ("#0072B2", (5.0, 2.5)),
    ("#00876A", (1.2, 1.6)),
    ("#B0588A", (6.0, 2.0, 1.2, 2.0)),
    ("#B57600", (8.0, 2.0)),
    ("#2E86C1", (3.0, 1.5)),
)
READ = (
    "Change of the mean activation, in percent of its mean on clean images, once an attack does nothing but lower or "
    "raise it; each layer has attacks of its own. Bands are 95 % intervals over cases. A layer behind a ReLU cannot "
    "be lowered by more than 100 %."
)


def stress_study(table: Sequence[Row]) -> Study | None:
    """Draw the stress test; None where the table holds none.

    Args:
        table: the rows of table.csv.

    Returns:
        A group of drawings and two tables a budget.

    Example:
        >>> stress_study([]) is None
        True
    """
    rows = [r for r in table if r.metric == RATIO]
    if not rows:
        return None
    note = "A change ratio is the change of a layer\u2019s mean activation in percent of its clean mean."
    groups = tuple(stress_group(rows, eps, i) for i, eps in enumerate(budgets(rows)))
    return Study("Change by block", note, findings(table), groups, stress_tables(table))


def budgets(rows: Sequence[Row]) -> list[str]:
    """The budgets of some rows, from small to large."""
    return sorted({r.eps for r in rows}, key=budget)


def stress_tables(table: Sequence[Row]) -> tuple[StudyTable, ...]:
    """The change ratios, and the activations behind them as HFC-21 Table 1 has them, by budget.

    Example:
        >>> stress_tables([])
        ()
    """
    eps = budgets([r for r in table if r.metric == RATIO])
    return tuple(part for one in eps for part in (ratios_table(table, one), activations_table(table, one)))


def layers_of(rows: Sequence[Row]) -> tuple[str, ...]:
    """The layers of some rows, in the table's order."""
    return unique(r.attack.partition(" ")[2] for r in rows)


def _find(table: Sequence[Row], metric: str, eps: str, dataset: str, attack: str) -> Row | None:
    wanted = (metric, eps, dataset, attack)
    return next((r for r in table if (r.metric, r.eps, r.dataset, r.attack) == wanted), None)


def ratios_table(table: Sequence[Row], eps: str, metric: str = RATIO) -> StudyTable:
    """One budget's changes: rows layers, columns data sets and ways."""
    rows = [r for r in table if r.metric == metric and r.eps == eps]
    sets = unique(r.dataset for r in rows)
    lines = tuple(
        Line(layer, tuple(cell(_find(rows, metric, eps, name, f"{way} {layer}")) for name in sets for way in WAYS))
        for layer in layers_of(rows)
    )
    grid = Grid("Last activation of a block", tuple(Column(name, tuple(WAYS)) for name in sets), lines)
    return StudyTable(f"Change of the mean activation in percent, budget {eps}", grid)


def activations_table(table: Sequence[Row], eps: str) -> StudyTable:
    """One budget's mean activations, before and after."""
    rows = [r for r in table if r.metric in (BEFORE, AFTER) and r.eps == eps]
    columns = (Column("before", ("",)), Column("after", tuple(WAYS)))
    lines = tuple(
        Line(
            f"{name}, {layer}",
            (
                cell(_find(rows, BEFORE, eps, name, f"down {layer}"), 2),
                *(cell(_find(rows, AFTER, eps, name, f"{way} {layer}"), 2) for way in WAYS),
            ),
        )
        for name in unique(r.dataset for r in rows)
        for layer in layers_of([r for r in rows if r.dataset == name])
    )
    return StudyTable(f"Mean activation in hundredths, budget {eps}", Grid("Data set and layer", columns, lines))


def stress_group(rows: Sequence[Row], eps: str, number_: int, text: str = READ) -> StudyGroup:
    """One budget's drawings, a line a data set; `number_` tells them apart on a page."""
    own = [r for r in rows if r.eps == eps]
    sets = unique(r.dataset for r in own)
    strokes = tuple(Stroke(name, *LINES[i % len(LINES)], 1.7) for i, name in enumerate(sets))
    panels = tuple(_panel(own, way, strokes, f"stress-{number_}-{way}") for way in WAYS)
    return StudyGroup(f"Budget {eps}", text, strokes, panels)


def _panel(rows: Sequence[Row], way: str, strokes: Sequence[Stroke], name: str) -> StudyPanel:
    layers = layers_of(rows)
    found: list[Profile] = []
    for stroke in strokes:
        own = [_find(rows, RATIO, rows[0].eps, stroke.label, f"{way} {layer}") for layer in layers]
        ends = ([math.nan if r is None else getattr(r, end) for r in own] for end in ("ci_low", "value", "ci_high"))
        found.append(Profile(stroke, *ends))
    last = ", ".join(f"{p.stroke.label} {_percent(p.value[-1])}" for p in found)
    alt = f"Change of the mean activation by block once {WAYS[way]}, budget {rows[0].eps}; at the last block: {last}."
    return StudyPanel(WAYS[way].capitalize(), profile_svg(found, layers, name=name, alt=alt), f"Last block: {last}.")


def _percent(value: float) -> str:
    return f"{value:+.0f}\u00a0%".replace("-", "\u2212") if math.isfinite(value) else "n/a"


def findings(table: Sequence[Row]) -> tuple[Finding, ...]:
    """How far the last block's activation goes on each data set, by budget, in sentences.

    Example:
        >>> findings([])
        ()
    """
    rows = [r for r in table if r.metric == RATIO]
    return tuple(_finding([r for r in rows if r.eps == eps]) for eps in budgets(rows))


def _finding(rows: Sequence[Row]) -> Finding:
    layers = layers_of(rows)
    ends = {way: [r for r in rows if r.attack == f"{way} {layers[-1]}" and math.isfinite(r.value)] for way in WAYS}
    title = f"Stress test with a budget of {rows[0].eps} ({rows[0].model})"
    if not ends["up"] or not ends["down"]:
        return Finding(title, "The mean activation of the last block is zero on clean images: it has no ratio.", ())
    lead = f"At the last block, the mean activation can be raised by {_listed(ends['up'], 1)}."
    return Finding(title, lead, (f"It can be lowered by {_listed(ends['down'], -1)}.", *_compared(ends)))


def _turned(row: Row, sign: int) -> tuple[float, float, float]:
    """Value and interval of a change, counted in the direction that was asked for."""
    low, high = sorted((sign * row.ci_low, sign * row.ci_high))
    return sign * row.value, low, high


def _listed(rows: Sequence[Row], sign: int) -> str:
    parts: list[str] = []
    for row in rows:
        value, low, high = (number(end) for end in _turned(row, sign))
        parts.append(f"{value}\u00a0% [{low}, {high}] on {row.dataset} (n\u00a0=\u00a0{row.n})")
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _compared(ends: dict[str, list[Row]]) -> tuple[str, ...]:
    """Which data set's features go furthest, where the intervals tell."""
    if len(ends["up"]) < 2:
        return ()
    said = [_furthest(ends[way], way, sign) for way, sign in (("up", 1), ("down", -1))]
    return (*said, "One network a data set was trained, so the intervals do not cover a training with another seed.")


def _furthest(rows: Sequence[Row], way: str, sign: int) -> str:
    ordered = sorted(rows, key=lambda row: -_turned(row, sign)[0])
    first, others = ordered[0], ordered[1:]
    near = [row.dataset for row in others if _turned(row, sign)[2] >= _turned(first, sign)[1]]
    if not near:
        return f"Features of {first.dataset} can be {WAYS[way]} furthest; its interval lies above the others."
    names = " and ".join([first.dataset, *near])
    return f"Which can be {WAYS[way]} furthest is open: the intervals of {names} overlap."
