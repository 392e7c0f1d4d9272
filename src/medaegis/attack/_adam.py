"""Adam as a step rule: PyTorch's own update, with its state handed in and out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

from medaegis._errors import is_number, require
from medaegis.attack._steps import Iterate


@dataclass(frozen=True)
class AdamStep:
    """Kingma & Ba's Adam, element by element, so that no case depends on another.

    Args:
        size: learning rate, in units of the point that is searched: pixels, or Tanh's coordinates.
        betas: decay of the first and second moment, each in [0, 1).

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> now = Iterate(torch.zeros(1, 2), torch.tensor([[3.0, -4.0]]), torch.zeros(1), 0, 1, lambda point: point)
        >>> step = AdamStep(0.5)
        >>> step.update(now, step.init(now.point))[0]
        tensor([[-0.5000,  0.5000]])
    """

    size: float
    betas: tuple[float, float] = (0.9, 0.999)

    def __post_init__(self) -> None:
        require(is_number(self.size) and self.size >= 0, "step_size", "AdamStep", "a number >= 0", self.size)
        good = len(self.betas) == 2 and all(is_number(beta) and 0 <= beta < 1 for beta in self.betas)
        require(good, "betas", "AdamStep", "two numbers in [0, 1)", self.betas)

    def init(self, point: Tensor) -> tuple[Tensor, Tensor, int]:
        """Both moments (b, …), zero, and the number of updates made."""
        return torch.zeros_like(point), torch.zeros_like(point), 0

    def update(self, now: Iterate, state: tuple[Tensor, Tensor, int]) -> tuple[Tensor, tuple[Tensor, Tensor, int]]:
        """The next point and state."""
        point, first, second = now.point.clone(), state[0].clone(), state[1].clone()
        count = torch.tensor(float(state[2]))
        one, two = self.betas
        rates: dict[str, Any] = {"beta1": one, "beta2": two, "lr": self.size * now.rate, "eps": 1e-12}
        rest: dict[str, Any] = {"amsgrad": False, "weight_decay": 0.0, "maximize": False, "foreach": False}
        with torch.no_grad():
            adam([point], [now.gradient], [first], [second], [], [count], **rates, **rest)
        return now.project(point), (first, second, state[2] + 1)
