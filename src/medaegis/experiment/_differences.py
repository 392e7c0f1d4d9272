"""Paired differences of AUCs on the same cases, after DeLong: detectors with and without hiding, and one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from medaegis.experiment._content import Sheet
from medaegis.experiment._context import Context
from medaegis.experiment._detection import Scores, attack_of, clean_of
from medaegis.experiment._stages_attack import PLAIN
from medaegis.measure import auc, auc_difference

if TYPE_CHECKING:
    from medaegis.experiment._hiding import HidingPlan, Variant


class _Ranked(NamedTuple):
    """One detector's scores of clean and of adversarial images."""

    name: str
    clean: Scores
    adversarial: Scores

    @property
    def pair(self) -> tuple[Scores, Scores]:
        return self.clean, self.adversarial


def differences(plan: HidingPlan, groups: Sequence[str], context: Context) -> Sheet:
    """Lines of differences.csv: the AUC of `first` less that of `second` in points, with DeLong's interval and p.

    For every way of hiding, each detector against itself without hiding; for every variant, the detector with the
    largest AUC against each other one. Cases of a patient may depend on each other (Obuchowski 1997).

    Args:
        plan: of the experiment.
        groups: patient of each case of AdvTest.
        context: where its results are stored.
    """
    ranked = {variant: _ranked(plan, variant, context) for variant in plan.variants}
    lines: Sheet = []
    for variant, here in ranked.items():
        choice, hides = variant.attacked.choice, variant.attacked.hides
        where = {"attack": choice.shown, "eps": choice.eps, "hfc": hides}
        plain = next((r for v, r in ranked.items() if v.clean == variant.clean and v.attacked.hides == PLAIN), here)
        for first, second in (*(() if plain is here else zip(here, plain, strict=True)), *_best_and_others(here)):
            found = auc_difference(first.pair, second.pair, groups=list(groups) * 2)
            ends = {"value": 100 * found.value, "low": 100 * found.low, "high": 100 * found.high}
            lines.append(where | {"first": first.name, "second": second.name} | ends | {"p": found.p, "n": found.n})
    return lines


def _ranked(plan: HidingPlan, variant: Variant, context: Context) -> list[_Ranked]:
    clean, made = (
        clean_of(variant.clean, plan.detectors, context).test,
        attack_of(variant.scores, plan.detectors, context).made,
    )
    hides = variant.attacked.hides
    return [_Ranked(f"{label}, {hides}", clean.scores[label], made.scores[label]) for label in plan.detectors]


def _best_and_others(here: list[_Ranked]) -> Iterator[tuple[_Ranked, _Ranked]]:
    best = max(here, key=lambda one: auc(*one.pair, draws=1).value)
    return ((best, other) for other in here if other is not best)
