"""A Gaussian mixture of one layer's normal features: full covariances, shrunk, differentiable, on any device."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from medaegis._errors import NumericsError, is_int, is_number, require
from medaegis._types import Features, PerCase
from medaegis.density._covariance import choose_strength, shrink, whitener


class Nearest(NamedTuple):
    """The most likely component of each case.

    Attributes:
        component: k' of HFC-21 eq. 6, (n,); carries no gradient.
        quadratic: (f - mu_k')^T S_k'^-1 (f - mu_k'), (n,); differentiable in f.
    """

    component: Tensor
    quadratic: PerCase


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """sum_k pi_k N(f | mu_k, S_k), HFC-21 eq. 5. Made by `fit_mixture`.

    Args:
        log_weights: ln pi_k, (k,).
        means: mu_k, (k, d).
        whiteners: P_k with P_k P_k^T = S_k^-1, (k, d, d).
        log_dets: ln det S_k, (k,).

    Example:
        >>> one = GaussianMixture(torch.zeros(1), torch.zeros(1, 2), torch.eye(2)[None], torch.zeros(1))
        >>> one.nearest(torch.tensor([[3.0, 4.0]])).quadratic
        tensor([25.])
    """

    log_weights: Tensor
    means: Tensor
    whiteners: Tensor
    log_dets: Tensor

    def quadratics(self, features: Features) -> Tensor:
        """Quadratic form of every case under every component, (n, k)."""
        parts = [((features - m) @ p).square().sum(dim=1) for m, p in zip(self.means, self.whiteners, strict=True)]
        return torch.stack(parts, dim=1)

    def log_components(self, features: Features) -> Tensor:
        """The logarithms of pi_k N(f | mu_k, S_k), (n, k)."""
        return self._log_components(self.quadratics(features))

    def log_density(self, features: Features) -> PerCase:
        """The logarithm of p(f), (n,)."""
        return self.log_components(features).logsumexp(dim=1)

    def nearest(self, features: Features) -> Nearest:
        """The most likely component of each case and its quadratic form (HFC-21 eq. 6 and 7)."""
        quadratics = self.quadratics(features)
        component = self._log_components(quadratics.detach()).argmax(dim=1)
        return Nearest(component, quadratics.gather(1, component[:, None])[:, 0])

    def to(self, like: Tensor) -> GaussianMixture:
        """The same mixture with the dtype and device of `like`."""
        return GaussianMixture(*(part.to(like) for part in self.tensors().values()))

    def tensors(self) -> dict[str, Tensor]:
        """Everything that defines it, for saving; `GaussianMixture(**tensors)` is the way back."""
        return {
            "log_weights": self.log_weights,
            "means": self.means,
            "whiteners": self.whiteners,
            "log_dets": self.log_dets,
        }

    def _log_components(self, quadratics: Tensor) -> Tensor:
        constant = self.means.shape[1] * math.log(2 * math.pi)
        return self.log_weights - 0.5 * (quadratics + self.log_dets + constant)


def fit_mixture(
    features: Features,
    *,
    components: int = 1,
    strength: float | None = None,
    generator: torch.Generator,
    iterations: int = 100,
    tolerance: float = 1e-4,
) -> GaussianMixture:
    """Fit a mixture by EM, in float64.

    A component's covariance is (n_k S_k + d B) / (n_k + d): its own scatter S_k, shrunk towards the shared covariance
    B by as much as it has fewer cases than dimensions. B is the pooled within-component covariance (over n - K, or K
    near n would make it vanish), itself shrunk towards its diagonal with a ridge relative to its trace; the strength
    of that is chosen on held-out likelihood. With one component the covariance is B; where nothing varies within the
    components, B is the identity. These are not steps of pure maximum likelihood, so EM also stops, one step back,
    when the likelihood would fall.

    Args:
        features: normal features of one class at one layer, (n, d), finite.
        components: K >= 1, at most n / 2: a covariance needs two cases.
        strength: shrinkage of B towards its diagonal, in [0, 1]; None chooses it on held-out cases.
        generator: source of the k-means++ start and of the held-out quarter.
        iterations: most EM steps.
        tolerance: EM stops when the mean log-likelihood of a case rises by less.

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
    require(features.dim() == 2, "features", "fit_mixture", "(n, d)", tuple(features.shape))
    n = len(features)
    good = is_int(components) and 1 <= components <= n // 2
    rule = f"an int from 1 to n // 2 = {n // 2} for n = {n} cases"
    require(good, "components", "fit_mixture", rule, components)
    good = strength is None or (is_number(strength) and 0 <= strength <= 1)
    require(good, "strength", "fit_mixture", "None or a number in [0, 1]", strength)
    if not bool(torch.isfinite(features).all()):
        raise NumericsError("`features` of fit_mixture hold NaN or infinity: check the model's output on those images.")
    z = features.detach().double()
    shares = _start(z, components, generator)
    a = choose_strength(z - shares @ _means(z, shares), generator=generator) if strength is None else strength
    mixture = _maximise(z, shares, a)
    log_parts = mixture.log_components(z)
    for _ in range(iterations if components > 1 else 0):
        following = _maximise(z, log_parts.softmax(dim=1), a)
        following_parts = following.log_components(z)
        rise = (following_parts.logsumexp(dim=1) - log_parts.logsumexp(dim=1)).mean().item()
        if rise < tolerance:
            return following if rise > 0 else mixture
        mixture, log_parts = following, following_parts
    return mixture


def _means(z: Tensor, shares: Tensor) -> Tensor:
    return shares.T @ z / shares.sum(dim=0)[:, None].clamp_min(1e-9)


def _maximise(z: Tensor, shares: Tensor, strength: float) -> GaussianMixture:
    """The M step; components that lost all their cases keep the overall mean and a vanishing weight."""
    n, d = z.shape
    counts = shares.sum(dim=0)
    means = torch.where(counts[:, None] > 1e-6, _means(z, shares), z.mean(dim=0))
    scatters = [(z - m).T @ ((z - m) * share[:, None]) for m, share in zip(means, shares.T, strict=True)]
    pooled = torch.stack(scatters).sum(dim=0) / (n - len(means))
    base = shrink(pooled, strength, mean_square=z.square().mean().item())
    shrunk = [(s + d * base) / (c + d) for s, c in zip(scatters, counts, strict=True)]
    covariances = shrunk if len(means) > 1 else [base]
    parts = [whitener(covariance) for covariance in covariances]
    log_weights = (counts.clamp_min(1e-9) / counts.sum()).log()
    return GaussianMixture(log_weights, means, torch.stack([p for p, _ in parts]), torch.stack([v for _, v in parts]))


def _start(z: Tensor, components: int, generator: torch.Generator) -> Tensor:
    """Hard shares (n, k) of the cases around k-means++ centres, after a few rounds of k-means.

    Each centre is the best of a few candidates: with one, well separated components share a centre now and then.
    """
    tries = 2 + int(math.log(components))
    centres = z[torch.randint(len(z), (1,), generator=generator)]
    while len(centres) < components:
        distance = torch.cdist(z, centres).amin(dim=1).square()
        weights = (distance if distance.sum() > 0 else torch.ones_like(distance)).cpu()
        candidates = z[torch.multinomial(weights, tries, replacement=True, generator=generator)]
        left = torch.cdist(z, candidates).square().minimum(distance[:, None]).sum(dim=0)
        centres = torch.cat([centres, candidates[left.argmin()][None]])
    nearest = torch.cdist(z, centres).argmin(dim=1)
    for _ in range(10 if components > 1 else 0):
        shares = torch.nn.functional.one_hot(nearest, components).to(z)
        centres = torch.where(shares.sum(dim=0)[:, None] > 0, _means(z, shares), centres)
        nearest = torch.cdist(z, centres).argmin(dim=1)
    return torch.nn.functional.one_hot(nearest, components).to(z)
