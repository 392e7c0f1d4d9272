"""Fitting a Gaussian mixture: EM in float64 on the factored form, from the best of several k-means++ starts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from medaegis._errors import NumericsError, is_int, is_number, require
from medaegis._types import Features
from medaegis.density._covariance import (
    RIDGE,
    STRENGTHS,
    cholesky,
    choose_strength,
    most_likely_strength,
    shrink,
    whiten,
    whitener,
)
from medaegis.density._mixture import GaussianMixture

NEGLIGIBLE = 1e-9
"""A case's share in a component below this counts as zero, so that a component's rank is the number of its cases."""

PRIORS = (0.25, 1.0, 4.0, 16.0)
"""Weights of the shared covariance in a component's, in pseudo-cases a dimension, that are tried on held-out cases."""

RANK = 1e-12
"""Eigenvalue of a component's scatter, as a share of its largest, below which its direction is dropped."""

FEW = 8
"""Fewer cases than this are too few to hold any out: shrinkage is then the strongest."""


class Shrinkage(NamedTuple):
    """How much is shrunk: `strength` of the shared covariance towards its diagonal, `prior` of a component's to it."""

    strength: float
    prior: float


def fit_mixture(
    features: Features,
    *,
    components: int = 1,
    strength: float | None = None,
    prior: float | None = None,
    generator: torch.Generator,
    iterations: int = 100,
    tolerance: float = 1e-4,
    restarts: int = 3,
) -> GaussianMixture:
    """Fit a mixture by EM, in float64.

    A component's covariance is (n_k S_k + t B) / (n_k + t) with t = prior x d: its own scatter S_k, shrunk towards the
    shared covariance B by as much as it has fewer cases than dimensions. B is the pooled within-component covariance
    (over n - K, or K near n would make it vanish), itself shrunk towards its diagonal with a ridge relative to its
    trace. Both strengths are chosen on a held-out quarter of the cases, where they are not given. With one component
    the covariance is B; where nothing varies within the components, B is the identity. Channels whose variance over all
    cases is below that ridge say nothing about components, which are alike in them: else (n_k S_k + t B) / (n_k + t)
    would shrink there with every case, and dead channels would draw all cases into the largest component. These are not
    steps of pure maximum likelihood, so EM also stops, one step back, when the likelihood would fall. A component that
    loses all its cases keeps the overall mean and a vanishing weight.

    Args:
        features: normal features of one class at one layer, (n, d), finite.
        components: K >= 1, at most n / 2: a covariance needs two cases.
        strength: shrinkage of B towards its diagonal, in [0, 1]; None chooses it on held-out cases.
        prior: pseudo-cases a dimension that B counts for in each component, > 0; None chooses it on held-out cases.
        generator: source of the k-means++ starts and of the held-out quarter.
        iterations: most EM steps.
        tolerance: EM stops when the mean log-likelihood of a case rises by less.
        restarts: k-means++ starts; EM goes on from the one that is most likely after one step.

    Returns:
        The mixture in float64 on the device of `features`.

    Raises:
        InputError: an argument is out of range.
        NumericsError: `features` holds NaN or infinity.

    Source: HFC-21 eq. 5; SPEC section 4 for the shrinkage, which the papers do not have.

    Example:
        >>> z = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
        >>> fit_mixture(z, generator=torch.Generator().manual_seed(0)).means.shape
        torch.Size([1, 3])
    """
    _check(features, components, strength, prior, restarts)
    z = features.detach().double()
    state = shrinkage = None
    for _ in range(restarts if components > 1 else 1):
        shares = _start(z, components, generator)
        shrinkage = shrinkage or _choose(z, shares, strength, prior, generator)
        begun = _step(z, shares, shrinkage)
        state = begun if state is None or begun.likelihood > state.likelihood else state
    assert state is not None  # restarts >= 1
    assert shrinkage is not None
    for _ in range(iterations if components > 1 else 0):
        following = _step(z, state.log_parts.softmax(dim=1), shrinkage)
        rise = following.likelihood - state.likelihood
        if rise < tolerance:
            return _finished(following if rise > 0 else state)
        state = following
    return _finished(state)


def _check(features: Tensor, components: object, strength: object, prior: object, restarts: object) -> None:
    require(features.dim() == 2, "features", "fit_mixture", "(n, d)", tuple(features.shape))
    n = len(features)
    good = is_int(components) and 1 <= components <= n // 2
    rule = f"an int from 1 to n // 2 = {n // 2} for n = {n} cases"
    require(good, "components", "fit_mixture", rule, components)
    good = strength is None or (is_number(strength) and 0 <= strength <= 1)
    require(good, "strength", "fit_mixture", "None or a number in [0, 1]", strength)
    good = prior is None or (is_number(prior) and 0 < prior < math.inf)
    require(good, "prior", "fit_mixture", "None or a number > 0", prior)
    require(is_int(restarts) and restarts >= 1, "restarts", "fit_mixture", "an int >= 1", restarts)
    if not bool(torch.isfinite(features).all()):
        raise NumericsError("`features` of fit_mixture hold NaN or infinity: check the model's output on those images.")


class _State(NamedTuple):
    """A mixture without its whitener, and the logarithms of pi_k N(f | mu_k, S_k) of the cases it is fitted to, (n, k).

    `factor` is the Cholesky factor of the shared covariance: whitening all cases by it takes a third of the time that
    its inverse and a product with that take, and only the last mixture needs the inverse.
    """

    mixture: GaussianMixture
    log_parts: Tensor
    factor: Tensor

    @property
    def likelihood(self) -> float:
        """Mean log-likelihood of a case."""
        return self.log_parts.logsumexp(dim=1).mean().item()


class _Spectrum(NamedTuple):
    """The scatter of a component in white coordinates: its cases, its eigenvalues above zero, their vectors (d, r)."""

    cases: float
    values: Tensor
    vectors: Tensor


class _Moments(NamedTuple):
    """All that a mixture needs but the weight of its prior; `white` are the whitened cases (n, d)."""

    means: Tensor
    centre: Tensor
    factor: Tensor
    still: Tensor
    white_means: Tensor
    white: Tensor
    spectra: list[_Spectrum]


def _step(z: Tensor, shares: Tensor, shrinkage: Shrinkage) -> _State:
    """The M step, then the E step's logarithms."""
    shares = _without_negligible(shares)
    moments = _moments(z, shares, shrinkage.strength)
    mixture = _mixture(moments, shrinkage.prior)
    return _State(mixture, mixture.weigh(mixture.white_quadratics(moments.white)), moments.factor)


def _finished(state: _State) -> GaussianMixture:
    return replace(state.mixture, whitener=whitener(state.factor))


def _without_negligible(shares: Tensor) -> Tensor:
    kept = shares * (shares > NEGLIGIBLE)
    return kept / kept.sum(dim=1, keepdim=True)


def _means(z: Tensor, shares: Tensor) -> Tensor:
    counts = shares.sum(dim=0)[:, None]
    return torch.where(counts > 1e-6, shares.T @ z / counts.clamp_min(1e-9), z.mean(dim=0))


def _pooled(z: Tensor, shares: Tensor, means: Tensor) -> Tensor:
    """The covariance within components, over n less their number."""
    pairs, total = shares.nonzero(), torch.zeros(z.shape[1], z.shape[1], dtype=z.dtype, device=z.device)
    for rows, columns in (part.T for part in pairs.split(2 * len(z))):
        apart = (z[rows] - means[columns]) * shares[rows, columns].sqrt()[:, None]
        total += apart.T @ apart
    return total / (len(z) - len(means))


def _moments(z: Tensor, shares: Tensor, strength: float) -> _Moments:
    means, centre = _means(z, shares), z.mean(dim=0)
    pooled, variances = _pooled(z, shares, means), z.var(dim=0, correction=0)
    still = variances < (RIDGE * pooled.diagonal().mean() if len(means) > 1 else -1)
    means = torch.where(still, centre, means)
    pooled = torch.where(still | still[:, None], torch.diag(variances), pooled)
    factor = cholesky(shrink(pooled, strength, mean_square=z.square().mean().item()))
    white, white_means = whiten(z - centre, factor), whiten(means - centre, factor)
    parts = zip(white_means, shares.T, strict=True) if len(means) > 1 else ()
    lively = white.masked_fill(still, 0)
    spectra = [_spectrum(lively, mean, share) for mean, share in parts]
    return _Moments(means, centre, factor, still, white_means, white, spectra)


def _spectrum(white: Tensor, mean: Tensor, share: Tensor) -> _Spectrum:
    own = share.nonzero().flatten()
    apart = (white[own] - mean) * share[own].sqrt()[:, None]
    wide = len(own) >= white.shape[1]
    values, vectors = torch.linalg.eigh(apart.T @ apart if wide else apart @ apart.T)
    kept = values > RANK * values.amax() if len(own) else values > 0
    values, vectors = values[kept], vectors[:, kept]
    return _Spectrum(share.sum().item(), values, vectors if wide else apart.T @ vectors / values.sqrt())


def _mixture(moments: _Moments, prior: float) -> GaussianMixture:
    """Its whitener is left empty: `_finished` computes it."""
    means, centre, factor, still, white_means, white, spectra = moments
    d, like = int((~still).sum()), white[0]
    counts = torch.tensor([part.cases for part in spectra] or [1.0]).to(like)
    found = [_component(part, prior * d, d) for part in spectra] or [(1.0, like[:0], 0.0)]
    scales, gains, log_dets = zip(*found, strict=True)
    sizes = torch.tensor([len(part) for part in gains], device=like.device)
    offsets = [mean @ part.vectors for mean, part in zip(white_means, spectra, strict=len(spectra) > 0)]
    return GaussianMixture(
        log_weights=(counts.clamp_min(1e-9) / counts.sum()).log(),
        means=means,
        centre=centre,
        whitener=factor[:0],
        white_means=white_means,
        still=still,
        scales=torch.tensor(scales).to(like),
        columns=torch.cat([factor[:, :0], *(part.vectors for part in spectra)], dim=1),
        gains=torch.cat(gains),
        owners=torch.arange(len(means), device=like.device).repeat_interleave(sizes),
        offsets=torch.cat([like[:0], *offsets]),
        log_dets=2 * factor.diagonal().log().sum() + torch.tensor(log_dets).to(like),
    )


def _component(part: _Spectrum, pseudo: float, d: int) -> tuple[float, Tensor, float]:
    """Scale, gains and log-determinant, in white coordinates, of (scatter + pseudo I) / (count + pseudo).

    Where its scatter reaches every direction, the scale is the smallest precision, so that no gain is negative and
    nothing cancels.
    """
    total, r = part.cases + pseudo, len(part.values)
    along = total / (part.values + pseudo)
    scale = along.amin().item() if r == d else total / pseudo
    log_det = -along.log().sum().item() - (d - r) * math.log(total / pseudo)
    return scale, along - scale, log_det


def _choose(
    z: Tensor, shares: Tensor, strength: float | None, prior: float | None, generator: torch.Generator
) -> Shrinkage:
    """The strengths under which a held-out quarter is most likely, given the partition of all cases."""
    if shares.shape[1] == 1:
        centred = z - z.mean(dim=0)
        return Shrinkage(choose_strength(centred, generator=generator) if strength is None else strength, 1.0)
    if len(z) < FEW:
        return Shrinkage(max(STRENGTHS) if strength is None else strength, prior or 1.0)
    order = torch.randperm(len(z), generator=generator).to(z.device)
    held, fitted = order[: len(z) // 4], order[len(z) // 4 :]
    known = shares[fitted]
    if strength is None:
        means = _means(z[fitted], known)
        apart = z[held] - means[_squared_distances(z[held], means, z[held].square().sum(dim=1)).argmin(dim=1)]
        strength = most_likely_strength(apart, _pooled(z[fitted], known, means))
    if prior is None:
        moments = _moments(z[fitted], known, strength)
        white = whiten(z[held] - moments.centre, moments.factor)
        prior = max(PRIORS, key=lambda p: _white_log_density(_mixture(moments, p), white))
    return Shrinkage(strength, prior)


def _white_log_density(mixture: GaussianMixture, white: Tensor) -> float:
    return mixture.weigh(mixture.white_quadratics(white)).logsumexp(dim=1).mean().item()


def _start(z: Tensor, components: int, generator: torch.Generator) -> Tensor:
    """Hard shares (n, k) of the cases around k-means++ centres, after a few rounds of k-means.

    Each centre is the best of a few candidates: with one, well separated components share a centre now and then.
    """
    tries, z = 2 + int(math.log(components)), z - z.mean(dim=0)
    squares = z.square().sum(dim=1)
    centres = z[torch.randint(len(z), (1,), generator=generator)]
    distance = _squared_distances(z, centres, squares)[:, 0]
    while len(centres) < components:
        weights = (distance if distance.sum() > 0 else torch.ones_like(distance)).cpu()
        candidates = z[torch.multinomial(weights, tries, replacement=True, generator=generator)]
        nearer = _squared_distances(z, candidates, squares).minimum(distance[:, None])
        best = nearer.sum(dim=0).argmin()
        centres, distance = torch.cat([centres, candidates[best][None]]), nearer[:, best]
    nearest = _squared_distances(z, centres, squares).argmin(dim=1)
    for _ in range(10 if components > 1 else 0):
        shares = torch.nn.functional.one_hot(nearest, components).to(z)
        centres = torch.where(shares.sum(dim=0)[:, None] > 0, _means(z, shares), centres)
        nearest = _squared_distances(z, centres, squares).argmin(dim=1)
    return torch.nn.functional.one_hot(nearest, components).to(z)


def _squared_distances(z: Tensor, centres: Tensor, squares: Tensor) -> Tensor:
    """(n, k) by one product: good enough for assignments, and ten times as fast as `torch.cdist` for few centres.

    `squares` are the squared norms of the rows of `z`, (n,), which is the same for all calls.
    """
    return (squares[:, None] - 2 * (z @ centres.T) + centres.square().sum(dim=1)).clamp_min(0)
