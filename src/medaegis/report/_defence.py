"""The page on defences: the worst case over budgets, the Shields' training, every attacker's figures, the verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medaegis.report._defence_findings import defence_findings
from medaegis.report._defence_tables import SUCCESSFUL, UNDETECTED, WORST, Trials, defence_tables, trials_of
from medaegis.report._figures import STROKES, Stroke
from medaegis.report._read import Row, TrainingLine
from medaegis.report._stress import LINES
from medaegis.report._study import Study, StudyGroup, StudyPanel, StudyTable, by_set
from medaegis.report._study_figures import Places, Profile, shares_svg
from medaegis.report._tables import Cell, Column, Grid, Line, budget, number, unique

LABELLED = 6  # epochs with a label
PANELS = {
    UNDETECTED: ("Fooled and accepted", "undetected (%)"),
    SUCCESSFUL: ("AUC over successful attacks", "AUC (%)"),
}
AREA = Stroke("validation AUC", "#0072B2", (), 1.9)
SUCCESS = Stroke("training attacks that reach their aim", "#D55E00", (5.0, 2.5), 1.6)
GUESSING = Stroke("guessing (AUC of 50 %)", STROKES["guessing"].colour, STROKES["guessing"].dash, 1.0)
NOTE = (
    "Figures are percentages. A case is fooled where the classifier says what the attacker wants, and undetected where "
    "the Shield accepts it as well. The worst case takes, case by case, the best that any attacker reached at this "
    "budget or a smaller one: what a defender has to reckon with."
)
CURVES = (
    "How far the best of all attackers gets as the budget grows: on the left, low is good; on the right, high is good, "
    "and below 50 % attacked images look more genuine than clean ones. A point is missing where no attack fools the "
    "classifier. Bands are 95 % intervals over cases."
)
LEARNING = (
    "A Shield learns from attacks whose budget grows from epoch to epoch; one of them reaches its aim where it lifts "
    "the Shield\u2019s logit S above 0. It is validated at the full budget: the AUC is the worst over the Shields of "
    "all classes and the attacks of training, so it says nothing of the other attackers. The weights of the best "
    "validation AUC are kept; near 50 % nothing was learned. These figures have no interval."
)


def defence_study(table: Sequence[Row], training: Sequence[TrainingLine]) -> Study | None:
    """Draw a trial of defences; None where the table holds none.

    Args:
        table: the rows of table.csv.
        training: the lines of training.csv; may be empty.

    Returns:
        Findings, curves of the worst case over two budgets or more, the Shields' training, and tables.

    Example:
        >>> defence_study([], []) is None
        True
    """
    every = by_set(table, trials_of)
    if not every:
        return None
    drawn = (_curves(trials) for trials in every.values()) if len(every) == 1 else ()  # of several, on each one's page
    groups = tuple(group for group in (*drawn, _learning(training)) if group is not None)
    return Study("Defences against every attacker", NOTE, defence_findings(table), groups, defence_tables(table))


def _curves(trials: Trials) -> StudyGroup | None:
    if len(trials.budgets) < 2:
        return None
    strokes = strokes_of(trials.defences)
    panels = tuple(_curve(trials, metric, strokes, f"worst-{i}") for i, metric in enumerate(PANELS))
    return StudyGroup("The worst case over budgets", CURVES, (*strokes, GUESSING), panels)


def strokes_of(names: Sequence[str]) -> tuple[Stroke, ...]:
    """A stroke a defence; once the colours are used up, they come again with other dashes.

    Example:
        >>> len({(stroke.colour, stroke.dash) for stroke in strokes_of("abcdefghijkl")})
        12
    """
    m = len(LINES)
    return tuple(Stroke(name, LINES[i % m][0], LINES[(i + i // m) % m][1], 1.7) for i, name in enumerate(names))


def _curve(trials: Trials, metric: str, strokes: Sequence[Stroke], name: str) -> StudyPanel:
    title, label = PANELS[metric]
    found: list[Profile] = []
    for stroke in strokes:
        own = [trials.find(stroke.label, metric, WORST, eps) for eps in trials.budgets]
        ends = ([math.nan if r is None else getattr(r, end) for r in own] for end in ("ci_low", "value", "ci_high"))
        found.append(Profile(stroke, *ends))
    at = [256 * budget(eps) for eps in trials.budgets]
    places = Places(at, at, [f"{one:g}" for one in at], "budget (1/256)", logarithmic=True)
    last = "; ".join(f"{profile.stroke.label}: {_percent(profile.value[-1])}" for profile in found)
    every = "; ".join(f"{profile.stroke.label}: {_points(trials.budgets, profile.value)}" for profile in found)
    alt = f"{title}, worst case by budget. {every}."
    line = GUESSING if metric == SUCCESSFUL else None
    return StudyPanel(
        title,
        shares_svg(found, places, label=label, name=name, alt=alt, line=line),
        f"At {trials.full}: {last}.",
    )


def _points(budgets: Sequence[str], values: Sequence[float]) -> str:
    return ", ".join(f"{eps} {_percent(value)}" for eps, value in zip(budgets, values, strict=True))


def _learning(training: Sequence[TrainingLine]) -> StudyGroup | None:
    names = unique(line.defence for line in training)
    if not names:
        return None
    panels = tuple(
        _training([line for line in training if line.defence == name], f"training-{i}") for i, name in enumerate(names)
    )
    numbers = tuple(_epochs([line for line in training if line.defence == name]) for name in names)
    return StudyGroup("How the Shields learned", LEARNING, (AREA, SUCCESS, GUESSING), panels, numbers)


def _epochs(lines: Sequence[TrainingLine]) -> StudyTable:
    columns = tuple(Column(name, ("",)) for name in ("budget (1/256)", AREA.label, SUCCESS.label))
    rows = tuple(
        Line(
            f"{line.epoch:g}",
            (
                Cell(f"{256 * line.eps:.3g}"),
                Cell(number(100 * line.validation_auc)),
                Cell(number(100 * line.attack_success)),
            ),
        )
        for line in sorted(lines, key=lambda line: line.epoch)
    )
    return StudyTable(f"Training of {lines[0].defence}, in percent", Grid("Epoch", columns, rows))


def _training(lines: Sequence[TrainingLine], name: str) -> StudyPanel:
    ordered = sorted(lines, key=lambda line: line.epoch)
    nothing = [math.nan] * len(ordered)
    curves = [
        Profile(AREA, nothing, [100 * line.validation_auc for line in ordered], nothing),
        Profile(SUCCESS, nothing, [100 * line.attack_success for line in ordered], nothing),
    ]
    shown = _spread(len(ordered))
    labels = [f"{ordered[i].epoch:g}\n{256 * ordered[i].eps:.2g}" for i in shown]
    epochs = [line.epoch for line in ordered]
    places = Places(epochs, [epochs[i] for i in shown], labels, "epoch, and its budget (1/256)")
    best = max(ordered, key=lambda line: -math.inf if math.isnan(line.validation_auc) else line.validation_auc)
    last = ordered[-1]
    note = (
        f"Best validation AUC {_percent(100 * best.validation_auc)}, in epoch {best.epoch:g} of {last.epoch:g}; in the "
        f"last one {_percent(100 * last.attack_success)} of the training attacks reach their aim."
    )
    title = ordered[0].defence
    svg = shares_svg(curves, places, label="percent", name=name, alt=f"Training of {title}. {note}", line=GUESSING)
    return StudyPanel(title, svg, note)


def _spread(count: int) -> list[int]:
    """At most `LABELLED` positions from the first to the last."""
    steps = min(count, LABELLED) - 1
    return sorted({round(i * (count - 1) / steps) for i in range(steps + 1)}) if steps else [0]


def _percent(value: float) -> str:
    return f"{value:.1f}\u00a0%" if math.isfinite(value) else "n/a"
