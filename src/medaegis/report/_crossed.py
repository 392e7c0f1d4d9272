"""Tables of detectors that learned from one attack and met another, and of differences between AUCs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from medaegis.report._read import DifferenceLine, MatrixLine
from medaegis.report._tables import VARIANT_LABELS, Cell, Column, Grid, Line, Scope, number, unique

SHOWN = "AUC"
TINY_P = 0.001


@dataclass(frozen=True)
class Crossing:
    """The matrix of one budget and way of hiding."""

    title: str
    grid: Grid


def crossings(lines: Sequence[MatrixLine]) -> tuple[Crossing, ...]:
    """The matrices: rows the attack that detectors learned from, columns the one they are tested on, cells the AUC.

    Example:
        >>> crossings([])
        ()
    """
    own = [line for line in lines if line.metric == SHOWN]
    places = dict.fromkeys((line.eps, line.hfc) for line in own)
    return tuple(_crossing(eps, hfc, [x for x in own if (x.eps, x.hfc) == (eps, hfc)]) for eps, hfc in places)


def _crossing(eps: str, hfc: str, lines: list[MatrixLine]) -> Crossing:
    title = f"Budget {eps}, {VARIANT_LABELS.get(hfc, hfc)}"
    tested = unique(line.attack for line in lines)
    found = {(line.detector, line.learned, line.attack): line for line in lines}
    rows = [
        Line(f"{name}, learned from {learned}", tuple(_matrix_cell(found.get((name, learned, a))) for a in tested))
        for name in unique(line.detector for line in lines)
        for learned in unique(line.learned for line in lines)
    ]
    columns = tuple(Column(f"tested on {attack}", ("",)) for attack in tested)
    return Crossing(title, Grid("Detector", columns, tuple(rows)))


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
