"""A guard on the toy problem, fitted in a second."""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from defend.toy import fooled_network, toy_images
from medaegis.defend import Aegis, ShieldSettings, TrainingAttack

QUICK = ShieldSettings(
    attacks=(TrainingAttack(steps=2),), epochs=1, growing=1, last_eps=4 / 256, width=4, probe_cases=4
)


@lru_cache(maxsize=1)
def _learned() -> nn.Module:
    return fooled_network()


def learned() -> nn.Module:
    """A copy of one `fooled_network`."""
    return deepcopy(_learned())


def quick_guard(net: nn.Module | None = None, **changes: Any) -> Aegis:
    x, y = toy_images(120, 1)
    given = {"settings": QUICK, "seed": 0} | changes
    return Aegis.fit(net or learned(), given.pop("data", (x, y, None)), **given)


def alone(guard: Aegis, x: Tensor) -> Tensor:
    """S of the predicted class, (n,), each image in a call of its own."""
    return torch.cat([-guard(image[None]).score for image in x])


class Jittery(nn.Module):
    """A network whose numbers move with the size of the batch, as rounding does, only surely so."""

    def __init__(self, inner: nn.Module, size: float = 3e-6) -> None:
        super().__init__()
        self.inner, self.size = inner, size

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x + self.size * (-1) ** len(x) * len(x) ** 0.5 / 8)


class Gray(nn.Module):
    """The mean of the channels."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=1, keepdim=True)
