"""HFC as an anomaly score: a case is out of place where it is far from its class's mixture of normal features."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from medaegis._errors import is_int, require
from medaegis._types import Labels, PerCase
from medaegis.density import GaussianMixture, MixtureBank, fit_bank
from medaegis.detect._detector import Detector, by_layer, check_fit, places_of, to_score
from medaegis.detect._examples import AnyFeatures, Examples


class HFCScore(Detector):
    """Quadratic form (squared Mahalanobis distance, over C_l) to the predicted class's most likely component.

    The component is m' = argmax_m ln(pi_m N(f | mu_m, S_m)), the score (f - mu_m')^T S_m'^-1 (f - mu_m') / C_l: the HFC
    term without its factor 1/2, about 1 for normal cases. No adversarial or lesioned case is needed to fit it.

    Args:
        components: K, Gaussian components a class and layer; a class needs two Train cases a component.
        layers: layers of the images door; the penultimate one, the papers' "last layer", by default. `"relu"` takes
            every activation. Scores of several layers are averaged.
        seed: of the starts of EM and of the held-out quarter on which shrinkage is chosen.

    Attributes:
        bank_: the mixtures by layer name and class.

    Source: HFC-23 eq. 18 and 19. The paper does not say whose mixture m runs over: here the predicted class's, as in
    the HFC attack. Its words "the component with the minimum log-likelihood" contradict eq. 18, which is followed.
    Dividing by C_l, as the HFC attack does, changes no ranking at one layer and makes several count alike.

    Example:
        >>> z = torch.cat([torch.randn(30, 2), torch.randn(30, 2) + 9])
        >>> score = HFCScore().fit(z, torch.arange(60) // 30)
        >>> bool(score.score(torch.tensor([[50.0, 50.0]])) > score.score(z[:1]))
        True
    """

    fitted_attribute: ClassVar[str] = "bank_"

    def __init__(self, components: int = 1, *, layers: Any = "penultimate", seed: int = 0) -> None:
        require(is_int(components) and components >= 1, "components", "HFCScore", "an int >= 1", components)
        self.components, self.layers, self.seed = components, layers, seed

    def fit(self, features: AnyFeatures, labels: Labels, *, examples: Examples | None = None) -> Self:
        """Fit a mixture to each class at each layer of Train features (n, d).

        Raises:
            InputError: shapes do not fit, a class has fewer than two cases a component, or features are not finite.
        """
        layers = by_layer(features, "HFCScore")
        check_fit(layers, labels, "HFCScore")
        self.bank_ = MixtureBank({name: self._fit_layer(z, labels) for name, z in layers.items()})
        return self

    def _fit_layer(self, z: Tensor, labels: Tensor) -> dict[int, GaussianMixture]:
        """Every layer starts from the seed, so that it is fitted alike alone and among others."""
        generator = torch.Generator().manual_seed(self.seed)
        found = fit_bank({"": z}, labels, components=self.components, generator=generator)
        return dict(found.mixtures[""])

    def score(self, features: AnyFeatures, predicted: Labels | None = None) -> PerCase:
        """The quadratic form over C_l, averaged over layers, (n,) in float64, differentiable.

        Args:
            features: (n, d), or by layer.
            predicted: predicted classes (n,); None takes, for each case and layer, the class whose best component is
                the most likely.

        Raises:
            NotFittedError: before `fit`.
            InputError: a layer is missing, shapes do not fit, or a predicted class was not in Train.
        """
        return torch.stack(list(self.layer_scores(features, predicted).values())).mean(dim=0)

    def layer_scores(self, features: AnyFeatures, predicted: Labels | None = None) -> dict[str, PerCase]:
        """The score of each layer alone, (n,) by name."""
        self.check_fitted()
        layers = to_score(features, {name: _width(by) for name, by in self.bank_.mixtures.items()}, "HFCScore")
        first = next(iter(layers.values()))
        places = None if predicted is None else places_of(predicted, self.bank_.classes, first, "HFCScore")
        return {name: self._layer(name, z, places) for name, z in layers.items()}

    def _layer(self, name: str, z: Tensor, places: Tensor | None) -> Tensor:
        mixtures = [mixture.to(z) for mixture in self.bank_.mixtures[name].values()]
        if places is None:
            with torch.no_grad():
                best = torch.stack([m.log_components(z).amax(dim=1) for m in mixtures], dim=1)
            places = best.argmax(dim=1)[:, None]
        return torch.stack([m.nearest(z).quadratic for m in mixtures], dim=1).gather(1, places)[:, 0] / z.shape[1]

    def fitted_layers(self) -> tuple[str, ...]:
        """Names of the layers that `fit` got.

        Raises:
            NotFittedError: before `fit`.
        """
        self.check_fitted()
        return self.bank_.layers

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The mixtures and what they were fitted with.

        Raises:
            NotFittedError: before `fit`.
        """
        self.check_fitted()
        layers = self.layers_as_json()
        values = {"components": self.components, "layers": layers, "seed": self.seed}
        return self.bank_.tensors(), {**values, "fitted": list(self.bank_.layers)}

    @classmethod
    def restore(cls, tensors: dict[str, Tensor], values: dict[str, Any]) -> Self:
        """From what `state` gave."""
        detector = cls(values["components"], layers=values["layers"], seed=values["seed"])
        detector.bank_ = MixtureBank.from_tensors(tensors, tuple(values["fitted"]))
        return detector


def _width(by_class: Any) -> int:
    return next(iter(by_class.values())).means.shape[1]
