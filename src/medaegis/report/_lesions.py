"""Lesions by size and quantity: the table of HFC-23 Table VI, and what it says in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from medaegis.report._glossary import DETECTORS, METRICS, TERMS
from medaegis.report._headline import GUESSING, Finding
from medaegis.report._read import Row
from medaegis.report._study import by_set
from medaegis.report._tables import Column, Grid, Line, cell, figure, interval, number, unique

RATE = "FR"
AREA = "AUC"
MEASURES = (AREA, RATE, "AUC with changed")
WORDS = {
    "Lesion (synthetic)": "A bent ellipse with a texture and soft edges, painted at a random place; a stand-in for "
    "anything that the training images did not show. It need not look like a disease.",
    "HFC score": f"{DETECTORS['HFC'][0].upper()}{DETECTORS['HFC'][1:]}: how far an image's features are from the most "
    "likely component of the predicted class (HFC-23, equations 18 and 19). It never saw a lesion.",
    "AUC": "Area under the ROC curve, in percent: the chance that the score of a random image with lesions is above "
    "that of a random clean one. 100 is perfect, 50 is guessing. Images whose decision changed are left out.",
    RATE: "The share of images with lesions whose decision is wrong, among images that are right without lesions.",
    "AUC with changed": "The same AUC with all images with lesions, also those whose decision changed.",
    "Train, Test": "Train teaches the classifier and fits the score. Figures come from the images of Test that the "
    "classifier gets right. No image is in both.",
}
KEPT = ("95 % interval", "n", "n/a")


def lesion_grid(table: Sequence[Row]) -> Grid | None:
    """The table of AUC and FR by size and quantity; None where the run has no lesions.

    Args:
        table: the rows of table.csv.

    Example:
        >>> lesion_grid([]) is None
        True
    """
    columns = tuple(Column(metric, ("",)) for metric in MEASURES)
    lines = tuple(
        Line(name, tuple(cell(_row(rows, name, metric)) for metric in MEASURES), title)
        for title, rows in by_set(table, _with_lesions).items()
        for name in _names(rows)
    )
    return Grid("Lesions", columns, lines) if lines else None


def lesion_findings(table: Sequence[Row]) -> tuple[Finding, ...]:
    """How well lesions are found, and how often they mislead, in sentences.

    Args:
        table: the rows of table.csv.

    Example:
        >>> lesion_findings([])
        ()
    """
    return tuple(finding for rows in by_set(table, _with_lesions).values() for finding in _findings(rows))


def _findings(table: Sequence[Row]) -> tuple[Finding, ...]:
    areas, rates = _finite(table, AREA), _finite(table, RATE)
    if not areas or not rates:
        return ()
    title = f"Synthetic lesions ({areas[0].dataset}, {areas[0].model})"
    ends = [_said(row) for row in (min(areas, key=_value), max(areas, key=_value))]
    lead = f"The HFC score tells images with lesions from clean ones with an AUC of {ends[0]}"
    lead += f" to {ends[1]}." if len(areas) > 1 else "."
    better = sum(row.ci_low > GUESSING for row in areas)
    clear = f"It is clearly better than guessing (interval wholly above 50\u00a0%) in {better} of {len(areas)} rows."
    worst = max(rates, key=_value)
    return (Finding(title, lead, (clear, f"Lesions change at most {_said(worst)} of right decisions.")),)


def lesion_text(table: Sequence[Row]) -> list[str]:
    """The table as lines for a terminal; none where the run has no lesions.

    Example:
        >>> lesion_text([])
        []
    """
    lines = list[str]()
    for title, rows in by_set(table, _with_lesions).items():
        lines += [f"- {title}"] if title else []
        lines += [
            (name.ljust(22) + "".join(figure(_row(rows, name, metric)).ljust(44) for metric in MEASURES)).rstrip()
            for name in _names(rows)
        ]
    head = ["Lesions".ljust(22) + "".join(metric.ljust(44) for metric in MEASURES).rstrip()] if lines else []
    return head + lines


def lesion_glossary(metrics: Iterable[str]) -> dict[str, str]:
    """The terms that a report of lesions needs.

    Example:
        >>> "FR" in lesion_glossary([])
        True
    """
    classifier = {name: METRICS[name] for name in metrics if name.startswith("clean")}
    return WORDS | classifier | {name: TERMS[name] for name in KEPT}


def _with_lesions(table: Sequence[Row]) -> Sequence[Row] | None:
    return table if _names(table) else None


def _names(table: Sequence[Row]) -> tuple[str, ...]:
    return unique(row.attack for row in table if row.metric == RATE)


def _row(table: Sequence[Row], name: str, metric: str) -> Row | None:
    return next((row for row in table if (row.attack, row.metric) == (name, metric)), None)


def _finite(table: Sequence[Row], metric: str) -> list[Row]:
    rows = [_row(table, name, metric) for name in _names(table)]
    return [row for row in rows if row is not None and math.isfinite(row.value)]


def _value(row: Row) -> float:
    return row.value


def _said(row: Row) -> str:
    return f"{number(row.value)}\u00a0% {interval(row)} ({row.attack}, n\u00a0=\u00a0{row.n})"
