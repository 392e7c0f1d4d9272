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

STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7)
"""Strengths of shrinkage that are tried on held-out cases."""


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
    return (1 - strength) * covariance + torch.diag(strength * diagonal + RIDGE * mean_variance)


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
    return whiten(torch.eye(len(factor), dtype=factor.dtype, device=factor.device), factor)


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
    if len(centred) < 8:
        return max(strengths)
    order = torch.randperm(len(centred), generator=generator).to(centred.device)
    held, fitted = centred[order[: len(order) // 4]], centred[order[len(order) // 4 :]]
    scatter, zero = fitted.T @ fitted / len(fitted), torch.zeros_like(centred[0])
    scores = [gaussian_log_density(held, zero, shrink(scatter, a)).mean().item() for a in strengths]
    return strengths[max(range(len(scores)), key=scores.__getitem__)]
