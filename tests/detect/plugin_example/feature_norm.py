"""FeatureNorm: a case is adversarial where its features are longer or shorter than Train's."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor

from medaegis import InputError, NotFittedError
from medaegis.detect import AnyFeatures, Detector, Examples, by_layer, to_score


class FeatureNorm(Detector):
    """Squared distance of a case's feature norm from Train's mean norm, in Train's variances, averaged over layers.

    Args:
        layers: layers of the images door; the penultimate one by default.

    Attributes:
        centre_: mean norm by layer name.
        spread_: standard deviation of the norm by layer name.
        widths_: number of channels by layer name.
    """

    def __init__(self, *, layers: Any = "penultimate") -> None:
        self.layers = layers

    def fit(self, features: AnyFeatures, labels: Tensor, *, examples: Examples | None = None) -> Self:
        """Mean and spread of the norms of Train features (n, d), over all classes.

        Raises:
            InputError: fewer than two cases, features are not finite, or all norms of a layer are equal.
        """
        norms = {name: z.detach().double().norm(dim=1) for name, z in by_layer(features, "FeatureNorm").items()}
        if any(len(norm) < 2 or norm.std() == 0 for norm in norms.values()):
            raise InputError("`features` of FeatureNorm must be two cases or more whose norms differ at every layer.")
        self.widths_ = {name: z.shape[1] for name, z in by_layer(features, "FeatureNorm").items()}
        self.centre_ = {name: norm.mean().item() for name, norm in norms.items()}
        self.spread_ = {name: norm.std().item() for name, norm in norms.items()}
        return self

    def score(self, features: AnyFeatures, predicted: Tensor | None = None) -> Tensor:
        """The scores (n,) in float64, differentiable; `predicted` is not used.

        Raises:
            NotFittedError: before `fit`.
            InputError: a layer is missing, or has another number of channels.
        """
        layers = to_score(features, dict(zip(self.fitted_layers(), self.widths_.values(), strict=True)), "FeatureNorm")
        away = [(z.norm(dim=1) - self.centre_[name]) / self.spread_[name] for name, z in layers.items()]
        return torch.stack(away).square().mean(dim=0)

    def fitted_layers(self) -> tuple[str, ...]:
        """Names of the layers that `fit` got.

        Raises:
            NotFittedError: before `fit`.
        """
        if not hasattr(self, "widths_"):
            raise NotFittedError("FeatureNorm is not fitted yet: call fit(features, labels) first.")
        return tuple(self.widths_)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """No tensor; what fitting learned is a few numbers."""
        self.fitted_layers()
        learned = {"centre_": self.centre_, "spread_": self.spread_, "widths_": self.widths_}
        return {}, {"layers": self.layers if isinstance(self.layers, str) else list(self.layers), **learned}

    @classmethod
    def restore(cls, tensors: dict[str, Tensor], values: dict[str, Any]) -> Self:
        """From what `state` gave."""
        detector = cls(layers=values["layers"])
        detector.centre_, detector.spread_ = values["centre_"], values["spread_"]
        detector.widths_ = values["widths_"]
        return detector
