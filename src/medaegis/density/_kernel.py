"""Gaussian kernel density, exact: a logsumexp over all distances, differentiable, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from medaegis._errors import InputError, is_number, require
from medaegis._types import Features, PerCase

Bandwidth = float | Literal["median", "likelihood"]

COPY = 1e-12
"""Share of the largest squared norm up to which a squared distance may be rounding: two such cases are copies."""

BLOCK = 2**18
"""Numbers of a block of features, or of its distances: few enough to stay in the processor's cache."""

NOTHING = -700.0
"""A kernel's logarithm, less the largest one's, at which it adds nothing: exp is slow where it underflows."""

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
    return by_blocks(features, reference, lambda squared: _log_mean_kernel(squared, d, bandwidth))


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
    return by_blocks(features, reference, lambda squared: squared)


def by_blocks(features: Features, reference: Features, rule: Callable[[Tensor], Tensor]) -> Tensor:
    """`rule` of the squared distances (b, m) of a few cases at a time, for all cases (n, d).

    Where blocks stay in the processor's cache, memory is not asked for again and again.

    Example:
        >>> by_blocks(torch.tensor([[0.0], [4.0]]), torch.tensor([[1.0], [2.0]]), lambda squared: squared.amin(dim=1))
        tensor([1., 4.], dtype=torch.float64)
    """
    z = reference.double()
    centre = z.mean(dim=0)
    z = z - centre
    squares = _squared_norms(z)

    def one(f: Tensor) -> Tensor:
        f = f.double() - centre
        return rule(torch.addmm(squares, f, z.T, alpha=-2).add_(_squared_norms(f)[:, None]).clamp_min_(0))

    return torch.cat([one(part) for part in features.split(max(1, BLOCK // max(z.shape)))])


def _squared_norms(f: Tensor) -> Tensor:
    return torch.linalg.vector_norm(f, dim=1).square()  # in one pass, without a matrix of squares


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
    return _most_likely(widths, squared - nearest[:, None], nearest.mean().item(), d)


def _most_likely(widths: list[float], above: Tensor, nearest: float, d: int) -> float:
    """The width under which the mean log density is largest.

    Args:
        widths: what is tried.
        above: squared distances less each case's smallest one, (m, m), infinite where a case is left out.
        nearest: the mean of these smallest ones.
        d: number of channels.
    """
    kernel = torch.empty_like(above)  # one for all widths

    def score(width: float) -> float:
        torch.mul(above, -1 / (2 * width**2), out=kernel)
        return (
            kernel.clamp_min_(NOTHING).exp_().sum(dim=1).log().mean().item()
            - nearest / (2 * width**2)
            - d * math.log(width)
        )

    return max(widths, key=score)


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
    exponent = exponent.maximum(exponent.detach().amax(dim=1, keepdim=True) + NOTHING)
    constant = math.log(squared.shape[1]) + d * math.log(bandwidth) + d / 2 * math.log(2 * math.pi)
    return exponent.logsumexp(dim=1) - constant
