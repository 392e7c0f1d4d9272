"""Covariances that stay usable with fewer samples than dimensions: shrunk, with a strength chosen on held-out cases.

The target of shrinkage is the covariance's own diagonal plus a ridge relative to its trace. An unshrunk covariance
has a quadratic form of 0.06 C on the cases it was fitted to and of many thousands of C on others (SPEC section 4):
a constraint built on it pulls along its null space and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from medaegis._errors import NumericsError
from medaegis._types import Features, PerCase

RIDGE = 1e-3
"""Ridge, as a share of the mean variance (trace / d)."""

ROUNDING = 1e-24
"""Share of the mean square of the features; a mean variance below it is float64 rounding, and counts as zero."""

BLOCK = 256
"""Side of the blocks in which scatters and inverses of factors are computed."""

STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7)
"""Strengths of shrinkage that are tried on held-out cases."""

FEW = 8
"""With fewer cases nothing is held out."""


def shrink(covariance: Tensor, strength: float, *, mean_square: float = 0.0) -> Tensor:
    """(1 - a) S + a diag(S) + r tr(S)/d I, with a = `strength` and r = 0.001.

    Args:
        covariance: S, (d, d), symmetric, positive semi-definite.
        strength: a in [0, 1].
        mean_square: of the features before centring; the mean of constant features is rounded, which leaves S a little
            above zero, and this tells how little.

    Returns:
        A positive definite (d, d) matrix; the identity where S is zero.

    Example:
        >>> shrink(torch.tensor([[1.0, 1.0], [1.0, 1.0]]), 0.5)
        tensor([[1.0010, 0.5000],
                [0.5000, 1.0010]])
    """
    diagonal = covariance.diagonal()
    mean_variance = diagonal.mean()
    if mean_variance <= ROUNDING * mean_square:
        return torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    shrunk = (1 - strength) * covariance
    shrunk.diagonal().add_(strength * diagonal + RIDGE * mean_variance)
    return shrunk


def cholesky(covariance: Tensor) -> Tensor:
    """The lower triangular L with S = L L^T.

    Args:
        covariance: S, (d, d), positive definite.

    Raises:
        NumericsError: S is not positive definite.

    Example:
        >>> cholesky(torch.diag(torch.tensor([4.0, 1.0])))
        tensor([[2., 0.],
                [0., 1.]])
    """
    factor, info = torch.linalg.cholesky_ex(covariance)
    if int(info) != 0:
        raise NumericsError(
            f"A {tuple(covariance.shape)} covariance is not positive definite. Its features hold NaN or differ by many "
            "orders of magnitude: check them with torch.isfinite, or raise the strength of shrinkage."
        )
    return factor


def whiten(centred: Features, factor: Tensor) -> Features:
    """(f - mu) L^-T for each case (n, d): its squared norm is the quadratic form.

    Example:
        >>> whiten(torch.tensor([[4.0, 1.0]]), torch.diag(torch.tensor([2.0, 1.0])))
        tensor([[2., 1.]])
    """
    return torch.linalg.solve_triangular(factor, centred.T, upper=False).T.contiguous()


def whitener(factor: Tensor) -> Tensor:
    """P = L^-T, (d, d): `whiten` as one product from the right, for a model that is asked often.

    Example:
        >>> whitener(torch.diag(torch.tensor([2.0, 1.0])))
        tensor([[0.5000, 0.0000],
                [0.0000, 1.0000]])
    """
    inverse = torch.zeros_like(factor, memory_format=torch.contiguous_format)
    _fill_whitener(inverse, factor)
    return inverse


def _fill_whitener(into: Tensor, factor: Tensor) -> None:
    """Write L^-T: by halves, since products are faster than a solve for the whole identity."""
    d = len(factor)
    if d <= BLOCK:
        one = torch.eye(d, dtype=factor.dtype, device=factor.device)
        into.copy_(torch.linalg.solve_triangular(factor.T, one, upper=True))
        return
    h = d // 2
    _fill_whitener(into[:h, :h], factor[:h, :h])
    _fill_whitener(into[h:, h:], factor[h:, h:])
    into[:h, h:] = -(into[:h, :h] @ (factor[h:, :h].T @ into[h:, h:]))


def scatter(centred: Features) -> Tensor:
    """sum_i f_i f_i^T of features (n, d), (d, d): symmetric, so that only its lower blocks are multiplied out.

    Example:
        >>> scatter(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([[10., 14.],
                [14., 20.]])
    """
    d = centred.shape[1]
    if d <= BLOCK:
        return centred.T @ centred
    found = centred.new_empty(d, d)
    for low in range(0, d, BLOCK):
        high = min(low + BLOCK, d)
        found[low:high, :high] = centred[:, low:high].T @ centred[:, :high]
        found[:low, low:high] = found[low:high, :low].T
    return found


def gaussian_log_density(features: Features, mean: Tensor, covariance: Tensor) -> PerCase:
    """The logarithm of N(f | mu, S) for each case, (n,).

    Example:
        >>> gaussian_log_density(torch.zeros(1, 1), torch.zeros(1), torch.ones(1, 1))
        tensor([-0.9189])
    """
    factor = cholesky(covariance)
    white = whiten(features - mean, factor)
    log_det = 2 * factor.diagonal().log().sum()
    return -0.5 * (white.square().sum(dim=1) + log_det + features.shape[1] * math.log(2 * math.pi))


def choose_strength(centred: Features, *, generator: torch.Generator, strengths: Sequence[float] = STRENGTHS) -> float:
    """The strength of shrinkage under which held-out cases are most likely.

    Args:
        centred: (n, d) features less their class or component mean.
        generator: chooses the quarter that is held out.
        strengths: what is tried.

    Returns:
        The best of `strengths`; the largest one where there are fewer than 8 cases.

    Example:
        >>> choose_strength(torch.randn(50, 2), generator=torch.Generator().manual_seed(0)) in STRENGTHS
        True
    """
    if len(centred) < FEW:
        return max(strengths)
    held, fitted = _hold_out(centred, generator)
    return most_likely_strength(held, scatter(fitted) / len(fitted), strengths)


def shrunk_covariance(
    centred: Features, *, generator: torch.Generator, mean_square: float = 0.0
) -> tuple[Tensor, float]:
    """The covariance of all cases, shrunk with the strength that `choose_strength` finds.

    The scatter of all cases is the sum of those of the two parts, so that no product is made twice.

    Args:
        centred: (n, d) features less their class or component mean.
        generator: chooses the quarter that is held out.
        mean_square: of the features before centring, as `shrink` takes it.

    Returns:
        The (d, d) matrix, and the strength.

    Example:
        >>> covariance, strength = shrunk_covariance(torch.randn(50, 2), generator=torch.Generator().manual_seed(0))
        >>> covariance.shape, strength in STRENGTHS
        (torch.Size([2, 2]), True)
    """
    if len(centred) < FEW:
        total, strength = scatter(centred), max(STRENGTHS)
    else:
        held, fitted = _hold_out(centred, generator)
        part = scatter(fitted)
        strength = most_likely_strength(held, part / len(fitted))
        total = part.add_(scatter(held))
    return shrink(total.div_(len(centred)), strength, mean_square=mean_square), strength


def _hold_out(centred: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    order = torch.randperm(len(centred), generator=generator).to(centred.device)
    return centred[order[: len(order) // 4]], centred[order[len(order) // 4 :]]


def most_likely_strength(held: Tensor, covariance: Tensor, strengths: Sequence[float] = STRENGTHS) -> float:
    """The strength under which cases (m, d) that the covariance has not seen are most likely.

    Example:
        >>> most_likely_strength(torch.randn(9, 2), torch.eye(2)) in STRENGTHS
        True
    """
    zero = torch.zeros_like(held[0])
    return max(strengths, key=lambda a: gaussian_log_density(held, zero, shrink(covariance, a)).mean().item())
