"""Outcomes of attackers on one defence, and the worst case over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medaegis.measure import Estimate, auc, share

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Outcome(NamedTuple):
    """What one attacker reached, or the best of several, case by case.

    Attributes:
        fooled: (n,) whether the classifier says the target.
        margin: (n,) S of the predicted class less its threshold; 0 or more is accepted.
    """

    fooled: Flags
    margin: Values

    @property
    def undetected(self) -> Flags:
        """(n,) fooled and accepted: what an attacker wants."""
        return self.fooled & (self.margin >= 0)


def best_of(outcomes: Sequence[Outcome]) -> Outcome:
    """For each case the attacker's best result: fooled before not fooled, then the largest margin.

    Raises:
        ValueError: there is none.

    Example:
        >>> one = Outcome(np.array([True, False]), np.array([-2.0, 9.0]))
        >>> other = Outcome(np.array([True, True]), np.array([-1.0, -5.0]))
        >>> best_of([one, other]).margin.tolist()
        [-1.0, -5.0]
    """
    fooled = np.stack([one.fooled for one in outcomes])
    margin = np.stack([one.margin for one in outcomes])
    rank = np.where(fooled, margin, -np.inf)
    row = np.where(fooled.any(axis=0), rank.argmax(axis=0), margin.argmax(axis=0))
    places = np.arange(fooled.shape[1])
    return Outcome(fooled[row, places], margin[row, places])


def figures(clean: Values, outcome: Outcome, clean_groups: Sequence[str], groups: Sequence[str]) -> dict[str, Estimate]:
    """What a defence notices of an attacker, by the name of the metric.

    Args:
        clean: margins of clean cases (m,).
        outcome: of the attacked ones (n,).
        clean_groups: patient of each clean case.
        groups: patient of each attacked case.

    Returns:
        `Adv. Acc`, the share fooled; `undetected`, fooled and accepted; `AUC` over all attacked images, fooled or not,
        as the papers have it; `AUC, successful` over those fooled (NaN where there are none); `TPR@90`, the share of
        all attacked images that is rejected.

    Example:
        >>> found = figures(np.ones(4), Outcome(np.array([True]), np.array([-1.0])), list("abcd"), ["a"])
        >>> found["AUC, successful"].value, found["undetected"].value
        (1.0, 0.0)
    """
    kept = [group for group, good in zip(groups, outcome.fooled.tolist(), strict=True) if good]
    both = [*clean_groups, *groups]
    return {
        "Adv. Acc": share(outcome.fooled, groups=groups),
        "undetected": share(outcome.undetected, groups=groups),
        "AUC": auc(-clean, -outcome.margin, groups=both),
        "AUC, successful": auc(-clean, -outcome.margin[outcome.fooled], groups=[*clean_groups, *kept]),
        "TPR@90": share(outcome.margin < 0, groups=groups),
    }
