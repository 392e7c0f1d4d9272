"""Detectors against the budget, without and with HFC: HFC-21 Fig. 3(b) and HFC-23 Fig. 5."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medaegis.report._figures import INK, Stroke
from medaegis.report._read import Row
from medaegis.report._stress import LINES
from medaegis.report._study import StudyGroup, StudyPanel, StudyTable
from medaegis.report._study_figures import Places, Profile, shares_svg
from medaegis.report._tables import (
    VARIANT_LABELS,
    Column,
    Grid,
    Line,
    Scope,
    budget,
    cell,
    detectors_of,
    lookup,
    scopes,
    unique,
)

METRIC = "AUC"
DASHES = {"without": (), "with": (4.0, 2.0)}
KEYS = (Stroke("without HFC", INK, DASHES["without"], 1.6), Stroke("with HFC", INK, DASHES["with"], 1.6))
GUESSING = Stroke("guessing", "#767676", (2.0, 2.0), 0.8)
READ = (
    "AUC of each detector by budget, after HFC-21 Fig. 3(b) and HFC-23 Fig. 5: solid lines without, dashed ones with "
    "HFC. In the papers solid lines lie on top of one another near 100, and dashed ones fall as the budget grows. "
    "Intervals are in the table of numbers."
)


def budget_group(table: Sequence[Row]) -> StudyGroup | None:
    """Draw the AUC of every detector against the budget; None where no attack has two budgets without and with HFC.

    Args:
        table: the rows of table.csv.

    Returns:
        A panel a data set, model and attack.

    Example:
        >>> budget_group([]) is None
        True
    """
    places = _places(table)
    if not places:
        return None
    names = unique(name for own in places for scope in own for name in detectors_of(table, scope))
    strokes = tuple(Stroke(name, LINES[i % len(LINES)][0], (), 1.7) for i, name in enumerate(names))
    panels = tuple(_panel(table, own, strokes, f"budgets-{i}") for i, own in enumerate(places))
    return StudyGroup("Detectors against the budget", READ, (*strokes, *KEYS, GUESSING), panels)


def budget_tables(table: Sequence[Row]) -> tuple[StudyTable, ...]:
    """The numbers behind the drawings, with their intervals: rows detectors without and with HFC, columns budgets.

    Example:
        >>> budget_tables([])
        ()
    """
    return tuple(_numbers(table, own) for own in _places(table))


def _places(table: Sequence[Row]) -> list[list[Scope]]:
    """The budgets of each data set, model and attack whose detectors have an AUC without and with HFC."""
    measured = {(r.dataset, r.model, r.attack, r.eps, r.hfc) for r in table if r.metric == METRIC and r.detector}
    drawn = [s for s in scopes(table) if all((s.dataset, s.model, s.attack, s.eps, v) in measured for v in DASHES)]
    drawn = [s for s in drawn if budget(s.eps) > 0]
    groups: dict[tuple[str, str, str], list[Scope]] = {}
    for scope in drawn:
        groups.setdefault((scope.dataset, scope.model, scope.attack), []).append(scope)
    return [own for own in groups.values() if len(own) > 1]


def _title(scope: Scope) -> str:
    return f"{scope.attack} ({scope.dataset}, {scope.model})"


def _panel(table: Sequence[Row], own: Sequence[Scope], strokes: Sequence[Stroke], name: str) -> StudyPanel:
    profiles: list[Profile] = []
    nothing = [math.nan] * len(own)
    for stroke in strokes:
        for variant, dash in DASHES.items():
            rows = [lookup(table, scope, METRIC, stroke.label, variant) for scope in own]
            values = [math.nan if row is None else row.value for row in rows]
            label = f"{stroke.label} {VARIANT_LABELS[variant]}"
            profiles.append(Profile(Stroke(label, stroke.colour, dash, 1.7), nothing, values, nothing))
    at = [256 * budget(scope.eps) for scope in own]
    places = Places(at, at, [f"{one:g}" for one in at], "budget (1/256)", logarithmic=True)
    said = "; ".join(f"{p.stroke.label} {', '.join(_said(v) for v in p.value)}" for p in profiles)
    alt = f"AUC by budget ({', '.join(scope.eps for scope in own)}), {_title(own[0])}: {said}."
    svg = shares_svg(profiles, places, label="AUC (%)", name=name, alt=alt, line=GUESSING)
    return StudyPanel(_title(own[0]), svg, f"Budgets {own[0].eps} to {own[-1].eps}.")


def _said(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else "n/a"


def _numbers(table: Sequence[Row], own: Sequence[Scope]) -> StudyTable:
    names = unique(name for scope in own for name in detectors_of(table, scope))
    lines = tuple(
        Line(
            f"{name}, {VARIANT_LABELS[variant]}",
            tuple(cell(lookup(table, scope, METRIC, name, variant)) for scope in own),
        )
        for name in names
        for variant in DASHES
    )
    columns = tuple(Column(scope.eps, ("",)) for scope in own)
    return StudyTable(f"AUC by budget, {_title(own[0])}", Grid("Detector", columns, lines))
