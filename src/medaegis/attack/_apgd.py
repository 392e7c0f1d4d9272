"""Auto-PGD: momentum steps whose size each case halves at checkpoints, from the best point so far."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from medaegis._errors import is_int, is_number, require
from medaegis.attack._attack import Attack
from medaegis.attack._constraints import Constraint, Linf, check_eps, spatial
from medaegis.attack._l2 import L2
from medaegis.attack._margins import DifferenceOfLogitsRatio, ScaledMargin
from medaegis.attack._objectives import Objective, cross_entropy
from medaegis.attack._steps import Iterate, unit

_LOSSES = {"margin": ScaledMargin(), "ce": cross_entropy, "dlr": DifferenceOfLogitsRatio()}


class _State(NamedTuple):
    before: Tensor
    best: Tensor
    best_gradient: Tensor
    best_value: Tensor
    best_fooled: Tensor
    value: Tensor
    fooled: Tensor
    size: Tensor
    improved: Tensor
    halved: Tensor
    better_since: Tensor


@dataclass(frozen=True)
class AutoStep:
    """The step rule of Auto-PGD (APGD).

    x' = P(x - eta d), then x'' = P(x + alpha (x' - x) + (1 - alpha) (x - x_before)), where d is the gradient's sign
    or, in an L2 ball, its direction. At checkpoints a case halves eta and goes back to its best point if the
    objective fell in fewer than `rho` of the steps since the last one, or if neither eta nor the best value changed.

    Where something was added to the attack's own loss, the sum is no measure of progress: it falls while the case gets
    hidden and no longer fools, or rises as the case gets fooled, and HFC-23 (V-I) found that this breaks the rule. So
    `"goals"` judges by both in turn: a fooled point is better than one that is not; of two that are not, the one with
    the smaller own loss; of two that are, the one with the smaller sum of what was added.

    Args:
        size: first eta, 2 eps in the paper; as a sign step, or as the length of the move in `norm`.
        norm: `"linf"`, `"rms"` or `"l2"`.
        alpha: share of the new move, 0.75.
        rho: share of steps that must improve, 0.75.
        judge: `"goals"`, or `"objective"` for the paper's rule on the sum; the same where nothing was added.

    Raises:
        InputError: an argument is out of range.

    Source: Croce & Hein 2020, Algorithm 1 and section 3.1. The paper's checkpoints are followed, not its code's.

    Example:
        >>> now = Iterate(torch.zeros(1, 2), torch.tensor([[3.0, -4.0]]), torch.zeros(1), 0, 1, lambda point: point)
        >>> step = AutoStep(0.5)
        >>> step.update(now, step.init(now.point))[0]
        tensor([[-0.5000,  0.5000]])
    """

    size: float
    norm: Literal["linf", "rms", "l2"] = "linf"
    alpha: float = 0.75
    rho: float = 0.75
    judge: Literal["goals", "objective"] = "goals"

    def __post_init__(self) -> None:
        require(is_number(self.size) and self.size >= 0, "step_size", "AutoStep", "a number >= 0", self.size)
        require(self.norm in ("linf", "rms", "l2"), "norm", "apgd", '"linf", "rms" or "l2"', self.norm)
        for name, value in (("alpha", self.alpha), ("rho", self.rho)):
            require(is_number(value) and 0 <= value <= 1, name, "apgd", "a number in [0, 1]", value)
        require(self.judge in ("goals", "objective"), "judge", "apgd", '"goals" or "objective"', self.judge)

    def init(self, point: Tensor) -> _State:
        """A state that has seen nothing yet."""
        worst = torch.full((len(point),), torch.inf, dtype=point.dtype, device=point.device)
        none, no = torch.zeros_like(worst), torch.zeros_like(worst, dtype=torch.bool)
        size, unseen = torch.full_like(worst, self.size), torch.zeros_like(point)
        return _State(point, point, unseen, worst, no, worst, no, size, none, no, no)

    def update(self, now: Iterate, state: _State) -> tuple[Tensor, _State]:
        """The next point and state."""
        seen = self._look(now, state)
        point, gradient = now.point, now.gradient
        window = checkpoints(now.steps).get(now.step)
        if window is not None:
            back, seen = self._checkpoint(seen, window)
            mask = spatial(back, point.shape)
            point, gradient = torch.where(mask, seen.best, point), torch.where(mask, seen.best_gradient, gradient)
        size = spatial(seen.size * now.rate, point.shape)
        tried = now.project(point - size * self._direction(gradient))
        if now.step == 0:
            return tried, seen._replace(before=point)
        moved = point + self.alpha * (tried - point) + (1 - self.alpha) * (point - seen.before)
        return now.project(moved), seen._replace(before=point)

    def _direction(self, gradient: Tensor) -> Tensor:
        if self.norm == "linf":
            return gradient.sign()
        return unit(gradient, "l2") * (gradient[0].numel() ** 0.5 if self.norm == "rms" else 1.0)

    def _checkpoint(self, seen: _State, window: int) -> tuple[Tensor, _State]:
        """Which cases go back to their best point, and the state with their sizes halved."""
        stalled = ~seen.halved & ~seen.better_since
        back = (seen.improved < self.rho * window) | stalled
        size = torch.where(back, seen.size / 2, seen.size)
        none = torch.zeros_like(seen.improved)
        return back, seen._replace(size=size, halved=back, improved=none, better_since=torch.zeros_like(back))

    def _look(self, now: Iterate, state: _State) -> _State:
        """The state after the present point is known."""
        goals = now.goals if self.judge == "goals" else None
        value = now.value if goals is None else goals.open
        fooled = torch.zeros_like(state.fooled) if goals is None else goals.fooled
        better = _better(value, fooled, state.best_value, state.best_fooled)
        mask, later = spatial(better, now.point.shape), now.step > 0
        return state._replace(
            best=torch.where(mask, now.point, state.best),
            best_gradient=torch.where(mask, now.gradient, state.best_gradient),
            best_value=torch.where(better, value, state.best_value),
            best_fooled=torch.where(better, fooled, state.best_fooled),
            value=value,
            fooled=fooled,
            improved=state.improved + _better(value, fooled, state.value, state.fooled) if later else state.improved,
            better_since=state.better_since | better if later else state.better_since,
        )


def _better(value: Tensor, fooled: Tensor, other: Tensor, other_fooled: Tensor) -> Tensor:
    """Which cases are better than another point: fooled where that is not, or else of a smaller value, (b,) bool."""
    return (fooled & ~other_fooled) | ((fooled == other_fooled) & (value < other))


def checkpoints(steps: int) -> dict[int, int]:
    """Steps w_j at which sizes may be halved, each with the number of steps since the one before.

    p_0 = 0, p_1 = 0.22, p_(j+1) = p_j + max(p_j - p_(j-1) - 0.03, 0.06), w_j = ceil(p_j steps).

    Example:
        >>> checkpoints(100)
        {22: 22, 41: 19, 57: 16, 70: 13, 80: 10, 87: 7, 93: 6, 99: 6}
    """
    places = [0.0, 0.22]
    while places[-1] < 1:
        places.append(places[-1] + max(places[-1] - places[-2] - 0.03, 0.06))
    found = [math.ceil(round(place * steps, 9)) for place in places]
    return {now: now - before for before, now in itertools.pairwise(found) if before < now < steps}


def apgd(
    eps: float,
    *,
    steps: int = 100,
    norm: Literal["linf", "rms", "l2"] = "linf",
    loss: Literal["margin", "ce", "dlr"] = "margin",
    restarts: int = 1,
    judge: Literal["goals", "objective"] = "goals",
) -> Attack:
    """Auto-PGD: no step size to choose (Croce & Hein 2020).

    Args:
        eps: budget in pixel units, [0, 1); with `"l2"` the plain norm.
        steps: number of steps, >= 1.
        norm: `"linf"`, `"rms"` (root mean square) or `"l2"`.
        loss: `"margin"`, scale-invariant and defined for two classes and more (`ScaledMargin`); `"ce"`, APGD-CE;
            `"dlr"`, APGD-DLR, from 3 classes on (with a target: 4).
        restarts: number of random starts.
        judge: what its checkpoints judge once something is added to the loss, as in `apgd(eps).plus(hfc(bank))`:
            `"goals"`, being fooled before staying hidden, or `"objective"`, the sum, as the paper would (`AutoStep`).

    Returns:
        An attack that keeps the best iterate by (fooled, objective); the paper keeps the best objective.

    Raises:
        InputError: an argument is out of range; at the attack, DLR for too few classes.

    Example:
        >>> apgd(eps=1 / 256).name
        'APGD'
    """
    require(norm in ("linf", "rms", "l2"), "norm", "apgd", '"linf", "rms" or "l2"', norm)
    require(loss in _LOSSES, "loss", "apgd", f"one of {tuple(_LOSSES)}", loss)
    require(is_int(steps) and steps >= 1, "steps", "apgd", "an int >= 1", steps)
    if norm != "l2":
        check_eps(eps, "apgd")
    ball: Constraint = Linf(eps) if norm == "linf" else L2(eps, norm)
    objective: Objective = _LOSSES[loss]
    step = AutoStep(2 * eps, norm, judge=judge)
    return Attack("APGD", objective, ball, step, steps, random_start=True, keep="best", restarts=restarts)
