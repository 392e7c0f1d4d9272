"""How a gradient becomes a move. State goes in and comes out; nothing is kept on the rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from medaegis._errors import is_number, require
from medaegis._types import Images


class StepRule(Protocol):
    """An interface: `init` makes the state for a batch, `update` turns a gradient into a move and the next state."""

    def init(self, x0: Images) -> Any:
        """The state before the first step."""
        ...

    def update(self, gradient: Images, state: Any) -> tuple[Images, Any]:
        """The move (b, c, *space), to be added to the images, and the next state."""
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
        >>> SignStep(0.5).update(torch.tensor([2.0, 0.0, -1.0]), None)[0]
        tensor([-0.5000, -0.0000,  0.5000])
    """

    size: float

    def __post_init__(self) -> None:
        good = is_number(self.size) and 0 <= self.size < 2  # BIM of one step takes 2 eps, and eps < 1
        require(good, "step_size", "SignStep", "a number in [0, 2), as in 0.02/256", self.size)

    def init(self, x0: Images) -> None:
        """No state."""

    def update(self, gradient: Images, state: None) -> tuple[Tensor, None]:
        """The move and no state."""
        return gradient.sign().mul_(-self.size), state


@dataclass(frozen=True)
class MomentumStep:
    """Move by the sign of a running sum of normalised gradients: v = decay v + g / |g|, x = x - size sign(v).

    A step whose gradient is zero adds nothing and divides by nothing: the case goes on along its momentum, where
    toolboxes that divide by the mean of |g| turn it into NaN and freeze the case.

    Args:
        size: step size alpha in pixel units, [0, 2).
        decay: mu, >= 0; 1.0 in the paper, 0.5 in the code released with HFC-21.
        norm: `"l1"` as in the paper, or `"l2"` as in the released code; of each case's whole gradient.

    Raises:
        InputError: an argument is out of range.

    Source: Dong et al. 2018, eq. 6 and 7.

    Example:
        >>> import torch
        >>> step = MomentumStep(0.5)
        >>> step.update(torch.tensor([[2.0, 0.0, -1.0]]), step.init(torch.zeros(1, 3)))[0]
        tensor([[-0.5000, -0.0000,  0.5000]])
    """

    size: float
    decay: float = 1.0
    norm: Literal["l1", "l2"] = "l1"

    def __post_init__(self) -> None:
        good = is_number(self.size) and 0 <= self.size < 2
        require(good, "step_size", "MomentumStep", "a number in [0, 2), as in 0.02/256", self.size)
        require(is_number(self.decay) and self.decay >= 0, "decay", "mim", "a number >= 0", self.decay)
        require(self.norm in ("l1", "l2"), "norm", "mim", '"l1" or "l2"', self.norm)

    def init(self, x0: Images) -> Tensor:
        """No momentum, (b, c, *space)."""
        return torch.zeros_like(x0)

    def update(self, gradient: Images, state: Tensor) -> tuple[Tensor, Tensor]:
        """The move and the next momentum."""
        velocity = self.decay * state + _unit(gradient, self.norm)
        return velocity.sign().mul_(-self.size), velocity


def _unit(gradient: Tensor, norm: Literal["l1", "l2"]) -> Tensor:
    """Each case's gradient over its norm, scaled by its peak first lest squares under- or overflow; zero stays zero."""
    axes = tuple(range(1, gradient.dim()))
    peak = gradient.abs().amax(dim=axes, keepdim=True)
    scaled = gradient / torch.where(peak > 0, peak, 1)
    length = torch.linalg.vector_norm(scaled, ord=1 if norm == "l1" else 2, dim=axes, keepdim=True)
    return scaled / torch.where(length > 0, length, 1)
