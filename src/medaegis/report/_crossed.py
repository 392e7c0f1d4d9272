"""Tables of detectors that learned from one attack and met another, and of differences between AUCs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medaegis.report._read import DifferenceLine, MatrixLine
from medaegis.report._study import StudyPanel
from medaegis.report._study_figures import matrix_svg
from medaegis.report._tables import VARIANT_LABELS, Cell, Column, Grid, Line, Scope, number, unique

SHOWN = "AUC"
TINY_P = 0.001


AXES = ("tested on", "learned from")
FROM = "learned from "


@dataclass(frozen=True)
class Crossing:
    """The matrix of one budget and way of hiding, as a table and as drawings, one a detector."""

    title: str
    grid: Grid
    panels: tuple[StudyPanel, ...]


def crossings(lines: Sequence[MatrixLine]) -> tuple[Crossing, ...]:
    """The matrices: rows the attack that detectors learned from, columns the one they are tested on, cells the AUC.

    Example:
        >>> crossings([])
        ()
    """
    own = [line for line in lines if line.metric == SHOWN]
    places = dict.fromkeys((line.eps, line.hfc) for line in own)
    return tuple(
        _crossing(eps, hfc, [x for x in own if (x.eps, x.hfc) == (eps, hfc)], f"crossed-{i}")
        for i, (eps, hfc) in enumerate(places)
    )


def _crossing(eps: str, hfc: str, lines: list[MatrixLine], name: str) -> Crossing:
    title = f"Budget {eps}, {VARIANT_LABELS.get(hfc, hfc)}"
    tested = unique(line.attack for line in lines)
    found = {(line.detector, line.learned, line.attack): line for line in lines}
    rows = [
        Line(f"{name}, {FROM}{learned}", tuple(_matrix_cell(found.get((name, learned, a))) for a in tested))
        for name in unique(line.detector for line in lines)
        for learned in unique(line.learned for line in lines)
    ]
    columns = tuple(Column(f"tested on {attack}", ("",)) for attack in tested)
    panels = tuple(
        _drawn([line for line in lines if line.detector == one], title, f"{name}-{i}")
        for i, one in enumerate(unique(line.detector for line in lines))
    )
    return Crossing(title, Grid("Detector", columns, tuple(rows)), panels)


def _drawn(lines: Sequence[MatrixLine], title: str, name: str) -> StudyPanel:
    learned, tested = unique(line.learned for line in lines), unique(line.attack for line in lines)
    found = {(line.learned, line.attack): line.value / 100 for line in lines}
    values = np.array([[found.get((a, b), math.nan) for b in tested] for a in learned])
    said = "; ".join(f"{FROM}{a}, tested on {b}: {number(100 * value)}" for (a, b), value in found.items())
    alt = f"AUC of {lines[0].detector}, {title}: {said}."
    svg = matrix_svg(learned, values, across=tested, axes_names=AXES, name=name, alt=alt)
    return StudyPanel(lines[0].detector, svg, "Shares of 1; intervals are in the table.")


def _matrix_cell(line: MatrixLine | None) -> Cell:
    if line is None or not math.isfinite(line.value):
        return Cell("n/a", reason="not measured in this run")
    return Cell(number(line.value), f"[{number(line.low)}, {number(line.high)}]")


def difference_grid(lines: Sequence[DifferenceLine], scope: Scope) -> Grid | None:
    """Paired differences of AUCs of one attack and budget, in points; None where there are none.

    Example:
        >>> difference_grid([], Scope("CXR", "ResNet-50", "BIM", "1/256")) is None
        True
    """
    own = [line for line in lines if (line.attack, line.eps) == (scope.attack, scope.eps)]
    if not own:
        return None
    columns = (Column("difference of AUC, points", ("",)), Column("p", ("",)))
    rows = [Line(f"{line.first} \u2212 {line.second}", (_points(line), Cell(_p(line.p)))) for line in own]
    return Grid("Detectors", columns, tuple(rows))


def _points(line: DifferenceLine) -> Cell:
    if not math.isfinite(line.value):
        return Cell("n/a", reason="no case to measure it on")
    ends = f"[{number(line.low)}, {number(line.high)}]" if math.isfinite(line.low) else "no interval"
    return Cell(number(line.value), ends)


def _p(value: float) -> str:
    """A p value as people print it.

    Example:
        >>> _p(0.0), _p(0.04321), _p(float("nan"))
        ('< 0.001', '0.043', 'n/a')
    """
    if not math.isfinite(value):
        return "n/a"
    return f"< {TINY_P}" if value < TINY_P else f"{value:.3f}"
