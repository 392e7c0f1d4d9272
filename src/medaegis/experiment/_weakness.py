"""Signs of a too weak attack: a weak attack makes a model, or a detector, look good."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

CASES = 16  # cases of the extra runs, unless the user wants another number
MOST_ZERO = 0.01
MOST_LOST = 0.05


class Check(NamedTuple):
    """One sign that was looked for.

    Attributes:
        name: of the check.
        passed: None where it was not run.
        text: numbers and the rule, or why it was not run.
    """

    name: str
    passed: bool | None
    text: str

    def fact(self) -> dict[str, Any]:
        """For manifest.json."""
        return self._asdict()


class Outcome(NamedTuple):
    """One run on the cases of the checks: what it was and which of them it fooled (n,)."""

    title: str
    fooled: Tensor


def not_run(name: str, why: str) -> Check:
    """A check that was not made, and why.

    Example:
        >>> not_run("White-box is not below transfer", "no substitute given").text
        'Not run: no substitute given.'
    """
    return Check(name, None, f"Not run: {why}.")


def alive(stuck: Tensor, steps: Tensor) -> Check:
    """Gradients must not be zero while a case is not fooled.

    Args:
        stuck: such steps of each case (n,).
        steps: all steps of each case (n,).

    Example:
        >>> import torch
        >>> alive(torch.tensor([0, 10]), torch.tensor([10, 10])).passed
        False
    """
    name = "Gradients are alive"
    total = int(steps.sum())
    if total == 0:
        return not_run(name, "the attack follows no gradient")
    count, cases = int(stuck.sum()), int((stuck > 0).sum())
    rate = count / total
    text = (
        f"{count} of {total} steps ({100 * rate:.2f} %), in {cases} of {len(stuck)} cases, had a gradient of exactly "
        "zero while the case was not fooled; at most 1 % is expected."
    )
    return Check(name, rate <= MOST_ZERO, text)


def slack(n: int) -> int:
    """Cases by which a comparison may miss before it fails: 5 %, and at least one, which chance alone can turn.

    Example:
        >>> slack(16), slack(100)
        (1, 5)
    """
    return max(1, math.floor(MOST_LOST * n))


def not_below(name: str, attack: Outcome, other: Outcome) -> Check:
    """The attack must fool as many cases as another one that cannot be stronger if the attack is sound.

    Compared case by case: the cases that only the other fools, less those that only the attack fools, may be `slack`.

    Example:
        >>> import torch
        >>> none, all_ = torch.zeros(16).bool(), torch.ones(16).bool()
        >>> not_below("x", Outcome("PGD", none), Outcome("FGSM", all_)).passed
        False
    """
    n = len(attack.fooled)
    lost, won = int((other.fooled & ~attack.fooled).sum()), int((attack.fooled & ~other.fooled).sum())
    text = (
        f"{attack.title} fools {int(attack.fooled.sum())} of {n} cases, {other.title} {int(other.fooled.sum())}; "
        f"{lost} only the latter, {won} only the former. Passes if the difference is at most {slack(n)} "
        f"{'case' if slack(n) == 1 else 'cases'}. {unseen(n)}"
    )
    return Check(name, lost - won <= slack(n), text)


def lower_objective(name: str, attack: tuple[str, Tensor], other: tuple[str, Tensor]) -> Check:
    """As `not_below`, by what the attack makes small: for an attack that gives up success for something else.

    Args:
        name: of the check.
        attack: title and objective of each case (n,); smaller is better for the attacker.
        other: likewise.

    Example:
        >>> import torch
        >>> lower_objective("x", ("BIM+hfc", torch.zeros(16)), ("FGSM+hfc", torch.ones(16))).passed
        True
    """
    n = len(attack[1])
    lost, won = int((other[1] < attack[1]).sum()), int((attack[1] < other[1]).sum())
    text = (
        f"The objective (success and hiding together, so that a loss of success alone is no sign) is lower for "
        f"{attack[0]} in {won} of {n} cases, and lower for {other[0]} in {lost}. Passes if the latter are at most "
        f"{slack(n)} more. {unseen(n)}"
    )
    return Check(name, lost - won <= slack(n), text)


def unseen(n: int) -> str:
    """What n cases cannot show, in words: the upper 95 % limit of a share of which none was seen.

    Example:
        >>> unseen(16)
        'With 16 cases, what concerns fewer than 17 % of all cases can go unseen.'
    """
    return f"With {n} cases, what concerns fewer than {100 * (1 - 0.05 ** (1 / n)):.0f} % of all cases can go unseen."


def reaches_all(name: str, outcomes: Sequence[tuple[str, Outcome]]) -> Check:
    """Success must be complete at some budget, and must not fall on the way.

    Args:
        name: of the check.
        outcomes: budget and outcome, from small to large; the last is complete, or at the largest budget.

    Example:
        >>> import torch
        >>> reaches_all("x", [("1/256", Outcome("PGD", torch.ones(3).bool()))]).passed
        True
    """
    n = len(outcomes[0][1].fooled)
    counts = [int(outcome.fooled.sum()) for _, outcome in outcomes]
    listed = ", ".join(f"{eps}: {count} of {n}" for (eps, _), count in zip(outcomes, counts, strict=True))
    falls = any(later < earlier - slack(n) for earlier, later in itertools.pairwise(counts))
    rule = f"every case must be fooled at some budget, and success must not fall by more than {slack(n)} on the way"
    return Check(name, counts[-1] == n and not falls, f"Cases fooled by budget: {listed}; {rule}.")


def adaptive_check(detectors: Sequence[str], followed: Sequence[str]) -> Check:
    """A report on detectors needs an attack that knew each of them and followed its score.

    Args:
        detectors: that are reported.
        followed: those that a white-box attack followed.

    Example:
        >>> adaptive_check(("KD",), ()).passed
        False
    """
    name = "An attack follows each detector"
    if not detectors:
        why = (
            "no detector or defence is reported here. If the network itself cleans its input or rejects images, "
            "this attack is non-adaptive: it follows the network's own gradient and nothing else"
        )
        return not_run(name, why)
    missed = [label for label in detectors if label not in followed]
    if not missed:
        listed = ", ".join(detectors)
        return Check(name, True, f"{listed}: each was followed by a white-box attack; a stronger one may exist.")
    text = f"Non-adaptive for {', '.join(missed)}: no attack knew them in full and followed their scores."
    return Check(name, False, f"{text} Run it with --set hiding=hfc,white-box.")
