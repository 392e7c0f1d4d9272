"""Which stored scores go into which drawing: one panel a detector, one group an attack and budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from medaegis.report._figures import (
    STROKES,
    Curve,
    Series,
    Stroke,
    area,
    finite,
    histogram_svg,
    only,
    roc,
    roc_svg,
)
from medaegis.report._read import Floats, Row, RunFolder
from medaegis.report._tables import (
    VARIANT_LABELS,
    Cell,
    Column,
    Grid,
    Line,
    Scope,
    interval,
    lookup,
    number,
    scopes,
    unique,
    variants_of,
)

ALARMS = (1, 5, 10, 20, 50)  # percent of false alarms at which the numbers behind a curve are read
NUMBERS = {
    "scores": (
        "Scores in numbers",
        tuple(Column(name, ("",)) for name in ("n", "lowest", "25 %", "median", "75 %", "highest")),
    ),
    "roc": (
        "Attacked images caught, in percent, by share of false alarms",
        tuple(Column(f"{alarms} %", ("",)) for alarms in ALARMS),
    ),
}
DISAGREE = 0.5  # points of AUC by which a drawn curve may miss the table before the page says so


@dataclass(frozen=True)
class Panel:
    """One detector's drawing; `svg` is None where no score is stored, `notes` are the lines under it.

    `lines` are the numbers behind the drawing, one a kind of image.
    """

    detector: str
    svg: Markup | None
    notes: tuple[str, ...]
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True)
class Group:
    """The drawings of one attack and budget, with the strokes that their legend explains.

    `numbers` is a table behind them, `caption` its caption, `name` a name that nothing else on the page has.
    """

    title: str
    panels: tuple[Panel, ...]
    legend: tuple[Stroke, ...]
    numbers: Grid
    caption: str
    name: str


@dataclass(frozen=True, eq=False)
class _View:
    """The rows of cases.parquet that belong to one attack, budget and detector."""

    run: RunFolder
    scope: Scope
    detector: str
    name: str

    @property
    def variants(self) -> tuple[str, ...]:
        return variants_of(self.run.table, self.scope)

    def scores(self, kind: str, variant: str) -> Floats:
        here = self._where(kind, variant)
        if kind == "adversarial" and self.run.manifest.scored == "fooled":
            here &= self.run.cases.fooled == 1
        return self.run.cases.score[here]

    def threshold(self) -> float:
        cases = self.run.cases
        return only(cases.threshold[(cases.detector == self.detector) & self._scope_mask()])

    def auc(self, variant: str) -> Row | None:
        drawn = next(iter(self.run.by_seed.values()), self.run.table)  # stored scores are the first seed's
        return lookup(drawn, self.scope, "AUC", self.detector, variant)

    def _scope_mask(self) -> NDArray[np.bool_]:
        cases = self.run.cases
        return _holds(cases.attack, self.scope.attack) & _holds(cases.eps, self.scope.eps)

    def _where(self, kind: str, variant: str) -> NDArray[np.bool_]:
        cases = self.run.cases
        here = (cases.detector == self.detector) & (cases.kind == kind) & self._scope_mask()
        narrow = here & _holds(cases.hfc, variant)
        # Clean and noisy images have no variant; a producer may store them under one of the two only.
        return narrow if kind == "adversarial" or narrow.any() else here


def _holds(column: NDArray[np.str_], wanted: str) -> NDArray[np.bool_]:
    return (column == wanted) | (column == "")


def histogram_groups(run: RunFolder) -> tuple[Group, ...]:
    """Draw the score histograms of every attack, budget and detector.

    Args:
        run: a run folder's contents.

    Returns:
        One group an attack and budget.

    Example:
        >>> histogram_groups(read_run(Path("runs/demo")))[0].title  # doctest: +SKIP
        'BIM, budget 1/256'
    """
    return _groups(run, "scores", _histogram, ("threshold",))


def roc_groups(run: RunFolder) -> tuple[Group, ...]:
    """Draw the ROC curves of every attack, budget and detector; see `histogram_groups`."""
    return _groups(run, "roc", _roc, ("guessing", "false alarms"))


def _groups(run: RunFolder, prefix: str, draw: Callable[[_View], Panel], extra: Sequence[str]) -> tuple[Group, ...]:
    kinds = unique(run.cases.kind.tolist())
    groups: list[Group] = []
    for g, scope in enumerate(_drawn_scopes(run.table)):
        names = unique(n for n in run.cases.detector.tolist() if n)
        panels = tuple(draw(_View(run, scope, name, f"{prefix}-{g}-{d}")) for d, name in enumerate(names))
        shown = [*(("clean", "noise") if prefix == "scores" else ()), *variants_of(run.table, scope), *extra]
        legend = tuple(STROKES[key] for key in shown if key != "noise" or "noise" in kinds)
        title, (caption, columns) = f"{scope.attack}, budget {scope.eps}", NUMBERS[prefix]
        numbers = Grid("Images", columns, tuple(line for panel in panels for line in panel.lines))
        groups.append(Group(title, panels, legend, numbers, f"{caption}, {title}", f"{prefix}-numbers-{g}"))
    return tuple(groups)


def _drawn_scopes(table: Sequence[Row]) -> tuple[Scope, ...]:
    """Those of the first data set and model: the stored scores are its own, where the table has several."""
    every = scopes(table)
    return tuple(s for s in every if (s.dataset, s.model) == (every[0].dataset, every[0].model))


def _histogram(view: _View) -> Panel:
    variants = [(variant, "adversarial") for variant in view.variants]
    wanted = [("clean", "clean"), ("noise", "noise"), *variants]
    raw = {key: view.scores(kind, key if kind == "adversarial" else view.variants[0]) for key, kind in wanted}
    series = [Series(STROKES[key], finite(scores)) for key, scores in raw.items() if finite(scores).size]
    if not series:
        return Panel(view.detector, None, ("No score is stored for this detector.",))
    medians = ", ".join(f"{s.stroke.label} {np.median(s.scores):.3g} (n = {s.scores.size})" for s in series)
    alt = (
        f"Histograms of the scores of {view.detector} for {view.scope.attack} at {view.scope.eps}. Medians: {medians}."
    )
    lines = tuple(_quartiles(view.detector, one) for one in series)
    return Panel(view.detector, histogram_svg(series, view.threshold(), name=view.name, alt=alt), _missing(raw), lines)


def _quartiles(detector: str, series: Series) -> Line:
    ends = [f"{end:.4g}".replace("-", "\u2212") for end in np.percentile(series.scores, [0, 25, 50, 75, 100])]
    return Line(series.stroke.label, (Cell(str(series.scores.size)), *map(Cell, ends)), detector)


def _caught(detector: str, words: str, curve: Curve) -> Line:
    """What is caught at each share of false alarms, read off the curve: the highest point not to the right of it."""
    rates = [float(curve.true_positive[curve.false_positive <= alarms / 100 + 1e-12].max()) for alarms in ALARMS]
    return Line(words, tuple(Cell(number(100 * rate)) for rate in rates), detector)


def _missing(raw: dict[str, Floats]) -> tuple[str, ...]:
    gaps = {STROKES[key].label: int((~np.isfinite(scores)).sum()) for key, scores in raw.items()}
    return tuple(f"{count} {label} without a score, left out." for label, count in gaps.items() if count)


def _roc(view: _View) -> Panel:
    curves: list[tuple[Stroke, Curve]] = []
    notes: list[str] = []
    lines: list[Line] = []
    for variant in view.variants:
        clean, attacked = finite(view.scores("clean", variant)), finite(view.scores("adversarial", variant))
        row = view.auc(variant)
        words = VARIANT_LABELS.get(variant, variant)
        if not (clean.size and attacked.size):
            notes.append(f"{words}: no curve, because clean or attacked scores are missing.")
            continue
        curve = roc(clean, attacked)
        curves.append((STROKES[variant], curve))
        lines.append(_caught(view.detector, words, curve))
        notes += _auc_notes(words, row, 100 * area(curve))
    if not curves:
        return Panel(view.detector, None, tuple(notes))
    alt = f"ROC curves of {view.detector} for {view.scope.attack} at {view.scope.eps}. {' '.join(notes)}"
    return Panel(view.detector, roc_svg(curves, name=view.name, alt=alt), tuple(notes), tuple(lines))


def _auc_notes(words: str, row: Row | None, drawn: float) -> list[str]:
    if row is None or not math.isfinite(row.value):
        return [f"{words}: AUC n/a."]
    notes = [f"{words}: AUC {number(row.value)} {interval(row)}"]
    if abs(drawn - row.value) > DISAGREE:
        notes.append(
            f"Note: the curve drawn from the stored scores has AUC {number(drawn)}; the table has another value."
        )
    return notes
