"""A Gaussian mixture of one layer's normal features: full covariances in an exact low-rank form, differentiable."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

from medaegis._types import Features, PerCase

NARROW = 256
"""Layers with at most as many channels are kept in the precision that they were fitted in."""


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
    """sum_k pi_k N(f | mu_k, S_k), HFC-21 eq. 5, with S_k^-1 = P (s_k D + I - D + U_k diag(g_k) U_k^T) P^T.

    P whitens a base that all components share, and the columns of U_k are orthonormal: a component fitted to a few
    dozen cases differs from a multiple of the base in a few dozen directions only, so nothing is approximated, and one
    product with all columns scores all components. D is the identity with zeros for still channels, in which all
    components are alike. Made by `fit_mixture`, or from dense covariances by `from_covariances`.

    Args:
        log_weights: ln pi_k, (k,).
        means: mu_k, (k, d).
        centre: what is taken from features before they are whitened, (d,).
        whitener: P, (d, d).
        white_means: (mu_k - centre) P, (k, d).
        still: which channels hardly vary at all, (d,), bool; P and U_k keep them apart from the others.
        scales: s_k > 0, (k,).
        columns: all U_k side by side, (d, r).
        gains: g_k of each column, (r,), above -s_k.
        owners: the component of each column, (r,), int64.
        offsets: each column's product with the white mean of its component, (r,).
        log_dets: ln det S_k, (k,).

    Example:
        >>> one = GaussianMixture.from_covariances(torch.zeros(1), torch.zeros(1, 2), torch.eye(2)[None])
        >>> one.nearest(torch.tensor([[3.0, 4.0]])).quadratic
        tensor([25.])
    """

    log_weights: Tensor
    means: Tensor
    centre: Tensor
    whitener: Tensor
    white_means: Tensor
    still: Tensor
    scales: Tensor
    columns: Tensor
    gains: Tensor
    owners: Tensor
    offsets: Tensor
    log_dets: Tensor

    @staticmethod
    def from_covariances(log_weights: Tensor, means: Tensor, covariances: Tensor) -> GaussianMixture:
        """A mixture from dense covariances (k, d, d), positive definite. It takes as much memory as they do.

        Example:
            >>> two = GaussianMixture.from_covariances(torch.zeros(1), torch.zeros(1, 1), torch.tensor([[[4.0]]]))
            >>> two.nearest(torch.tensor([[2.0]])).quadratic
            tensor([1.])
        """
        k, d = means.shape
        values, vectors = torch.linalg.eigh(covariances)
        precisions = 1 / values
        scales, columns = precisions[:, -1], vectors.transpose(0, 1).reshape(d, k * d)
        return GaussianMixture(
            log_weights=log_weights,
            means=means,
            centre=torch.zeros_like(means[0]),
            whitener=torch.eye(d, dtype=means.dtype, device=means.device),
            white_means=means.clone(),
            still=torch.zeros_like(means[0], dtype=torch.bool),
            scales=scales,
            columns=columns,
            gains=(precisions - scales[:, None]).flatten(),
            owners=torch.arange(k, device=means.device).repeat_interleave(d),
            offsets=torch.einsum("kd,kdj->kj", means, vectors).flatten(),
            log_dets=values.log().sum(dim=1),
        )

    def quadratics(self, features: Features) -> Tensor:
        """Quadratic form of every case under every component, (n, k)."""
        return self.white_quadratics(self.white(features))

    def log_components(self, features: Features) -> Tensor:
        """The logarithms of pi_k N(f | mu_k, S_k), (n, k)."""
        return self.weigh(self.quadratics(features))

    def log_density(self, features: Features) -> PerCase:
        """The logarithm of p(f), (n,)."""
        return self.log_components(features).logsumexp(dim=1)

    def nearest(self, features: Features) -> Nearest:
        """The most likely component of each case and its quadratic form (HFC-21 eq. 6 and 7)."""
        y = self.white(features)
        component = self.weigh(self.white_quadratics(y.detach())).argmax(dim=1)
        delta = y - self.white_means[component]
        along = (delta @ self.columns).square() * torch.where(self.owners == component[:, None], self.gains, 0)
        apart = delta.square() * torch.where(self.still, 1, self.scales[component][:, None])
        return Nearest(component, (apart.sum(dim=1) + along.sum(dim=1)).to(features.dtype))

    def covariances(self) -> Tensor:
        """Dense S_k, (k, d, d), in float64: for checks and pictures, as it may take gigabytes."""
        whitener, columns = self.whitener.double(), self.columns.double()
        dense = list[Tensor]()
        for k, scale in enumerate(self.scales.double()):
            own = self.owners == k
            inner = torch.diag(torch.where(self.still, 1, scale))
            inner += (columns[:, own] * self.gains[own].double()) @ columns[:, own].T
            dense.append(torch.linalg.inv(whitener @ inner @ whitener.T))
        return torch.stack(dense)

    def white(self, features: Features) -> Tensor:
        """(f - centre) P, (n, d): coordinates in which the base is the identity."""
        wide = torch.promote_types(features.dtype, self.centre.dtype)
        return (features.to(wide) - self.centre) @ self.whitener

    def white_quadratics(self, y: Tensor) -> Tensor:
        """`quadratics` of cases that `white` has whitened, (n, k)."""
        squares = y.square()
        alike = (squares * self.still).sum(dim=1)[:, None]
        own = squares.sum(dim=1)[:, None] - alike
        apart = own - 2 * y @ self.white_means.T + self.white_means.square().sum(dim=1)
        along = (y @ self.columns - self.offsets).square() * self.gains
        return (alike + self.scales * apart).index_add(1, self.owners, along)

    def weigh(self, quadratics: Tensor) -> Tensor:
        """From quadratic forms (n, k) to the logarithms of pi_k N(f | mu_k, S_k), (n, k)."""
        constant = self.means.shape[1] * math.log(2 * math.pi)
        return self.log_weights - 0.5 * (quadratics + self.log_dets + constant)

    def to(self, like: Tensor) -> GaussianMixture:
        """The same mixture on the device of `like` and, where it has more than 256 channels, with its dtype.

        Narrow layers stay in float64: there a few directions carry nearly all variance, so float32 would round away
        most digits of the others (a relative error of the gradient of 5e-4 was measured at ResNet-18's stem).
        """
        dtype = like.dtype if len(self.centre) > NARROW else self.centre.dtype
        return GaussianMixture(**{n: _moved(part, like.device, dtype) for n, part in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """Everything that defines it, for saving; `GaussianMixture(**tensors)` is the way back."""
        return {part.name: getattr(self, part.name) for part in fields(self)}


def _moved(part: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    return part.to(device, dtype if part.is_floating_point() else part.dtype)
