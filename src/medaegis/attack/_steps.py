"""How a gradient becomes the next point. State goes in and comes out; nothing is kept on the rule."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from medaegis._errors import is_number, require
from medaegis._types import PerCase
from medaegis.attack._objectives import TwoGoals


class Iterate(NamedTuple):
    """What a step rule sees of one step.

    Attributes:
        point: where the attack stands (b, …): the images themselves, or what an attack's space searches over.
        gradient: of the objective to `point`, (b, …).
        value: objective (b,); smaller is better for the attacker.
        step: number of this step, from 0.
        steps: how many there are.
        project: brings a point (b, …) back to where it may be; may overwrite what it is given.
        rate: factor of the step size, set by `Decaying`.
        goals: where it stands with both goals, where something was added to the attack's own loss; else None.
    """

    point: Tensor
    gradient: Tensor
    value: PerCase
    step: int
    steps: int
    project: Callable[[Tensor], Tensor]
    rate: float = 1.0
    goals: TwoGoals | None = None


class StepRule(Protocol):
    """An interface: `init` makes the state for a batch, `update` gives the next point and the next state.

    States are tensors whose first dimension counts cases, numbers, or tuples of such, so that a loop can drop cases.
    """

    def init(self, point: Tensor) -> Any:
        """The state before the first step, for points (b, …)."""
        ...

    def update(self, now: Iterate, state: Any) -> tuple[Tensor, Any]:
        """The next allowed point (b, …) and the next state."""
        ...


@dataclass(frozen=True)
class SignStep:
    """Move every pixel by `size` against the sign of its gradient (HFC-21 eq. 2); a zero gradient moves nothing.

    Args:
        size: step size alpha in pixel units, [0, 2).

    Raises:
        InputError: `size` is out of range or not a number.

    Example:
        >>> import torch
        >>> now = Iterate(torch.zeros(1, 3), torch.tensor([[2.0, 0.0, -1.0]]), torch.zeros(1), 0, 1, lambda p: p)
        >>> SignStep(0.5).update(now, None)[0]
        tensor([[-0.5000,  0.0000,  0.5000]])
    """

    size: float

    def __post_init__(self) -> None:
        good = is_number(self.size) and 0 <= self.size < 2  # BIM of one step takes 2 eps, and eps < 1
        require(good, "step_size", "SignStep", "a number in [0, 2), as in 0.02/256", self.size)

    def init(self, point: Tensor) -> None:
        """No state."""

    def update(self, now: Iterate, state: None) -> tuple[Tensor, None]:
        """The next point and no state."""
        return now.project(now.gradient.sign().mul_(-self.size * now.rate).add_(now.point)), state


@dataclass(frozen=True)
class L2Step:
    """Move each case by a vector of length `size` against its gradient; a zero gradient moves nothing.

    Args:
        size: length of the move, > 0: as a root mean square over the case's values, or as a plain Euclidean norm.
        norm: `"rms"` or `"l2"`.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> import torch
        >>> now = Iterate(torch.zeros(1, 2), torch.tensor([[3.0, -4.0]]), torch.zeros(1), 0, 1, lambda p: p)
        >>> L2Step(0.5, "l2").update(now, None)[0]
        tensor([[-0.3000,  0.4000]])
    """

    size: float
    norm: Literal["rms", "l2"] = "rms"

    def __post_init__(self) -> None:
        require(is_number(self.size) and self.size >= 0, "step_size", "L2Step", "a number >= 0", self.size)
        require(self.norm in ("rms", "l2"), "norm", "L2Step", '"rms" or "l2"', self.norm)

    def init(self, point: Tensor) -> None:
        """No state."""

    def update(self, now: Iterate, state: None) -> tuple[Tensor, None]:
        """The next point and no state."""
        length = self.size * (now.point[0].numel() ** 0.5 if self.norm == "rms" else 1.0)
        return now.project(unit(now.gradient, "l2").mul_(-length * now.rate).add_(now.point)), state


@dataclass(frozen=True)
class Momentum:
    """Any step rule along a running sum of normalised gradients: v = decay v + g / |g|.

    A step whose gradient is zero adds nothing and divides by nothing: the case goes on along its momentum, where
    toolboxes that divide by the mean of |g| turn it into NaN and freeze the case.

    Args:
        inner: the rule that gets v in place of the gradient, as in `Momentum(SignStep(0.02 / 256))`.
        decay: mu, >= 0; 1.0 in the paper, 0.5 in the code released with HFC-21.
        norm: `"l1"` as in the paper, or `"l2"` as in the released code; of each case's whole gradient.

    Raises:
        InputError: an argument is out of range.

    Source: Dong et al. 2018, eq. 6 and 7.

    Example:
        >>> import torch
        >>> step = Momentum(SignStep(0.5))
        >>> now = Iterate(torch.zeros(1, 3), torch.tensor([[2.0, 0.0, -1.0]]), torch.zeros(1), 0, 1, lambda p: p)
        >>> step.update(now, step.init(now.point))[0]
        tensor([[-0.5000,  0.0000,  0.5000]])
    """

    inner: StepRule
    decay: float = 1.0
    norm: Literal["l1", "l2"] = "l1"

    def __post_init__(self) -> None:
        require(is_number(self.decay) and self.decay >= 0, "decay", "mim", "a number >= 0", self.decay)
        require(self.norm in ("l1", "l2"), "norm", "mim", '"l1" or "l2"', self.norm)

    def init(self, point: Tensor) -> tuple[Tensor, Any]:
        """No momentum (b, …), and the inner rule's state."""
        return torch.zeros_like(point), self.inner.init(point)

    def update(self, now: Iterate, state: tuple[Tensor, Any]) -> tuple[Tensor, tuple[Tensor, Any]]:
        """The next point, and the next momentum with the inner rule's state."""
        velocity = self.decay * state[0] + unit(now.gradient, self.norm)
        point, inner = self.inner.update(now._replace(gradient=velocity), state[1])
        return point, (velocity, inner)


@dataclass(frozen=True)
class Decaying:
    """Any step rule with a step size that falls: once by `factor` after step `after`, or along half a cosine to zero.

    Args:
        inner: the rule.
        kind: `"drop"` or `"cosine"`.
        after: number of full steps before the drop.
        factor: what the size is multiplied by from then on, in (0, 1].

    Raises:
        InputError: an argument is out of range.

    Source: Aegis section 4 (WB_d: the size x 0.1 after 50 steps).

    Example:
        >>> import torch
        >>> now = Iterate(torch.zeros(1, 1), torch.ones(1, 1), torch.zeros(1), 50, 100, lambda point: point)
        >>> Decaying(SignStep(0.5)).update(now, None)[0]
        tensor([[-0.0500]])
    """

    inner: StepRule
    kind: Literal["drop", "cosine"] = "drop"
    after: int = 50
    factor: float = 0.1

    def __post_init__(self) -> None:
        require(self.kind in ("drop", "cosine"), "kind", "decaying", '"drop" or "cosine"', self.kind)
        require(self.after >= 0, "after", "decaying", "an int >= 0", self.after)
        good = is_number(self.factor) and 0 < self.factor <= 1
        require(good, "factor", "decaying", "a number in (0, 1]", self.factor)

    def init(self, point: Tensor) -> Any:
        """The inner rule's state."""
        return self.inner.init(point)

    def update(self, now: Iterate, state: Any) -> tuple[Tensor, Any]:
        """The inner rule's next point and state."""
        return self.inner.update(now._replace(rate=now.rate * self._rate(now.step, now.steps)), state)

    def _rate(self, step: int, steps: int) -> float:
        if self.kind == "drop":
            return self.factor if step >= self.after else 1.0
        return (1 + math.cos(math.pi * step / steps)) / 2


def unit(gradient: Tensor, norm: Literal["l1", "l2"]) -> Tensor:
    """Each case's gradient over its norm, scaled by its peak first lest squares under- or overflow; zero stays zero.

    Example:
        >>> unit(torch.tensor([[3.0, -1.0], [0.0, 0.0]]), "l1")
        tensor([[ 0.7500, -0.2500],
                [ 0.0000,  0.0000]])
    """
    axes = tuple(range(1, gradient.dim()))
    peak = gradient.abs().amax(dim=axes, keepdim=True)
    scaled = gradient / torch.where(peak > 0, peak, 1)
    length = torch.linalg.vector_norm(scaled, ord=1 if norm == "l1" else 2, dim=axes, keepdim=True)
    return scaled.div_(torch.where(length > 0, length, 1))
