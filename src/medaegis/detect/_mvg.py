"""MVG: a case is adversarial where one Gaussian of normal features is thin."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from medaegis._types import Features, Labels, PerCase
from medaegis.density import cholesky, shrunk_covariance, whitener
from medaegis.detect._detector import Detector, by_layer, check_fit, places_of, to_score
from medaegis.detect._examples import AnyFeatures, Examples
from medaegis.detect._groups import group, of_predicted


class MVG(Detector):
    """Minus the log density of one multivariate Gaussian fitted to clean Train features.

    -ln N(f | mu, S) = ((f - mu)^T S^-1 (f - mu) + ln det S + d ln 2 pi) / 2. No adversarial example is needed to fit
    it.

    Args:
        by_class: the Gaussian is the predicted class's; False (default): one for all classes.
        layers: layers of the images door; the penultimate one by default. Scores of several layers are averaged as
            they are, so that a wide layer counts more than a narrow one.
        seed: chooses the held-out quarter on which each covariance's shrinkage is chosen.

    Attributes:
        means_: mu (d,) by layer name and class; under -1 where not `by_class`.
        whiteners_: P (d, d), upper triangular with P P^T = S^-1, by layer name and class.
        strengths_: the strength of shrinkage that was used, by layer name and class.

    Source: Li and Zhu 2020 (Robust detection of adversarial attacks on medical images), their unsupervised detector.
    They take the covariance as it is, which is singular with fewer cases than channels; here it is shrunk as
    `medaegis.density.shrink` does.

    Example:
        >>> z = torch.cat([torch.randn(30, 2), torch.randn(30, 2) + 9])
        >>> mvg = MVG().fit(z, torch.arange(60) // 30)
        >>> bool(mvg.score(torch.tensor([[50.0, 50.0]])) > mvg.score(z[:1]))
        True
    """

    fitted_attribute: ClassVar[str] = "means_"

    def __init__(self, *, by_class: bool = False, layers: Any = "penultimate", seed: int = 0) -> None:
        self.by_class, self.layers, self.seed = by_class, layers, seed

    def fit(self, features: AnyFeatures, labels: Labels, *, examples: Examples | None = None) -> Self:
        """Fit mean and covariance at each layer of Train features (n, d).

        Raises:
            InputError: shapes do not fit, a class has one case, or features are not finite.
            NumericsError: a covariance is not positive definite.
        """
        layers = by_layer(features, "MVG")
        check_fit(layers, labels, "MVG")
        fitted = {
            name: {c: _fit(part, self.seed) for c, part in group(z, labels, by_class=self.by_class).items()}
            for name, z in layers.items()
        }
        self.means_ = {name: {c: mean for c, (mean, _, _) in parts.items()} for name, parts in fitted.items()}
        self.whiteners_ = {name: {c: scale for c, (_, scale, _) in parts.items()} for name, parts in fitted.items()}
        self.strengths_ = {name: {c: a for c, (_, _, a) in parts.items()} for name, parts in fitted.items()}
        return self

    def score(self, features: AnyFeatures, predicted: Labels | None = None) -> PerCase:
        """Minus the log density, averaged over layers, (n,) in float64, differentiable.

        Args:
            features: (n, d), or by layer.
            predicted: predicted classes (n,); None takes, for each case and layer, the class that fits it best. Not
                read where not `by_class`.

        Raises:
            NotFittedError: before `fit`.
            InputError: a layer is missing, shapes do not fit, or a predicted class was not in Train.
        """
        return torch.stack(list(self.layer_scores(features, predicted).values())).mean(dim=0)

    def layer_scores(self, features: AnyFeatures, predicted: Labels | None = None) -> dict[str, PerCase]:
        """The score of each layer alone, (n,) by name."""
        self.check_fitted()
        widths = {name: len(next(iter(means.values()))) for name, means in self.means_.items()}
        layers = to_score(features, widths, "MVG")
        groups = tuple(next(iter(self.means_.values())))
        asked, first = predicted if self.by_class else None, next(iter(layers.values()))
        places = None if asked is None else places_of(asked, groups, first, "MVG")
        return {name: self._layer(name, z, places) for name, z in layers.items()}

    def _layer(self, name: str, z: Tensor, places: Tensor | None) -> Tensor:
        means, scales = self.means_[name], self.whiteners_[name]
        parts = [_minus_log_density(z, means[c].to(z), scales[c].to(z)) for c in means]
        return of_predicted(torch.stack(parts, dim=1), places)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Means, whiteners and strengths.

        Raises:
            NotFittedError: before `fit`.
        """
        self.check_fitted()
        tensors = {f"{name}|{c}|mean": mean for name, parts in self.means_.items() for c, mean in parts.items()}
        tensors |= {f"{name}|{c}|whitener": p for name, parts in self.whiteners_.items() for c, p in parts.items()}
        layers = self.layers_as_json()
        values = {"by_class": self.by_class, "layers": layers, "seed": self.seed}
        strengths = {name: {str(c): a for c, a in parts.items()} for name, parts in self.strengths_.items()}
        return tensors, {**values, "strengths": strengths}

    @classmethod
    def restore(cls, tensors: dict[str, Tensor], values: dict[str, Any]) -> Self:
        """From what `state` gave."""
        detector = cls(by_class=values["by_class"], layers=values["layers"], seed=values["seed"])
        strengths = {name: {int(c): a for c, a in parts.items()} for name, parts in values["strengths"].items()}
        detector.strengths_ = strengths
        detector.means_ = {n: {c: tensors[f"{n}|{c}|mean"] for c in parts} for n, parts in strengths.items()}
        detector.whiteners_ = {n: {c: tensors[f"{n}|{c}|whitener"] for c in parts} for n, parts in strengths.items()}
        return detector


def _fit(features: Features, seed: int) -> tuple[Tensor, Tensor, float]:
    """Mean, whitener and strength; from the seed anew, so that a layer is fitted alike alone and among others."""
    z = features.double()
    mean = z.mean(dim=0)
    generator = torch.Generator().manual_seed(seed)
    covariance, strength = shrunk_covariance(z - mean, generator=generator, mean_square=z.square().mean().item())
    return mean, whitener(cholesky(covariance)), strength


def _minus_log_density(z: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    half_log_det = -scale.diagonal().log().sum()  # of S; the whitener is the inverse of its Cholesky factor
    white = (z - mean) @ scale
    return white.square().sum(dim=1) / 2 + half_log_det + z.shape[1] / 2 * math.log(2 * math.pi)
