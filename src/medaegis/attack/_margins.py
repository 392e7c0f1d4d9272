"""Objectives made of differences of logits: no softmax that saturates."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medaegis._errors import InputError, is_number, require
from medaegis._types import Images, Logits, PerCase, Tapped
from medaegis.attack._objectives import Goal, Objective, without_class
from medaegis.models import frozen


def margin_of(logits: Logits, goal: Goal) -> PerCase:
    """How far a case is from being fooled (b,), negative once it is.

    With a target t, max_(j != t) l_j - l_t; without, l_y - max_(j != y) l_j. The other classes are chosen with the
    one's logit at minus infinity, so a constant on all logits changes nothing.

    Example:
        >>> margin_of(torch.tensor([[-3.0, -5.0]]), Goal(torch.tensor([0]), torch.tensor([1])))
        tensor([2.])
    """
    one = goal.label if goal.target is None else goal.target
    chosen = logits.gather(1, one[:, None]).squeeze(1)
    others = without_class(logits, one).amax(dim=1)
    return chosen - others if goal.target is None else others - chosen


@dataclass(frozen=True)
class Margin(Objective):
    """max(margin, -kappa), with the margin of the logits towards the target, or away from the true class.

    Once a case is beyond the floor -kappa its gradient is zero: it has what it wants, which is no sign of weakness.

    Args:
        kappa: confidence, >= 0; infinity for no floor. HFC-23 takes `logit_gap` of the data, the released code 100.

    Raises:
        InputError: `kappa` is negative or NaN.

    Source: HFC-21 eq. 3; Carlini & Wagner 2017.

    Example:
        >>> Margin(1.0)(Tapped(torch.tensor([[-3.0, 5.0]]), {}), Goal(torch.tensor([0]), torch.tensor([1])))
        tensor([-1.])
    """

    kappa: float = math.inf

    def __post_init__(self) -> None:
        good = self.kappa == math.inf or (is_number(self.kappa) and self.kappa >= 0)
        require(good, "kappa", "cw_linf", "a number >= 0, or math.inf for no floor", self.kappa)

    def __call__(self, tapped: Tapped, goal: Goal) -> PerCase:
        """Value per case (b,)."""
        return margin_of(tapped.logits, goal).clamp_min(-self.kappa)


@dataclass(frozen=True)
class ScaledMargin(Objective):
    """The margin over the gap between the two largest logits of the case's clean image: Auto-PGD's loss for any k.

    It is the same for a network whose logits are multiplied by a constant, so a network that scales its logits to
    starve cross-entropy of gradients gains nothing, and added terms keep their weight. Any such loss made of the
    present logits alone would be constant for two classes, hence the clean reference (decision 010).

    Example:
        >>> goal = Goal(torch.tensor([0]), torch.tensor([1]), Tapped(torch.tensor([[4.0, 0.0]]), {}))
        >>> ScaledMargin()(Tapped(torch.tensor([[2.0, 0.0]]), {}), goal)
        tensor([0.5000])
    """

    reads_clean = True

    def __call__(self, tapped: Tapped, goal: Goal) -> PerCase:
        """Value per case (b,)."""
        if goal.clean is None:
            raise InputError("`goal.clean` of ScaledMargin must hold the clean images' logits; run_attack gives them.")
        return margin_of(tapped.logits, goal) / top_gap(goal.clean.logits)


@dataclass(frozen=True)
class DifferenceOfLogitsRatio(Objective):
    """Croce & Hein's DLR: the margin over z_pi1 - z_pi3, or, with a target, over z_pi1 - (z_pi3 + z_pi4) / 2.

    Undefined below 3 classes (with a target: 4); `ScaledMargin` stands for every number of classes.

    Source: Croce & Hein 2020, eq. 6 and 7.

    Example:
        >>> DifferenceOfLogitsRatio()(Tapped(torch.tensor([[3.0, 2.0, 1.0]]), {}), Goal(torch.tensor([0]), None))
        tensor([0.5000])
    """

    def __call__(self, tapped: Tapped, goal: Goal) -> PerCase:
        """Value per case (b,)."""
        least = 3 if goal.target is None else 4
        k = tapped.logits.shape[1]
        fix = "Use loss='margin', which is defined for every number of classes."
        require(k >= least, "loss", "apgd", f"'dlr' for at least {least} classes only", f"{k} classes", fix)
        ordered = tapped.logits.sort(dim=1, descending=True).values
        low = ordered[:, 2] if goal.target is None else (ordered[:, 2] + ordered[:, 3]) / 2
        return _margin_towards(tapped.logits, goal) / (ordered[:, 0] - low).clamp_min(1e-30)


def _margin_towards(logits: Tensor, goal: Goal) -> Tensor:
    """The numerator of DLR: with a target it is z_y - z_t, of the true class whatever else is larger."""
    if goal.target is None:
        return margin_of(logits, goal)
    both = logits.gather(1, torch.stack([goal.label, goal.target], dim=1))
    return both[:, 0] - both[:, 1]


def top_gap(logits: Logits) -> PerCase:
    """Difference between the largest and the second logit (b,); a tie gives 1e-30, by which one can still divide.

    Example:
        >>> top_gap(torch.tensor([[1.0, 4.0, 2.0]]))
        tensor([2.])
    """
    two = logits.detach().topk(2, dim=1).values
    return (two[:, 0] - two[:, 1]).clamp_min(1e-30)


def logit_gap(model: nn.Module, x: Images, *, batch_size: int = 32) -> float:
    """Mean difference between the largest and the second logit of clean images: kappa of HFC-23.

    Args:
        model: maps images to logits (n, k); left as it is.
        x: clean images (n, c, *space) in [0, 1].
        batch_size: images a pass.

    Returns:
        The mean, for `cw_linf(eps, kappa=logit_gap(model, x))`.

    Source: HFC-23 section V-A.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> logit_gap(net, torch.rand(3, 1, 2, 2)) > 0
        True
    """
    with frozen(model), torch.no_grad():
        gaps = [top_gap(model(part.clone())) for part in x.split(batch_size)]
    return torch.cat(gaps).double().mean().item()
