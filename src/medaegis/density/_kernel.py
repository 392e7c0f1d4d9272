"""Gaussian kernel density, exact: a logsumexp over all distances, differentiable, in float64."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from medaegis._errors import InputError, is_number, require
from medaegis._types import Features, PerCase

Bandwidth = float | Literal["median", "likelihood"]

COPY = 1e-12
"""Share of the largest squared norm up to which a squared distance may be rounding: two such cases are copies."""

WIDTHS = 33
"""Number of widths that `"likelihood"` tries."""


def kernel_log_density(features: Features, reference: Features, bandwidth: float) -> PerCase:
    """The logarithm of the mean over the reference of N(f | z_j, h^2 I).

    Args:
        features: (n, d).
        reference: z_j, (m, d).
        bandwidth: h > 0, in the units of the features.

    Returns:
        (n,), float64, differentiable in `features`.

    Raises:
        InputError: `bandwidth` is not positive, or the shapes do not fit.

    Source: Feinman et al. 2017, section 4.1; equals scikit-learn's `KernelDensity.score_samples` where its tree is
    exact.

    Example:
        >>> kernel_log_density(torch.zeros(1, 1), torch.zeros(1, 1), 1.0)
        tensor([-0.9189], dtype=torch.float64)
    """
    _check_kernel(reference, bandwidth, "kernel_log_density")
    d = reference.shape[1]
    good = features.dim() == 2 and features.shape[1] == d
    require(good, "features", "kernel_log_density", f"(n, {d}) as the reference is", tuple(features.shape))
    return _log_mean_kernel(squared_distances(features, reference), d, bandwidth)


@dataclass(frozen=True, eq=False)
class KernelDensity:
    """The kernel density of one set of normal features; see `kernel_log_density`.

    Args:
        reference: z_j, (m, d), m >= 1.
        bandwidth: h > 0, in the units of the features; `choose_bandwidth` finds one.

    Raises:
        InputError: `reference` is not (m, d), or `bandwidth` no number > 0.

    Example:
        >>> KernelDensity(torch.zeros(1, 1), 1.0).log_density(torch.zeros(1, 1))
        tensor([-0.9189], dtype=torch.float64)
    """

    reference: Tensor
    bandwidth: float

    def __post_init__(self) -> None:
        _check_kernel(self.reference, self.bandwidth, "KernelDensity")

    def log_density(self, features: Features) -> PerCase:
        """The logarithm of p(f), (n,), float64, differentiable in f."""
        return kernel_log_density(features, self.reference, self.bandwidth)

    def to(self, like: Tensor) -> KernelDensity:
        """The same density with the dtype and device of `like`."""
        return KernelDensity(self.reference.to(like), self.bandwidth)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that defines it, for saving; `KernelDensity.from_tensors` is the way back."""
        return {"reference": self.reference, "bandwidth": torch.tensor(self.bandwidth, dtype=torch.float64)}

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor]) -> KernelDensity:
        """From what `tensors` gave."""
        return KernelDensity(tensors["reference"], float(tensors["bandwidth"]))


def leave_one_out_log_density(reference: Features, bandwidth: float) -> PerCase:
    """The log density of each case of the reference under the m - 1 others, (m,), float64.

    Raises:
        InputError: fewer than two cases.

    Example:
        >>> leave_one_out_log_density(torch.zeros(2, 1), 1.0)
        tensor([-0.9189, -0.9189], dtype=torch.float64)
    """
    m, d = reference.shape
    require(m >= 2, "reference", "leave_one_out_log_density", "of at least two cases", m)
    squared = squared_distances(reference, reference).fill_diagonal_(math.inf)
    return _log_mean_kernel(squared, d, bandwidth) + math.log(m / (m - 1))


def squared_distances(features: Features, reference: Features) -> Tensor:
    """|f_i - z_j|^2, (n, m) in float64, never below zero, differentiable.

    Example:
        >>> squared_distances(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
        tensor([[25.]], dtype=torch.float64)
    """
    f, z = features.double(), reference.double()
    centre = z.mean(dim=0)
    f, z = f - centre, z - centre
    return (f.square().sum(dim=1)[:, None] + z.square().sum(dim=1) - 2 * f @ z.T).clamp_min(0)


def copy_distance(reference: Features) -> Tensor:
    """The squared distance up to which a case is a copy of one of the reference: it may be rounding. A scalar, float64.

    Example:
        >>> copy_distance(torch.tensor([[-1.0], [1.0]]))
        tensor(1.0000e-12, dtype=torch.float64)
    """
    z = reference.detach().double()
    return COPY * (z - z.mean(dim=0)).square().sum(dim=1).amax()


def check_bandwidth(rule: object) -> None:
    """Raise `InputError` unless `rule` is a number above zero, `"median"` or `"likelihood"`.

    Example:
        >>> check_bandwidth("median")
    """
    good = (is_number(rule) and rule > 0) or (isinstance(rule, str) and rule in ("median", "likelihood"))
    require(good, "bandwidth", "KD", 'a number > 0, "median" or "likelihood"', rule)


def choose_bandwidth(reference: Features, rule: Bandwidth) -> float:
    """A bandwidth from the reference alone.

    Args:
        reference: (m, d), m >= 2.
        rule: a number is taken as it is; `"median"` takes the median distance to the nearest neighbour times sqrt(2)
            (not the median of all distances, which is several times too wide in hundreds of dimensions);
            `"likelihood"` takes the width that makes the reference most likely, each case left out of its own density,
            the best of 33. Both leave a case's exact copies out too, for which no width is too small.

    Raises:
        InputError: unknown rule, a width <= 0, or all cases of the reference equal.

    The most likely width satisfies h^2 = E_i[sum_j w_ij |z_i - z_j|^2] / d with weights that favour near neighbours, so
    it lies between the root mean square distances to the nearest neighbour and to all others, each over sqrt(d).

    Example:
        >>> choose_bandwidth(torch.randn(30, 4), 0.5)
        0.5
    """
    check_bandwidth(rule)
    if not isinstance(rule, str):
        return float(rule)
    squared, d = _squared_to_others(reference), reference.shape[1]
    nearest = squared.amin(dim=1)
    if not bool(nearest.isfinite().all()):
        raise InputError("`bandwidth` of KD cannot be chosen: all reference cases are equal. Give a number instead.")
    if rule == "median":
        return nearest.sqrt().median().item() * math.sqrt(2)
    everyone = squared.where(squared.isfinite(), torch.nan).nanmean(dim=1)
    low, high = math.sqrt(nearest.mean().item() / d), math.sqrt(everyone.mean().item() / d)
    widths = [low * (high / low) ** (step / (WIDTHS - 1)) for step in range(WIDTHS)]
    scores = [_log_mean_kernel(squared, d, width).mean().item() for width in widths]
    return widths[max(range(WIDTHS), key=scores.__getitem__)]


def _squared_to_others(reference: Tensor) -> Tensor:
    """Squared distances with infinity from each case to itself and to its copies."""
    squared = squared_distances(reference, reference)
    return squared.masked_fill(squared <= copy_distance(reference), math.inf)


def _check_kernel(reference: Tensor, bandwidth: float, owner: str) -> None:
    require(is_number(bandwidth) and bandwidth > 0, "bandwidth", owner, "a number > 0", bandwidth)
    shape = tuple(reference.shape)
    require(len(shape) == 2 and shape[0] > 0, "reference", owner, "(m, d) with m >= 1", shape)


def _log_mean_kernel(squared: Tensor, d: int, bandwidth: float) -> Tensor:
    exponent = -squared / (2 * bandwidth**2)
    constant = math.log(squared.shape[1]) + d * math.log(bandwidth) + d / 2 * math.log(2 * math.pi)
    return exponent.logsumexp(dim=1) - constant
