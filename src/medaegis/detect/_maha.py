"""MAHA: a case is adversarial where it is far from every class mean under one tied covariance."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from medaegis._types import Labels, PerCase
from medaegis.density import TiedGaussians, fit_tied
from medaegis.detect._detector import Detector, by_layer, check_fit, to_score
from medaegis.detect._examples import AnyFeatures, Examples


class MAHA(Detector):
    """Mahalanobis distance (squared, over the number of channels) to the closest class mean, averaged over layers.

    Dividing by C_l makes every layer count alike: a normal case has a distance of order 1 at each.

    Args:
        layers: layers of the images door; every activation by default.
        seed: chooses the held-out quarter on which the covariance's shrinkage is chosen.

    Attributes:
        gaussians_: means and whitener by layer name.

    Source: Lee et al. 2018; HFC-23 eq. 23; the mean over layers is Aegis Table 2's.

    Example:
        >>> z = torch.cat([torch.randn(30, 2), torch.randn(30, 2) + 9])
        >>> maha = MAHA().fit(z, torch.arange(60) // 30)
        >>> bool(maha.score(torch.tensor([[50.0, 50.0]])) > maha.score(z[:1]))
        True
    """

    fitted_attribute: ClassVar[str] = "gaussians_"

    def __init__(self, *, layers: Any = "relu", seed: int = 0) -> None:
        self.layers, self.seed = layers, seed

    def fit(self, features: AnyFeatures, labels: Labels, *, examples: Examples | None = None) -> Self:
        """Fit means and covariance at each layer on Train features.

        Raises:
            InputError: shapes do not fit, a class has one case, or features are not finite.
        """
        layers = by_layer(features, "MAHA")
        check_fit(layers, labels, "MAHA")
        generator = torch.Generator().manual_seed(self.seed)
        self.gaussians_ = {name: fit_tied(z, labels, generator=generator) for name, z in layers.items()}
        return self

    def score(self, features: AnyFeatures, predicted: Labels | None = None) -> PerCase:
        """Mean over layers of the squared distance over C_l, (n,), differentiable; `predicted` is not used.

        Raises:
            NotFittedError: before `fit`.
            InputError: a layer is missing, or has another number of channels.
        """
        return torch.stack(list(self.layer_scores(features).values())).mean(dim=0)

    def layer_scores(self, features: AnyFeatures, predicted: Labels | None = None) -> dict[str, PerCase]:
        """The score of each layer alone, (n,) by name."""
        self.check_fitted()
        layers = to_score(features, {name: g.means.shape[1] for name, g in self.gaussians_.items()}, "MAHA")
        return {name: _distance(z, self.gaussians_[name]) for name, z in layers.items()}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Means, whiteners and strengths.

        Raises:
            NotFittedError: before `fit`.
        """
        self.check_fitted()
        tensors = {f"{name}|means": g.means for name, g in self.gaussians_.items()}
        tensors |= {f"{name}|whitener": g.whitener for name, g in self.gaussians_.items()}
        layers = self.layers_as_json()
        strengths = {name: g.strength for name, g in self.gaussians_.items()}
        return tensors, {"layers": layers, "seed": self.seed, "strengths": strengths}

    @classmethod
    def restore(cls, tensors: dict[str, Tensor], values: dict[str, Any]) -> Self:
        """From what `state` gave."""
        detector = cls(layers=values["layers"], seed=values["seed"])
        detector.gaussians_ = {
            name: TiedGaussians(tensors[f"{name}|means"], tensors[f"{name}|whitener"], strength)
            for name, strength in values["strengths"].items()
        }
        return detector


def _distance(z: Tensor, fitted: TiedGaussians) -> Tensor:
    return fitted.to(z).quadratics(z).amin(dim=1) / z.shape[1]
