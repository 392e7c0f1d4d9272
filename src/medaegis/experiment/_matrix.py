"""Detectors fitted on one attack and tested on another: knowing the attack in advance flatters a detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medaegis.experiment._content import Sheet
from medaegis.experiment._context import Context
from medaegis.experiment._detection import attack_of, clean_of, figures
from medaegis.experiment._stages_attack import HIDDEN, PLAIN
from medaegis.experiment._stages_detect import AttackScores, CleanScores

if TYPE_CHECKING:
    from medaegis.experiment._hiding import Variant

METRICS = ("AUC", "TPR@90", "undetected")


@dataclass(frozen=True)
class Crossed:
    """Detectors that learned from one attack, scored on another at the same budget."""

    scores: AttackScores
    clean: CleanScores

    @property
    def detectors(self) -> tuple[str, ...]:
        """Labels of those that learn from attacks; the others score alike whatever was shown."""
        return tuple(choice.label for choice in self.clean.detectors if choice.learns_attacks)


def crossings(variants: Sequence[Variant]) -> tuple[Crossed, ...]:
    """Every attack that detectors learned from, against every one without and with HFC at the same budget."""
    teachers = list(dict.fromkeys(variant.clean for variant in variants))
    return tuple(
        Crossed(AttackScores(v.scores.features, v.attacked, t.detectors, v.scores.seed, t.learned), t)
        for t in teachers
        for v in variants
        if t.learned is not None
        and t.learned.attacked.choice.eps == v.attacked.choice.eps
        and v.attacked.hides in (PLAIN, HIDDEN)
    )


def matrix_lines(crossed: Sequence[Crossed], groups: Sequence[str], context: Context) -> Sheet:
    """Lines of matrix.csv: figures in percent by detector, the attack it learned from and the one it is tested on."""
    lines: Sheet = []
    for one in crossed:
        assert one.clean.learned is not None, "`crossings` takes no other"
        clean, made = clean_of(one.clean, one.detectors, context), attack_of(one.scores, one.detectors, context)
        tested, taught = one.scores.attacked, one.clean.learned.attacked.choice
        where = {"eps": tested.choice.eps, "learned": taught.shown, "attack": tested.choice.shown, "hfc": tested.hides}
        for label in one.detectors:
            found = figures(clean, made, label, groups)
            for metric in METRICS:
                value, low, high = (100 * end for end in found[metric][:3])
                ends = {"value": value, "low": low, "high": high, "n": found[metric].n}
                lines.append({"detector": label} | where | {"metric": metric} | ends)
    return lines
