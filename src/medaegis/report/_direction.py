"""The page on the gradient's direction: HFC-23 Fig. 2 as scatter plots and Fig. 3 as matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from medaegis.report._headline import Finding
from medaegis.report._read import Embedding, Floats, Row
from medaegis.report._study import Study, StudyGroup, StudyPanel, StudyTable
from medaegis.report._study_figures import FIT, fit_svg, matrix_svg
from medaegis.report._tables import Cell, Column, Grid, Line, cell, unique

CORRELATIONS = {"Pearson correlation": "Pearson", "Spearman correlation": "Spearman"}
FAMILIES = {"similarity of attacks": "attacks", "similarity of iterations": "iterations of BIM"}
CONTROL = "Noise"
SCATTER = (
    "One dot a channel of the penultimate layer: across, the weight towards the wanted class minus that towards the "
    "other; upwards, the mean change of the channel under BIM. Equation 8 says where the loss itself pulls a channel; "
    "that pixels can follow it is what the drawing shows."
)
MATRICES = (
    "Mean cosine between changes of the penultimate features of the same case: 1 is one direction, 0 none in common. "
    "Features behind a ReLU cannot fall below zero, so changes share what cannot fall; noise is the control. With two "
    "classes CW is PGD from another random start, since margin and cross-entropy pull in one direction."
)


def direction_study(table: Sequence[Row], channels: Embedding | None) -> Study | None:
    """Draw correlation and similarity; None where the table holds none.

    Args:
        table: the rows of table.csv.
        channels: the dots of the scatter plots by data set; None where the run kept none.

    Example:
        >>> direction_study([], None) is None
        True
    """
    rows = [r for r in table if r.metric in FAMILIES]
    if not rows:
        return None
    sets = unique(r.dataset for r in rows)
    scatter = () if channels is None else _scatter(table, channels)
    matrices = tuple(
        _matrix(own, f"cosine-{i}-{j}")
        for i, name in enumerate(sets)
        for j, metric in enumerate(FAMILIES)
        if (own := [r for r in rows if (r.dataset, r.metric) == (name, metric)])
    )
    dots = () if channels is None else _dots(channels)
    groups = [StudyGroup("Change against weight difference", SCATTER, (FIT,), scatter, dots)] if scatter else []
    groups.append(StudyGroup("Likeness among attacks and iterations", MATRICES, (), matrices))
    note = (
        "Correlations and cosines are between \u22121 and 1 in sentences and drawings, and in hundredths in the tables."
    )
    return Study("Where attacks push features", note, findings(table), tuple(groups), direction_tables(table))


def direction_tables(table: Sequence[Row]) -> tuple[StudyTable, ...]:
    """Correlations by attack, and similarities by pair, each data set in a column of its own.

    Example:
        >>> direction_tables([])
        ()
    """
    parts: list[StudyTable] = []
    rows = [r for r in table if r.metric in CORRELATIONS]
    if rows:
        parts.append(StudyTable("Change against weight difference, over channels, in hundredths", _correlations(rows)))
    for metric, words in FAMILIES.items():
        own = [r for r in table if r.metric == metric]
        if own:
            parts.append(StudyTable(f"Mean cosine between {words}, in hundredths", _pairs(own)))
    return tuple(parts)


def _correlations(rows: Sequence[Row]) -> Grid:
    sets = unique(r.dataset for r in rows)
    found = {(r.dataset, r.attack, r.metric): r for r in rows}
    lines = tuple(
        Line(name, tuple(cell(found.get((one, name, metric))) for one in sets for metric in CORRELATIONS))
        for name in unique(r.attack for r in rows)
    )
    return Grid("Attack", tuple(Column(name, tuple(CORRELATIONS.values())) for name in sets), lines)


def _pairs(rows: Sequence[Row]) -> Grid:
    sets = unique(r.dataset for r in rows)
    found = {(r.dataset, r.attack): r for r in rows}
    lines = tuple(
        Line(pair.replace(", ", " and "), tuple(cell(found.get((one, pair))) for one in sets))
        for pair in unique(r.attack for r in rows)
    )
    return Grid("Pair", tuple(Column(name, ("",)) for name in sets), lines)


def _scatter(table: Sequence[Row], channels: Embedding) -> tuple[StudyPanel, ...]:
    panels: list[StudyPanel] = []
    for i, name in enumerate(unique(str(group) for group in channels.group)):
        here = channels.group == name
        rows = {r.metric: r for r in table if (r.dataset, r.attack) == (name, "BIM")}
        said = ", ".join(f"{short} {_unit(rows.get(metric))}" for metric, short in CORRELATIONS.items())
        note = f"{said}; {int(here.sum())} channels."
        svg = fit_svg(
            channels.x[here],
            channels.y[here],
            labels=("weight difference", "mean change under BIM"),
            name=f"fit-{i}",
            alt=f"Mean change of each channel against its weight difference, {name}: {note}",
        )
        panels.append(StudyPanel(name, svg, note))
    return tuple(panels)


def _dots(channels: Embedding) -> tuple[StudyTable, ...]:
    """The numbers behind the scatter plots, a table a data set."""
    columns = (Column("weight difference", ("",)), Column("mean change under BIM", ("",)))
    found: list[StudyTable] = []
    for name in unique(str(group) for group in channels.group):
        here = channels.group == name
        pairs = zip(channels.x[here].tolist(), channels.y[here].tolist(), strict=True)
        lines = tuple(Line(str(i), (Cell(_small(x)), Cell(_small(y)))) for i, (x, y) in enumerate(pairs))
        found.append(StudyTable(f"Channels of {name}", Grid("Channel", columns, lines)))
    return tuple(found)


def _small(value: float) -> str:
    return f"{value:.3g}".replace("-", "\u2212") if math.isfinite(value) else "n/a"


def _matrix(rows: Sequence[Row], name: str) -> StudyPanel:
    pairs = {tuple(r.attack.split(", ")): r.value / 100 for r in rows}
    names = unique(one for pair in pairs for one in pair)
    values = _symmetric(names, {(a, b): value for (a, b), value in pairs.items()})
    metric, dataset = rows[0].metric, rows[0].dataset
    said = ", ".join(f"{a} and {b} {value:.2f}" for (a, b), value in pairs.items())
    alt = f"Mean cosines among {FAMILIES[metric]}, {dataset}: {said}."
    n = f"n\u00a0=\u00a0{min(r.n or 0 for r in rows)}"
    svg = matrix_svg(names, values, name=name, alt=alt)
    return StudyPanel(dataset, svg, f"Among {FAMILIES[metric]}; {n}.")


def _symmetric(names: Sequence[str], pairs: dict[tuple[str, str], float]) -> Floats:
    values = np.eye(len(names))
    for (one, other), value in pairs.items():
        i, j = names.index(one), names.index(other)
        values[i, j] = values[j, i] = value
    return values


def _unit(row: Row | None) -> str:
    """A figure in [-1, 1] with its interval."""
    if row is None or not math.isfinite(row.value):
        return "n/a"
    return f"{row.value / 100:z.2f} [{row.ci_low / 100:z.2f}, {row.ci_high / 100:z.2f}]".replace("-", "\u2212")


def findings(table: Sequence[Row]) -> tuple[Finding, ...]:
    """What each data set shows, in sentences.

    Example:
        >>> findings([])
        ()
    """
    rows = [r for r in table if r.metric in (*FAMILIES, *CORRELATIONS)]
    return tuple(_finding([r for r in rows if r.dataset == name]) for name in unique(r.dataset for r in rows))


def _finding(rows: Sequence[Row]) -> Finding:
    title = f"{rows[0].dataset} ({rows[0].model}, budget {rows[0].eps})"
    likeness = tuple(_likeness(rows, metric) for metric in unique(r.metric for r in rows if r.metric in FAMILIES))
    found = {r.attack: r for r in rows if r.metric == "Pearson correlation"}
    if "BIM" not in found:
        lead = "Only channels whose weight towards the wanted class is the largest (Consistent) are counted here."
        return Finding(title, lead, likeness)
    lead = (
        "Under BIM, the mean change of a channel follows its weight difference with a correlation of "
        f"{_unit(found['BIM'])} over channels (n\u00a0=\u00a0{found['BIM'].n} cases)."
    )
    control = f"Noise of the same budget, the control, has {_unit(found.get(CONTROL))}."
    return Finding(title, lead, (control, *likeness))


def _likeness(rows: Sequence[Row], metric: str) -> str:
    own = [r for r in rows if r.metric == metric and math.isfinite(r.value)]
    attacks = [r for r in own if CONTROL not in r.attack.split(", ")]
    control = [r for r in own if r not in attacks]
    if not attacks:
        return f"Among {FAMILIES[metric]} no cosine is defined, as no feature moved."
    least, most = min(attacks, key=lambda r: r.value), max(attacks, key=lambda r: r.value)
    text = (
        f"Among {FAMILIES[metric]}, mean cosines are from {_unit(least)} ({least.attack.replace(', ', ' and ')}) "
        f"to {_unit(most)} ({most.attack.replace(', ', ' and ')})"
    )
    if not control:
        return f"{text}."
    ends = [_unit(pick(control, key=lambda r: r.value)) for pick in (min, max)]
    return f"{text}; between an attack and noise, from {ends[0]} to {ends[1]}."
