"""A trial of defences as tables: the worst case by budget, attackers by defence, and the clean cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from medaegis.report._read import Row
from medaegis.report._study import StudyTable, tables_by_set
from medaegis.report._tables import Column, Grid, Line, budget, cell, unique

WORST = "Worst case"
AUC, SUCCESSFUL, UNDETECTED, FOOLED = "AUC", "AUC, successful", "undetected", "Adv. Acc"
UNCHANGED = "AUC, unchanged"
CLEAN = ("clean accuracy", "clean AUC", "clean rejected", "TNR achieved", UNCHANGED)
CONVENTIONAL = ("FGSM", "BIM", "PGD", "MIM", "DIM", "TIM", "CW-Linf", "PGD-L2", "CW-L2", "TF")
ADAPTIVE = ("Fea", "HFC", "WB", "WB_d")
HALVED = ("PGD-L2", "CW-L2")
"""Attackers whose own budget, a root mean square, is half the Linf budget."""
GROUPS = ("Conventional", "Adaptive (of the paper)", "Beyond the paper (stronger by design)")
LAST = "All attackers together"
WORDS = {
    UNDETECTED: "Fooled and accepted (undetected)",
    SUCCESSFUL: "AUC over successful attacks",
    FOOLED: "Fooled, accepted or not (Adv. Acc)",
}
CAPTIONS = {
    AUC: "AUC over all attacked images, as the paper counts it",
    UNDETECTED: "Fooled and accepted (undetected)",
    SUCCESSFUL: "AUC over those attacked images that fool the classifier",
}


@dataclass(frozen=True)
class Trials:
    """The rows of one trial of defences, by what they are about.

    Args:
        rows: of table.csv.
    """

    rows: tuple[Row, ...]

    @property
    def defences(self) -> tuple[str, ...]:
        """Their labels, in the table's order."""
        return unique(row.detector for row in self.rows if row.detector)

    @property
    def budgets(self) -> list[str]:
        """The Linf budgets of the worst case, from small to large."""
        return sorted({row.eps for row in self.rows if row.attack == WORST}, key=budget)

    @property
    def full(self) -> str:
        """The largest budget."""
        return self.budgets[-1]

    def find(self, defence: str, metric: str, attack: str = "", eps: str = "") -> Row | None:
        """A row; `eps` is the Linf budget of the trial, of which an L2 attacker's own follows."""
        own = own_budget(attack, eps)
        return next(
            (
                row
                for row in self.rows
                if (row.detector, row.metric, row.attack) == (defence, metric, attack)
                and (not attack or math.isclose(budget(row.eps), own))
            ),
            None,
        )

    def attackers(self, eps: str, defence: str | None = None) -> tuple[str, ...]:
        """Who attacked at a Linf budget: one defence, or any."""
        which = self.defences if defence is None else (defence,)
        rows = (row for row in self.rows if row.attack not in ("", WORST) and row.detector in which)
        return unique(row.attack for row in rows if math.isclose(budget(row.eps), own_budget(row.attack, eps)))

    def group(self, attack: str) -> str:
        """Which of `GROUPS` an attacker belongs to; one with a published figure is never beyond the paper."""
        if attack in CONVENTIONAL:
            return GROUPS[0]
        hidden = attack.removesuffix(" + HFC") in CONVENTIONAL
        known = hidden or attack in ADAPTIVE or any(math.isfinite(r.published) for r in self.rows if r.attack == attack)
        return GROUPS[1] if known else GROUPS[2]


def own_budget(attack: str, eps: str) -> float:
    """An attacker's own budget in pixel units at a Linf budget.

    Example:
        >>> 256 * own_budget("PGD-L2", "16/256")
        8.0
    """
    return budget(eps) / (2 if attack in HALVED else 1)


def trials_of(table: Sequence[Row]) -> Trials | None:
    """The rows of a trial of defences; None where the table holds none.

    Example:
        >>> trials_of([]) is None
        True
    """
    return Trials(tuple(table)) if any(row.attack == WORST for row in table) else None


def defence_tables(table: Sequence[Row]) -> tuple[StudyTable, ...]:
    """The worst case by budget, three figures of every attacker, and the clean cost; none where nothing was tried.

    Args:
        table: the rows of table.csv.

    Example:
        >>> defence_tables([])
        ()
    """
    return tables_by_set(table, _all_tables)


def _all_tables(table: Sequence[Row]) -> tuple[StudyTable, ...]:
    trials = trials_of(table)
    if trials is None:
        return ()
    return (_worst(trials), *(_attackers(trials, m) for m in (AUC, UNDETECTED, SUCCESSFUL)), _clean(trials))


def terminal_tables(table: Sequence[Row]) -> tuple[StudyTable, ...]:
    """What a terminal shows of them: the worst case, the clean cost, then who gets past and the papers' measure.

    Example:
        >>> terminal_tables([])
        ()
    """
    return tables_by_set(table, _short_tables)


def _short_tables(table: Sequence[Row]) -> tuple[StudyTable, ...]:
    trials = trials_of(table)
    if trials is None:
        return ()
    return _worst(trials), _clean(trials), _attackers(trials, UNDETECTED), _attackers(trials, AUC)


def _worst(trials: Trials) -> StudyTable:
    lines = tuple(
        Line(eps, tuple(cell(trials.find(one, metric, WORST, eps)) for one in trials.defences), words)
        for metric, words in WORDS.items()
        for eps in trials.budgets
    )
    return StudyTable("Worst case by budget, in percent", Grid("Budget", _columns(trials), lines))


def _attackers(trials: Trials, metric: str) -> StudyTable:
    def line(attack: str, name: str, group: str, *, marked: bool = False) -> Line:
        cells = tuple(cell(trials.find(one, metric, attack, trials.full)) for one in trials.defences)
        return Line(name, cells, group, marked)

    names = sorted(trials.attackers(trials.full), key=lambda name: GROUPS.index(trials.group(name)))
    lines = [line(name, _told(trials, name), trials.group(name)) for name in names]
    lines.append(line(WORST, WORST, LAST, marked=True))
    caption = f"{CAPTIONS[metric]}, in percent, by attacker at budget {trials.full}"
    return StudyTable(caption, Grid("Attacker", _columns(trials), tuple(lines)))


def _told(trials: Trials, name: str) -> str:
    """The attacker's name, with its own budget where that is another one."""
    if name not in HALVED:
        return name
    found = (trials.find(one, FOOLED, name, trials.full) for one in trials.defences)
    return f"{name} (budget {next(row.eps for row in found if row is not None)})"


def _clean(trials: Trials) -> StudyTable:
    columns = tuple(Column(metric, ("",)) for metric in CLEAN)
    lines = tuple(Line(one, tuple(cell(trials.find(one, metric)) for metric in CLEAN)) for one in trials.defences)
    return StudyTable("Clean cost: without any attack, in percent", Grid("Defence", columns, lines))


def _columns(trials: Trials) -> tuple[Column, ...]:
    return tuple(Column(one, ("",)) for one in trials.defences)
