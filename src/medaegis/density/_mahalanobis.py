"""Class means under one tied, shrunk covariance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from medaegis._types import Features
from medaegis.density._covariance import cholesky, shrunk_covariance, whitener


@dataclass(frozen=True, eq=False)
class TiedGaussians:
    """One Gaussian a class, with one covariance for all. Made by `fit_tied`.

    Args:
        means: class means (k, d).
        whitener: P with P P^T = S^-1, (d, d).
        strength: the strength of shrinkage that was used.

    Example:
        >>> two = TiedGaussians(torch.tensor([[0.0], [4.0]]), torch.eye(1), 0.1)
        >>> two.quadratics(torch.tensor([[1.0]]))
        tensor([[1., 9.]])
    """

    means: Tensor
    whitener: Tensor
    strength: float

    def quadratics(self, features: Features) -> Tensor:
        """(f - mu_c)^T S^-1 (f - mu_c), (n, k), differentiable in f."""
        white = features @ self.whitener
        centres = self.means @ self.whitener
        return torch.stack([(white - centre).square().sum(dim=1) for centre in centres], dim=1)

    def to(self, like: Tensor) -> TiedGaussians:
        """The same with the dtype and device of `like`."""
        return TiedGaussians(self.means.to(like), self.whitener.to(like), self.strength)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that defines it, for saving; `TiedGaussians.from_tensors` is the way back."""
        strength = torch.tensor(self.strength, dtype=torch.float64)
        return {"means": self.means, "whitener": self.whitener, "strength": strength}

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor]) -> TiedGaussians:
        """From what `tensors` gave."""
        return TiedGaussians(tensors["means"], tensors["whitener"], float(tensors["strength"]))


def fit_tied(features: Features, labels: Tensor, *, generator: torch.Generator) -> TiedGaussians:
    """Fit class means and the covariance of the features centred by class, shrunk as held-out likelihood wants.

    Args:
        features: (n, d).
        labels: (n,); the rows of the means follow the sorted classes.
        generator: chooses the held-out quarter.

    Returns:
        Means and whitener in float64. The covariance is the identity where no class varies.

    Raises:
        NumericsError: the covariance is not positive definite.

    Source: Lee et al. 2018, eq. 1; HFC-23 eq. 23.

    Example:
        >>> fit_tied(torch.randn(20, 3), torch.arange(20) % 2, generator=torch.Generator()).means.shape
        torch.Size([2, 3])
    """
    z = features.detach().double()
    classes, place = labels.unique(return_inverse=True)
    means = torch.stack([z[place == i].mean(dim=0) for i in range(len(classes))])
    centred = z - means[place]
    base, strength = shrunk_covariance(centred, generator=generator, mean_square=z.square().mean().item())
    return TiedGaussians(means, whitener(cholesky(base)), strength)
