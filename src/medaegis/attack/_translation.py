"""Translation invariance: the gradient over all small shifts of an image is nearly a smoothed gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from medaegis._errors import is_int, require
from medaegis._types import Images
from medaegis.attack._random import CaseRandom


@dataclass(frozen=True)
class TranslationSmoothing:
    """The image itself, whose gradient comes back smoothed with a Gaussian kernel, channel by channel.

    Args:
        size: odd side of the kernel; 7 in SPEC section 3.
        spread: how many standard deviations the kernel's half-width (size - 1) / 2 spans; 3.

    Raises:
        InputError: `size` is not an odd int >= 1.

    Source: Dong et al. 2019, eq. 7; pixels outside the image count as zero gradient.

    Example:
        >>> x = torch.zeros(1, 1, 5, 5, requires_grad=True)
        >>> TranslationSmoothing(3)(x, CaseRandom(()))[0, 0, 2, 2].backward()
        >>> x.grad[0, 0, 1:4, 1:4].sum()
        tensor(1.)
    """

    size: int = 7
    spread: float = 3.0

    def __post_init__(self) -> None:
        good = is_int(self.size) and self.size >= 1 and self.size % 2 == 1
        require(good, "size", "tim", "an odd int >= 1", self.size)
        require(self.spread > 0, "spread", "tim", "a number > 0", self.spread)

    @property
    def random(self) -> bool:
        """False."""
        return False

    def __call__(self, x: Images, random: CaseRandom) -> Images:
        """The images (b, c, *space) themselves."""
        return _Smoothed.apply(x, gaussian_kernel(self.size, self.spread, x))  # pyright: ignore[reportReturnType]  # apply is untyped


class _Smoothed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor) -> Tensor:
        ctx.kernel = kernel
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return smooth(grad_outputs[0], ctx.kernel), None


def smooth(values: Tensor, kernel: Tensor) -> Tensor:
    """Convolve (b, c, *space) with the same 1-D kernel (size,) along each spatial dimension, zeros outside.

    Example:
        >>> smooth(torch.ones(1, 1, 3), torch.tensor([0.25, 0.5, 0.25]))
        tensor([[[0.7500, 1.0000, 0.7500]]])
    """
    for axis in range(2, values.dim()):
        last = values.movedim(axis, -1)
        lines = last.reshape(-1, 1, last.shape[-1])
        done = functional.conv1d(lines, kernel.reshape(1, 1, -1), padding=len(kernel) // 2)
        values = done.reshape(last.shape).movedim(-1, axis)
    return values


def gaussian_kernel(size: int, spread: float, like: Tensor) -> Tensor:
    """A 1-D Gaussian (size,) of sum 1 whose half-width spans `spread` standard deviations.

    Example:
        >>> gaussian_kernel(3, 1.0, torch.zeros(0))
        tensor([0.2741, 0.4519, 0.2741])
    """
    places = torch.linspace(-spread, spread, size, dtype=torch.float64) if size > 1 else torch.zeros(1)
    weights = torch.exp(-(places**2) / 2)
    return (weights / weights.sum()).to(like)
