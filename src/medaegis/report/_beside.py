"""Attacks on several data sets, or from several substitutes, in one table: HFC-23 Tables IV and V."""

from __future__ import annotations

from collections.abc import Sequence

from medaegis.report._cushions import has_cushions
from medaegis.report._read import Row
from medaegis.report._tables import (
    SUCCESS,
    TRANSFER,
    VARIANT_LABELS,
    Column,
    Grid,
    Line,
    Scope,
    cell,
    lookup,
    scopes,
    unique,
    variants_of,
)

AREA = "AUC"


def places_of(table: Sequence[Row]) -> tuple[tuple[str, str], ...]:
    """The data sets and models of a table, in its order.

    Example:
        >>> places_of([])
        ()
    """
    return tuple(dict.fromkeys((row.dataset, row.model) for row in table))


def whose(table: Sequence[Row], scope: Scope) -> str:
    """The data set and the model of a block, as far as the table has several; "" where it has one.

    Example:
        >>> whose([], Scope("CXR", "ResNet-50", "BIM", "1/256"))
        ''
    """
    several = zip((scope.dataset, scope.model), zip(*places_of(table), strict=True), strict=False)
    return ", ".join(own for own, known in several if len(set(known)) > 1)


def beside(table: Sequence[Row]) -> Grid | None:
    """Every attack on every data set and model; None where there is one, no detector, or a Cushion is compared.

    Args:
        table: the rows of table.csv.

    Returns:
        Lines are attacks at a budget without and with HFC; columns their success and the AUC of each detector.

    Example:
        >>> beside([]) is None
        True
    """
    names = unique(row.detector for row in table if row.detector)
    if len(places_of(table)) < 2 or not names or has_cushions(table):
        return None
    found = [metric for metric in TRANSFER if any(row.metric == metric for row in table)]
    measured = [("", SUCCESS), *(("", metric) for metric in found), *((name, AREA) for name in names)]
    columns = tuple(Column(f"{name} {metric}".strip(), ("",)) for name, metric in measured)
    lines = tuple(_line(table, scope, way, measured) for scope in scopes(table) for way in variants_of(table, scope))
    return Grid("Attack", columns, lines)


def _line(table: Sequence[Row], scope: Scope, way: str, measured: Sequence[tuple[str, str]]) -> Line:
    cells = tuple(cell(lookup(table, scope, metric, name, way)) for name, metric in measured)
    return Line(f"{scope.attack} {scope.eps}, {VARIANT_LABELS.get(way, way)}", cells, group=whose(table, scope))
