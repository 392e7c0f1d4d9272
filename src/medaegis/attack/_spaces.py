"""What an attack searches over: the pixels themselves, or other coordinates of the allowed images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from medaegis._errors import is_number, require
from medaegis._types import Images
from medaegis.attack._constraints import Region


class Chart(Protocol):
    """An interface: coordinates of the allowed images around one batch."""

    def enter(self, x: Images) -> Tensor:
        """The point (b, …) whose image is near the allowed images `x`."""
        ...

    def image(self, point: Tensor) -> Images:
        """The image of a point, differentiable in the point; allowed exactly."""
        ...

    def project(self, point: Tensor) -> Tensor:
        """A point with an allowed image; the given one may be overwritten."""
        ...


class Space(Protocol):
    """An interface: a choice of coordinates that becomes a chart once the region is known."""

    def over(self, x0: Images, region: Region) -> Chart:
        """The chart for the region around `x0`."""
        ...


@dataclass(frozen=True)
class Pixels:
    """The images themselves, projected after each step; every published attack of the list except CW-L2.

    Example:
        >>> from medaegis.attack import bim
        >>> bim(eps=1 / 256).space
        Pixels()
    """

    def over(self, x0: Images, region: Region) -> Chart:
        """The identity, with the region's projection."""
        return _PixelChart(region)


@dataclass(frozen=True)
class _PixelChart:
    region: Region

    def enter(self, x: Tensor) -> Tensor:
        return x

    def image(self, point: Tensor) -> Tensor:
        return point

    def project(self, point: Tensor) -> Tensor:
        return self.region.project(point)


@dataclass(frozen=True)
class Tanh:
    """x = middle + half-width tanh(w) of each pixel's allowed interval: a search without walls, for Adam.

    A pixel at the end of its interval would be infinitely far away and never move (black backgrounds); points enter
    at most at `edge` of the half-width. In an L2 ball, images are projected after the change of coordinates, and the
    gradient passes that projection unchanged.

    Args:
        edge: in (0, 1).

    Raises:
        InputError: `edge` is out of range.

    Source: Carlini & Wagner 2017, section V-B, with the ball's bounds in place of [0, 1].

    Example:
        >>> from medaegis.attack import Linf
        >>> x0 = torch.zeros(1, 1, 1, 1)
        >>> chart = Tanh().over(x0, Linf(0.1).around(x0))
        >>> chart.image(chart.enter(x0) + 2)
        tensor([[[[0.0355]]]])
    """

    edge: float = 0.98

    def __post_init__(self) -> None:
        require(is_number(self.edge) and 0 < self.edge < 1, "edge", "Tanh", "a number in (0, 1)", self.edge)

    def over(self, x0: Images, region: Region) -> Chart:
        """Coordinates of the region's intervals."""
        low, high = region.bounds()
        return _TanhChart(region, (low + high) / 2, (high - low) / 2, self.edge)


@dataclass(frozen=True)
class _TanhChart:
    region: Region
    middle: Tensor
    half: Tensor
    edge: float

    def enter(self, x: Tensor) -> Tensor:
        place = (x - self.middle) / torch.where(self.half > 0, self.half, 1)
        return place.clamp(-self.edge, self.edge).atanh()

    def image(self, point: Tensor) -> Tensor:
        return _Replaced.apply(self.middle + self.half * point.tanh(), self.region.project)  # pyright: ignore[reportReturnType]  # apply is untyped

    def project(self, point: Tensor) -> Tensor:
        return point


@dataclass(frozen=True)
class LowResolution:
    """A perturbation on a coarser grid, up-sampled linearly: a codec such as JPEG lets its low frequencies pass.

    Args:
        factor: how many pixels one value of the grid spans in each direction, > 1.

    Raises:
        InputError: `factor` is not above 1.

    Source: Guo et al. 2019 (low-frequency attacks); against the Cushion of Aegis.

    Example:
        >>> from medaegis.attack import bim, run_attack
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> x = torch.full((1, 1, 8, 8), 0.5)
        >>> attack = bim(eps=0.1, steps=4).over(LowResolution(4))
        >>> run_attack(attack, net, x, torch.tensor([0])).x.shape
        torch.Size([1, 1, 8, 8])
    """

    factor: float = 4.0

    def __post_init__(self) -> None:
        require(is_number(self.factor) and self.factor > 1, "factor", "LowResolution", "a number > 1", self.factor)

    def over(self, x0: Images, region: Region) -> Chart:
        """A grid of ceil(size / factor) values in each direction."""
        grid = [max(1, -int(-length // self.factor)) for length in x0.shape[2:]]
        return _CoarseChart(region, x0, tuple(grid))


@dataclass(frozen=True)
class _CoarseChart:
    region: Region
    x0: Tensor
    grid: tuple[int, ...]

    def enter(self, x: Tensor) -> Tensor:
        """The area means of the perturbation, which exist in every number of dimensions."""
        pool = (functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d, functional.adaptive_avg_pool3d)
        shrunk: Any = pool[len(self.grid) - 1]
        return shrunk(x - self.x0, self.grid)

    def image(self, point: Tensor) -> Tensor:
        mode = ("linear", "bilinear", "trilinear")[len(self.grid) - 1]
        size = self.x0.shape[2:]
        spread = functional.interpolate(point, size=size, mode=mode, align_corners=False)
        return _Replaced.apply(self.x0 + spread, self.region.project)  # pyright: ignore[reportReturnType]  # apply is untyped

    def project(self, point: Tensor) -> Tensor:
        return self.region.shrink(point)


class _Replaced(torch.autograd.Function):
    """A projection that the gradient passes unchanged: a wall must not make a point forget where it wants to go."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, project: Any) -> Tensor:
        return project(x.clone())

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return grad_outputs[0], None
