"""MAHA: a case is adversarial where it is far from every class mean under one tied covariance."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from medaegis._errors import is_number, require
from medaegis._types import Images, Labels, PerCase
from medaegis.density import TiedGaussians, fit_tied
from medaegis.detect._detector import Detector, by_layer, check_fit, to_score
from medaegis.detect._examples import AnyFeatures, Examples


class MAHA(Detector):
    """Mahalanobis distance (squared, over the number of channels) to the closest class mean, averaged over layers.

    Dividing by C_l makes every layer count alike: a normal case has a distance of order 1 at each.

    With `magnitude` above 0 the images door first moves each image towards its closest class means,
    x_hat = clip(x - magnitude sign(d score(x) / dx), 0, 1), and scores x_hat, which is to bring clean images closer
    than others. One step serves all layers, since the score is their mean and falls with it; Lee et al. take a step a
    layer, which costs a pass forwards and one backwards for each of them (with one layer it is theirs). `fit` reads
    images as they are; `calibrate_images` moves them, as `score_images` does. `score` of features moves nothing: it
    scores them as they are, against whatever threshold was set, so that thresholds of one door are not the other's.
    To an attack through `score_images` the move is a constant step: the gradient at x_hat is taken for that at x.

    Args:
        magnitude: how far each pixel is moved before scoring, in the images' units of [0, 1], as 1/256; 0 for not.
        layers: layers of the images door; every activation by default.
        seed: chooses the held-out quarter on which the covariance's shrinkage is chosen.

    Attributes:
        gaussians_: means and whitener by layer name.

    Source: Lee et al. 2018 (with their eq. 4 for `magnitude`); HFC-23 eq. 23; the mean over layers is Aegis Table 2's.
    The released code of HFC moves images the other way, away from the class means.

    Example:
        >>> z = torch.cat([torch.randn(30, 2), torch.randn(30, 2) + 9])
        >>> maha = MAHA().fit(z, torch.arange(60) // 30)
        >>> bool(maha.score(torch.tensor([[50.0, 50.0]])) > maha.score(z[:1]))
        True
    """

    fitted_attribute: ClassVar[str] = "gaussians_"

    def __init__(self, *, magnitude: float = 0.0, layers: Any = "relu", seed: int = 0) -> None:
        good = is_number(magnitude) and 0 <= magnitude <= 1
        require(good, "magnitude", "MAHA", "a number from 0 to 1, as 1/256", magnitude)
        self.magnitude, self.layers, self.seed = magnitude, layers, seed

    @property
    def needs_images(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]  # `magnitude` decides
        """Whether the images door moves images first."""
        return self.magnitude > 0

    def read_images(self, model: nn.Module, images: Images, *, batch_size: int = 64) -> tuple[AnyFeatures, Labels]:
        """Features of the images after their move, and classes that the network predicts for them before it.

        The gradient flows to the images as if the move were a constant.

        Raises:
            NotFittedError: before `fit`.
        """
        if not self.needs_images:
            return super().read_images(model, images, batch_size=batch_size)
        self.check_fitted()
        require(len(images) > 0, "images", "MAHA", "at least one image", tuple(images.shape))
        require(batch_size >= 1, "batch_size", "MAHA", "an int >= 1", batch_size)
        parts = [self._moved(model, batch) for batch in images.split(batch_size)]
        moved, predicted = (torch.cat(list(part)) for part in zip(*parts, strict=True))
        return super().read_images(model, moved, batch_size=batch_size)[0], predicted

    def _moved(self, model: nn.Module, batch: Images) -> tuple[Images, Labels]:
        """One batch, each image moved towards its closest class means, and its predicted classes before that."""
        with torch.enable_grad():
            x = batch.detach().requires_grad_()
            features, predicted = super().read_images(model, x, batch_size=len(x))
            (slope,) = torch.autograd.grad(self.score(features).sum(), x)
        reached = (x.detach() - self.magnitude * slope.sign()).clamp(0, 1)
        return reached + (batch - batch.detach()), predicted  # the value of one, the gradient of the other

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
        values = {"magnitude": self.magnitude, "layers": layers, "seed": self.seed}
        return tensors, {**values, "strengths": strengths}

    @classmethod
    def restore(cls, tensors: dict[str, Tensor], values: dict[str, Any]) -> Self:
        """From what `state` gave."""
        detector = cls(magnitude=values["magnitude"], layers=values["layers"], seed=values["seed"])
        detector.gaussians_ = {
            name: TiedGaussians(tensors[f"{name}|means"], tensors[f"{name}|whitener"], strength)
            for name, strength in values["strengths"].items()
        }
        return detector


def _distance(z: Tensor, fitted: TiedGaussians) -> Tensor:
    return fitted.to(z).quadratics(z).amin(dim=1) / z.shape[1]
