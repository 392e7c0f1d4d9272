"""What gets past the detectors: success that no detector notices, and white-box attacks on each of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from medaegis.report._read import Row
from medaegis.report._tables import (
    WHITE_BOX,
    Cell,
    Column,
    Grid,
    Line,
    Scope,
    cell,
    detectors_of,
    interval,
    is_white_box,
    lookup,
    number,
    unique,
)

METRIC = "undetected"
PAIR = ("without", "with")


def follows(way: str, detector: str) -> bool:
    """Whether a way of hiding follows this detector in full.

    Example:
        >>> follows("white-box KD, selective", "KD"), follows("white-box KD", "MAHA")
        (True, False)
    """
    return is_white_box(way) and detector in way.removeprefix(f"{WHITE_BOX} ").partition(", ")[0].split(" + ")


def ways_of(table: Sequence[Row], scope: Scope) -> tuple[str, ...]:
    """The ways of hiding of one attack and budget, in the table's order."""
    return unique(row.hfc for row in table if (row.attack, row.eps) == (scope.attack, scope.eps) and row.hfc)


def white_box_grid(table: Sequence[Row], scope: Scope) -> Grid | None:
    """Each detector against an attacker who knows it in full; None where none was tried.

    A line is a detector; the columns of a white-box attack are those of the attack that followed this detector.
    """
    names = detectors_of(table, scope)
    own = {name: _own(table, scope, name) for name in names}
    kinds = unique(kind for found in own.values() for kind in found)
    if not kinds:
        return None
    usual = tuple(way for way in PAIR if way in ways_of(table, scope))
    columns = (Column(METRIC, (*usual, *kinds)), Column("Adv. Acc", kinds))
    lines = [Line(name, tuple(_cells(table, scope, name, columns, own[name]))) for name in names if own[name]]
    return Grid("Detector", columns, tuple(lines))


def _own(table: Sequence[Row], scope: Scope, name: str) -> dict[str, str]:
    """The ways that follow this detector, by what they are called without its name."""
    found: dict[str, str] = {}
    for way in ways_of(table, scope):
        if follows(way, name):
            _, comma, end = way.partition(", ")
            found[f"{WHITE_BOX}{comma}{end}"] = way
    return found


def _cells(table: Sequence[Row], scope: Scope, name: str, columns: Sequence[Column], own: dict[str, str]) -> list[Cell]:
    pairs = [(column.metric, own.get(variant, variant)) for column in columns for variant in column.variants]
    return [cell(lookup(table, scope, metric, "" if metric == "Adv. Acc" else name, way)) for metric, way in pairs]


class Past(NamedTuple):
    """What got past a detector, and the attack and budget that did.

    Attributes:
        scope: the attack and its budget.
        row: its undetected success; `row.hfc` is the way of hiding.
    """

    scope: Scope
    row: Row


def strongest(table: Sequence[Row], tried: Sequence[Scope]) -> Past | None:
    """The undetected success of the attacker's best attack and way against the detector that fares best.

    The defender chooses a detector and the attacker, who knows which, an attack and a way of hiding: each detector's
    largest figure over all of them, and of these the smallest. None if nothing was measured.

    Args:
        table: the rows of table.csv.
        tried: attacks that an attacker may choose from.

    Example:
        >>> strongest([], [Scope("CXR", "ResNet-50", "BIM", "1/256")]) is None
        True
    """
    worst: list[Past] = []
    for name in unique(name for scope in tried for name in detectors_of(table, scope)):
        pairs = ((scope, lookup(table, scope, METRIC, name, way)) for scope in tried for way in ways_of(table, scope))
        found = [Past(scope, row) for scope, row in pairs if row is not None and row.hfc and math.isfinite(row.value)]
        if found:
            worst.append(max(found, key=lambda past: past.row.value))
    return min(worst, key=lambda past: past.row.value, default=None)


def unnoticed(table: Sequence[Row], tried: Sequence[Scope], reach: str) -> str:
    """The headline: how often an attacker fools the classifier and goes unnoticed; empty where it is not measured."""
    past = strongest(table, tried)
    if past is None:
        return ""
    scope, row = past
    names, ways = unique(name for one in tried for name in detectors_of(table, one)), ways_of(table, scope)
    who = f"passes {row.detector}" if len(names) == 1 else f"passes {row.detector}, the detector that holds out best,"
    how = {"without": "without hiding", "with": "hidden by HFC"}.get(row.hfc, row.hfc)
    choice = [f"{len(some)} {word}" for some, word in ((tried, "attacks"), (ways, "ways")) if len(some) > 1]
    what = f"{scope.attack}, {how}" if len(tried) > 1 else how
    best = f"; the best of {' and '.join(choice)} tried: {what}" if choice else ""
    count = "" if row.n is None else f" (n\u00a0=\u00a0{row.n}{best})"
    share = f"{number(row.value)}\u00a0% {interval(row)}"
    return f"An attacker {reach} fools the classifier and {who} unnoticed in {share} of cases{count}."
