"""The L2 ball, as a root mean square or as a plain norm, inside the pixel range, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from medaegis._errors import is_number, require
from medaegis._types import PIXEL_RANGE, Images
from medaegis.attack._constraints import Region, check_eps, spatial
from medaegis.attack._random import CaseRandom

L2Norm = Literal["rms", "l2"]
_INSIDE = 1 - 1e-12  # float64's own rounding, for balls that are checked in float64


@dataclass(frozen=True)
class L2:
    """The perturbation of a case is no longer than `eps`, and no pixel leaves [0, 1].

    Exact: after the projection every value is rounded towards the clean one, so the norm of the stored images' true
    difference is at most `eps`. The projection cuts to the pixel range first and scales to the ball then, which stays
    in the range; the other order would spend budget on changes that the range forbids.

    Args:
        eps: the budget. With `"rms"`, |d|_2 / sqrt(number of values), in pixel units [0, 1): `8/256` is what Aegis
            means. With `"l2"`, the plain norm |d|_2, >= 0.
        norm: `"rms"` or `"l2"`.

    Raises:
        InputError: an argument is out of range.

    Source: SPEC section 3; the released code's norm is the root mean square.

    Example:
        >>> region = L2(0.25).around(torch.full((1, 1, 1, 2), 0.5))
        >>> region.project(torch.tensor([[[[0.5, 1.4]]]]))
        tensor([[[[0.5000, 0.8536]]]])
    """

    eps: float
    norm: L2Norm = "rms"

    def __post_init__(self) -> None:
        require(self.norm in ("rms", "l2"), "norm", "L2", '"rms" or "l2"', self.norm)
        if self.norm == "rms":
            check_eps(self.eps, "L2")
        require(is_number(self.eps) and self.eps >= 0, "eps", "L2", "a number >= 0", self.eps)

    def around(self, x0: Images) -> Region:
        """The ball around `x0`."""
        return _Ball(x0, self.eps * (x0[0].numel() ** 0.5 if self.norm == "rms" else 1.0))


@dataclass(frozen=True)
class _Ball:
    x0: Tensor
    radius: float

    def start(self, random: CaseRandom) -> Tensor:
        """Uniform in the ball: a random direction, and a length whose n-th power is uniform."""
        direction = random.normal(self.x0.shape[1:], self.x0)
        length = random.uniform((1,), self.x0).flatten() ** (1 / self.x0[0].numel())
        scale = self.radius * length / direction.flatten(1).norm(dim=1).clamp_min(1e-30)
        return self.project(self.x0 + direction * spatial(scale, self.x0.shape))

    def project(self, x: Tensor) -> Tensor:
        exact = self.x0.double()
        wanted = x.double().clamp_(*PIXEL_RANGE) - exact
        length = torch.linalg.vector_norm(wanted, dim=tuple(range(1, x.dim())))
        scale = torch.where(length > self.radius * _INSIDE, self.radius * _INSIDE / length.clamp_min(1e-300), 1.0)
        wanted *= spatial(scale, x.shape)
        near = (exact + wanted).to(x.dtype)
        moved = near.double() - exact
        return torch.where(moved.abs() > wanted.abs(), torch.nextafter(near, self.x0), near)

    def shrink(self, perturbation: Tensor) -> Tensor:
        """By its root mean square, which up-sampling hardly changes."""
        size = torch.linalg.vector_norm(perturbation, dim=tuple(range(1, perturbation.dim())))
        most = self.radius * (perturbation[0].numel() / self.x0[0].numel()) ** 0.5
        return perturbation * spatial((most / size.clamp_min(1e-30)).clamp_max(1), perturbation.shape)

    def bounds(self) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(self.x0), torch.ones_like(self.x0)


def l2_size(perturbation: Images, norm: L2Norm = "rms") -> Tensor:
    """Length of each case's perturbation (n,), as `L2` measures it, in float64.

    Example:
        >>> l2_size(torch.tensor([[3.0, 4.0]]), "l2"), l2_size(torch.tensor([[0.5, 0.5]]))
        (tensor([5.], dtype=torch.float64), tensor([0.5000], dtype=torch.float64))
    """
    length = perturbation.double().flatten(1).norm(dim=1)
    return length / perturbation[0].numel() ** 0.5 if norm == "rms" else length
