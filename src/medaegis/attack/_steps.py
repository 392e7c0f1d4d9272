"""How a gradient becomes a move. State goes in and comes out; nothing is kept on the rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

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
