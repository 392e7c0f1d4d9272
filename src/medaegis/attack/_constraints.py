"""Where an adversarial image may be: inside a ball around the clean one and inside the pixel range, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from medaegis._errors import is_number, require
from medaegis._types import PIXEL_RANGE, Images
from medaegis.attack._random import CaseRandom


class Region(Protocol):
    """An interface: the allowed images around one batch of clean ones."""

    def start(self, random: CaseRandom) -> Images:
        """A random allowed image for each case, (b, c, *space)."""
        ...

    def project(self, x: Images) -> Images:
        """Allowed images close to `x`, (b, c, *space); the caller's tensor may be overwritten."""
        ...

    def shrink(self, perturbation: Tensor) -> Tensor:
        """The perturbation (b, c, *any resolution) brought into the budget, without regard to the pixel range."""
        ...

    def bounds(self) -> tuple[Images, Images]:
        """The lowest and the highest value of each pixel, (b, c, *space)."""
        ...


class Constraint(Protocol):
    """An interface: a budget that becomes a region once the clean images are known."""

    @property
    def eps(self) -> float:
        """The budget, in units of the pixel range."""
        ...

    def around(self, x0: Images) -> Region:
        """The allowed images around `x0`, (b, c, *space) in [0, 1]."""
        ...


@dataclass(frozen=True)
class Linf:
    """No pixel moves by more than `eps`, and none leaves [0, 1].

    Exact: |x - x0| <= eps holds for the real numbers that the stored ones stand for, because the bounds are rounded
    towards x0; so it also holds when the difference is computed in any precision.

    Args:
        eps: budget in pixel units, 0 <= eps < 1; `4/256`, not 4.

    Raises:
        InputError: `eps` is not in [0, 1).

    Example:
        >>> region = Linf(0.1).around(torch.tensor([[[[0.0, 0.5]]]]))
        >>> region.project(torch.tensor([[[[-1.0, 1.0]]]]))
        tensor([[[[0.0000, 0.6000]]]])
    """

    eps: float

    def __post_init__(self) -> None:
        check_eps(self.eps, "Linf")

    def around(self, x0: Images) -> Region:
        """The box around `x0`."""
        return _Box(x0, *_box_bounds(x0, self.eps), self.eps)


@dataclass(frozen=True)
class _Box:
    x0: Tensor
    low: Tensor
    high: Tensor
    eps: float

    def start(self, random: CaseRandom) -> Tensor:
        noise = random.uniform(self.x0.shape[1:], self.x0)
        return self.project(self.x0 + (2 * noise - 1) * self.eps)

    def project(self, x: Tensor) -> Tensor:
        return torch.clamp(x, self.low, self.high, out=x)

    def shrink(self, perturbation: Tensor) -> Tensor:
        return perturbation.clamp(-self.eps, self.eps)

    def bounds(self) -> tuple[Tensor, Tensor]:
        return self.low, self.high


def _box_bounds(x0: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    reach = _rounded_down(eps, x0.dtype)
    exact = x0.double()
    low, high = (exact - reach).to(x0.dtype), (exact + reach).to(x0.dtype)
    low = torch.where(_wider(exact, low.double(), reach), torch.nextafter(low, x0), low)
    high = torch.where(_wider(high.double(), exact, reach), torch.nextafter(high, x0), high)
    return low.clamp(*PIXEL_RANGE), high.clamp(*PIXEL_RANGE)


def _wider(upper: Tensor, lower: Tensor, reach: float) -> Tensor:
    """Whether upper - lower > reach, for float64 too: where one difference is rounded, the other is exact."""
    return (upper - lower > reach) | (upper - reach > lower)


def _rounded_down(eps: float, dtype: torch.dtype) -> float:
    """The largest number of `dtype` that is not above `eps`."""
    near = torch.tensor(eps, dtype=dtype)
    return (torch.nextafter(near, torch.zeros_like(near)) if near.item() > eps else near).item()


def check_eps(eps: float, owner: str) -> None:
    """Raise `InputError` unless `eps` is a budget in pixel units, naming the likely meaning of 1 and more.

    Example:
        >>> check_eps(1 / 256, "bim")
    """
    meant = f"Pixels are in [0, 1]; did you mean {eps:g}/256?" if is_number(eps) and eps >= 1 else ""
    require(is_number(eps) and 0 <= eps < 1, "eps", owner, "a number in [0, 1), as in 1/256", eps, meant)


def spatial(per_case: Tensor, like: Sequence[int]) -> Tensor:
    """A (b,) tensor shaped (b, 1, 1, …) so that it multiplies images with as many dimensions as `like`.

    Example:
        >>> spatial(torch.ones(2), (2, 3, 8, 8)).shape
        torch.Size([2, 1, 1, 1])
    """
    return per_case.reshape(-1, *(1,) * (len(like) - 1))
