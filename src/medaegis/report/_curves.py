"""Success against the budget: one panel an attack, and one table of all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from medaegis.report._figures import Stroke, band_svg
from medaegis.report._headline import Finding
from medaegis.report._read import Row
from medaegis.report._tables import Column, Grid, Line, budget, cell, interval, number, unique

LEAST = 3  # budgets from which a curve says more than a table
MEASURE = "Adv. Acc"
HALF = 50.0
OTHERS = Stroke("other attacks", "#8A8A8A", (), 0.8)
ATTACK = Stroke("this attack, with its 95 % interval", "#D55E00", (), 1.9)


@dataclass(frozen=True)
class CurvePanel:
    """One attack's success against the budget; `note` says it in words."""

    attack: str
    svg: Markup
    note: str


@dataclass(frozen=True)
class Curves:
    """The panels, their legend, and the table of every attack at every budget."""

    panels: tuple[CurvePanel, ...]
    legend: tuple[Stroke, ...]
    grid: Grid


def success_curves(table: Sequence[Row]) -> Curves | None:
    """Draw the success of every attack against its budget; None where no attack has at least three budgets.

    Args:
        table: the rows of table.csv; those of attacks without HFC are drawn.

    Returns:
        Panels in the table's order of attacks, and the same numbers as a table.

    Example:
        >>> success_curves([]) is None
        True
    """
    rows = [r for r in table if _drawn(r)]
    names = unique(r.attack for r in rows)
    by_attack = {name: sorted((r for r in rows if r.attack == name), key=lambda r: budget(r.eps)) for name in names}
    if max((len(points) for points in by_attack.values()), default=0) < LEAST:
        return None
    panels = tuple(_panel(name, i, by_attack) for i, name in enumerate(names) if len(by_attack[name]) >= LEAST)
    return Curves(panels, (ATTACK, OTHERS), _grid(by_attack))


def curve_findings(table: Sequence[Row]) -> tuple[Finding, ...]:
    """How far the strongest attack gets at each budget, in sentences.

    Args:
        table: the rows of table.csv.

    Returns:
        One finding a data set and model.

    Example:
        >>> curve_findings([])
        ()
    """
    rows = [r for r in table if _drawn(r)]
    return tuple(_finding([r for r in rows if (r.dataset, r.model) == one]) for one in dict.fromkeys(map(_about, rows)))


def _about(row: Row) -> tuple[str, str]:
    return row.dataset, row.model


def _finding(rows: Sequence[Row]) -> Finding:
    strongest = [max((r for r in rows if r.eps == eps), key=lambda r: r.value) for eps in _every_budget(rows)]
    attacks = unique(r.attack for r in rows)
    several = len(attacks) > 1
    half = next((r for r in strongest if r.value >= HALF), None)
    lead = "No attack changes the decision of the classifier in half of the cases at any of the budgets."
    if half is not None:
        lead = (
            f"A budget of {half.eps} is enough to change the decision of the classifier in "
            f"{number(half.value)}\u00a0% {interval(half)} of cases (n\u00a0=\u00a0{half.n})"
            + (f", with {half.attack}." if several else ".")
        )
    best = ", ".join(f"{r.eps}: {number(r.value)}\u00a0%" + (f" ({r.attack})" if several else "") for r in strongest)
    who = f"{len(attacks)} attacks" if several else rows[0].attack
    title = f"{who} against the budget ({', '.join(_about(rows[0]))})"
    return Finding(title, lead, (f"{'The strongest attack' if several else 'Success'} at each budget is {best}.",))


def _every_budget(rows: Sequence[Row]) -> list[str]:
    return sorted({r.eps for r in rows}, key=budget)


def grid_text(curves: Curves) -> list[str]:
    """The table of all attacks as lines for a terminal: success in percent, without intervals.

    Example:
        >>> from medaegis.report._tables import Cell
        >>> grid_text(Curves((), (), Grid("Attack", (Column("1/256", ("",)),), (Line("BIM", (Cell("50.0"),)),))))
        ['Fooled, percent      1/256', 'BIM                   50.0']
    """
    grid = curves.grid
    wide = max(16, *(len(line.name) + 2 for line in grid.lines))
    head = "Fooled, percent".ljust(wide) + "".join(column.metric.rjust(10) for column in grid.columns)
    return [head, *(line.name.ljust(wide) + "".join(c.value.rjust(10) for c in line.cells) for line in grid.lines)]


def _drawn(row: Row) -> bool:
    plain = row.metric == MEASURE and not row.detector and row.hfc in ("", "without")
    return plain and budget(row.eps) > 0 and math.isfinite(row.value)


def _panel(name: str, number: int, by_attack: dict[str, list[Row]]) -> CurvePanel:
    points = by_attack[name]
    words = ", ".join(f"{r.eps}: {r.value:.0f} %" for r in points)
    others = [(_budgets(rows), [r.value for r in rows]) for other, rows in by_attack.items() if other != name]
    band = [r.ci_low for r in points], [r.value for r in points], [r.ci_high for r in points]
    ticks = sorted({x for rows in by_attack.values() for x in _budgets(rows)})
    alt = f"Success of {name} by budget: {words}."
    svg = band_svg(_budgets(points), band, (ATTACK, OTHERS), others, ticks=ticks, name=f"curve-{number}", alt=alt)
    return CurvePanel(name, svg, ("" if len(points) == 1 else f"{points[0].value:.0f} % to {points[-1].value:.0f} %"))


def _budgets(rows: Sequence[Row]) -> list[float]:
    return [256 * budget(r.eps) for r in rows]


def _grid(by_attack: dict[str, list[Row]]) -> Grid:
    every = _every_budget([r for rows in by_attack.values() for r in rows])
    lines = [
        Line(name, tuple(cell(next((r for r in rows if r.eps == eps), None)) for eps in every))
        for name, rows in by_attack.items()
    ]
    return Grid("Attack", tuple(Column(eps, ("",)) for eps in every), tuple(lines))
