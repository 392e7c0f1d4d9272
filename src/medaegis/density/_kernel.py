"""Gaussian kernel density, exact: a logsumexp over all distances, differentiable, in float64."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from medaegis._errors import InputError, require
from medaegis._types import Features, PerCase

Bandwidth = float | Literal["median", "likelihood"]


def kernel_log_density(features: Features, reference: Features, bandwidth: float) -> PerCase:
    """ln of the mean over the reference of N(f | z_j, h^2 I).

    Args:
        features: (n, d).
        reference: z_j, (m, d).
        bandwidth: h > 0, in the units of the features.

    Returns:
        (n,), float64, differentiable in `features`.

    Raises:
        InputError: `bandwidth` is not positive.

    Source: Feinman et al. 2017, section 4.1; equals scikit-learn's `KernelDensity.score_samples` where its tree is exact.

    Example:
        >>> kernel_log_density(torch.zeros(1, 1), torch.zeros(1, 1), 1.0)
        tensor([-0.9189], dtype=torch.float64)
    """
    require(bandwidth > 0, "bandwidth", "kernel_log_density", "a number > 0", bandwidth)
    return _log_mean_kernel(squared_distances(features, reference), features.shape[1], bandwidth)


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


def choose_bandwidth(reference: Features, rule: Bandwidth) -> float:
    """A bandwidth from the reference alone.

    Args:
        reference: (m, d), m >= 2.
        rule: a number is taken as it is; `"median"` takes the median distance to the nearest neighbour times sqrt(2)
            (not the median of all distances, which is several times too wide in hundreds of dimensions);
            `"likelihood"` takes the width that makes the reference most likely, each case left out of its own density.

    Raises:
        InputError: unknown rule, a width <= 0, or all cases of the reference equal.

    Example:
        >>> choose_bandwidth(torch.randn(30, 4), 0.5)
        0.5
    """
    if not isinstance(rule, str):
        require(isinstance(rule, int | float) and rule > 0, "bandwidth", "KD", "a number > 0", rule)
        return float(rule)
    require(rule in ("median", "likelihood"), "bandwidth", "KD", 'a number, "median" or "likelihood"', rule)
    distances = squared_distances(reference, reference).fill_diagonal_(math.inf)
    nearest = distances.amin(dim=1).sqrt()
    base = nearest[nearest > 0].median().item() if bool((nearest > 0).any()) else 0.0
    if not 0 < base < math.inf:
        raise InputError("`bandwidth` of KD cannot be chosen: all reference cases are equal. Give a number instead.")
    if rule == "median":
        return base * math.sqrt(2)
    widths = [base * 2 ** (step / 4) for step in range(-16, 17)]
    scores = [_log_mean_kernel(distances, reference.shape[1], width).mean().item() for width in widths]
    return widths[max(range(len(widths)), key=scores.__getitem__)]


def _log_mean_kernel(squared: Tensor, d: int, bandwidth: float) -> Tensor:
    exponent = -squared / (2 * bandwidth**2)
    constant = math.log(squared.shape[1]) + d * math.log(bandwidth) + d / 2 * math.log(2 * math.pi)
    return exponent.logsumexp(dim=1) - constant
