"""A small detector that keeps every law: squared distance to Train's mean, in Train's variances."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor

from medaegis import NotFittedError
from medaegis.detect import AnyFeatures, Detector, Examples, by_layer, to_score


class Plain(Detector):
    """The base of the broken detectors, each of which breaks one law."""

    def __init__(self, *, layers: Any = "penultimate", strength: float = 1e-3) -> None:
        self.layers, self.strength = layers, strength

    def fit(self, features: AnyFeatures, labels: Tensor, *, examples: Examples | None = None) -> Self:
        layers = by_layer(features, type(self).__name__)
        self.means_ = {name: self.centre(z) for name, z in layers.items()}
        self.spreads_ = {name: z.detach().double().std(dim=0) + self.strength for name, z in layers.items()}
        return self

    def centre(self, z: Tensor) -> Tensor:
        return z.detach().double().mean(dim=0)

    def score(self, features: AnyFeatures, predicted: Tensor | None = None) -> Tensor:
        widths = dict(zip(self.fitted_layers(), map(len, self.means_.values()), strict=True))
        layers = to_score(features, widths, type(self).__name__)
        away = [((z - self.means_[name]) / self.spreads_[name]).square().mean(dim=1) for name, z in layers.items()]
        return torch.stack(away).mean(dim=0)

    def fitted_layers(self) -> tuple[str, ...]:
        if not hasattr(self, "means_"):
            raise NotFittedError(f"{type(self).__name__} is not fitted yet.")
        return tuple(self.means_)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        names = self.fitted_layers()
        tensors = {f"{name}|mean": self.means_[name] for name in names}
        tensors |= {f"{name}|spread": self.spreads_[name] for name in names}
        return tensors, {"layers": self.layers, "strength": self.strength, "names": list(names)}

    @classmethod
    def restore(cls, tensors: dict[str, Tensor], values: dict[str, Any]) -> Self:
        detector = cls(layers=values["layers"], strength=values["strength"])
        detector.means_ = {name: tensors[f"{name}|mean"] for name in values["names"]}
        detector.spreads_ = {name: tensors[f"{name}|spread"] for name in values["names"]}
        return detector
