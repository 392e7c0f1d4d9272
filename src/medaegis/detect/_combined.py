"""Combined: one score from a detector's scores by layer."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from medaegis._errors import DataError, InputError, is_a, require
from medaegis._types import Images, Labels, LayerFeatures, PerCase
from medaegis.detect._detector import Detector
from medaegis.detect._examples import AnyFeatures, Examples

INNER = "inner|"
"""Prefix of the combined detector's own tensors in `state`."""


class Combined(Detector):
    """Another detector's scores by layer as one: the logit sum_l w_l s_l + b of a logistic regression, or the mean.

    The regression tells negative from positive examples by their standardised scores. It has learned the attack that
    made them: test it on other attacks too.

    Args:
        detector: fitted on Train features by `fit`, in a copy; whatever layers it takes.
        how: `"logistic"` learns weights from examples; `"mean"` weighs all layers alike and needs none.

    Attributes:
        detector_: the copy that was fitted.
        weights_: w, (L,) in float64, in the order of `fitted_layers`, for scores that are not standardised.
        bias_: b, a scalar in float64.

    Source: the logistic regression of Ma et al. 2018 (LID) and Lee et al. 2018 (MAHA), as HFC-23 uses it; the mean is
    Aegis Table 2's. Both kinds of examples weigh alike however many there are, which the papers do not say.

    Example:
        >>> from medaegis.detect import MAHA
        >>> z, labels = torch.randn(60, 2), torch.arange(60) % 2
        >>> examples = Examples(torch.randn(20, 2), torch.randn(20, 2) + 9)
        >>> combined = Combined(MAHA()).fit(z, labels, examples=examples)
        >>> combined.score(torch.tensor([[0.0, 0.0], [9.0, 9.0]])) > 0
        tensor([False,  True])
    """

    fitted_attribute: ClassVar[str] = "detector_"

    def __init__(self, detector: Detector, how: Literal["logistic", "mean"] = "logistic") -> None:
        require(is_a(detector, Detector), "detector", "Combined", "a detector, such as MAHA()", detector)
        require(how in ("logistic", "mean"), "how", "Combined", '"logistic" or "mean"', how)
        self.detector = detector
        self.how: Literal["logistic", "mean"] = how

    @property
    def differentiable(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]  # what is wrapped decides
        """Whether `score` keeps the gradient: as the wrapped detector does."""
        return self.detector.differentiable

    @property
    def learns_attacks(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]  # `how` decides
        """Whether `fit` needs `examples`: for the regression, or the wrapped detector."""
        return self.how == "logistic" or self.detector.learns_attacks

    @property
    def layers(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]  # what is wrapped decides
        """The wrapped detector's layers."""
        return self.detector.layers

    @property
    def needs_images(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]  # what is wrapped decides
        """Whether the images door scores more than channel means of one pass: as the wrapped detector does."""
        return self.detector.needs_images

    @property
    def map_side(self) -> int | None:  # pyright: ignore[reportIncompatibleVariableOverride]  # what is wrapped decides
        """Side of the maps that features may be: as for the wrapped detector."""
        return self.detector.map_side

    def prepare(self, model: nn.Module) -> Self:
        """Prepare the wrapped detector itself, as its own images door does."""
        self.detector.prepare(model)
        return self

    def pick(self, features: LayerFeatures) -> AnyFeatures:
        """What the wrapped detector reads."""
        return self.detector.pick(features)

    def fit(self, features: AnyFeatures, labels: Labels, *, examples: Examples | None = None) -> Self:
        """Fit a copy of the wrapped detector on Train features, then the weights on examples.

        Args:
            features: (n, d), or by layer.
            labels: classes (n,).
            examples: with the same layers; needed unless `how` is "mean".

        Raises:
            InputError: examples are needed and missing, or none of one kind; or what the wrapped detector raises.
        """
        if examples is None and self.learns_attacks:
            raise InputError(
                "`examples` of Combined must be given, as it learns from attacks, got None. Give "
                'examples=Examples(negative, positive), to `fit_images` negative= and positive=, or take how="mean".'
            )
        return self._weigh(deepcopy(self.detector).fit(features, labels, examples=examples), examples)

    def refine(self, model: nn.Module, negative: Images, positive: Images, *, batch_size: int = 64) -> Self:
        """Learn the weights anew on what the wrapped detector scores of the images, where it `needs_images`."""
        if not self.needs_images:
            return self
        inner = self.detector_.refine(model, negative, positive, batch_size=batch_size)
        low, high = (inner.read_images(model, x, batch_size=batch_size) for x in (negative, positive))
        return self._weigh(inner, Examples(low[0], high[0], low[1], high[1]))

    def read_images(self, model: nn.Module, images: Images, *, batch_size: int = 64) -> tuple[AnyFeatures, Labels]:
        """What the wrapped detector scores.

        Raises:
            NotFittedError: before `fit`.
        """
        return self.check_fitted().read_images(model, images, batch_size=batch_size)

    def _weigh(self, inner: Detector, examples: Examples | None) -> Self:
        count = len(inner.fitted_layers())
        if self.how == "logistic" and examples is not None:
            weights, bias = _regress(*_example_scores(inner, examples))
        else:
            weights, bias = torch.full((count,), 1 / count, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        self.detector_, self.weights_, self.bias_ = inner, weights, bias
        return self

    def score(self, features: AnyFeatures, predicted: Labels | None = None) -> PerCase:
        """sum_l w_l s_l + b, (n,) in float64, differentiable where the wrapped detector is.

        Above 0 the regression takes a case for adversarial.

        Raises:
            NotFittedError: before `fit`.
            InputError: what the wrapped detector raises.
        """
        scores = torch.stack(list(self.layer_scores(features, predicted).values()), dim=1)
        return scores @ self.weights_.to(scores) + self.bias_.to(scores)

    def layer_scores(self, features: AnyFeatures, predicted: Labels | None = None) -> dict[str, PerCase]:
        """The wrapped detector's score of each layer alone, (n,) by name, not weighted.

        Raises:
            NotFittedError: before `fit`.
        """
        self.check_fitted()
        return self.detector_.layer_scores(features, predicted)

    def fitted_layers(self) -> tuple[str, ...]:
        """Names of the layers that `fit` got.

        Raises:
            NotFittedError: before `fit`.
        """
        self.check_fitted()
        return self.detector_.fitted_layers()

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights, bias and the wrapped detector's state.

        Raises:
            NotFittedError: before `fit`.
        """
        self.check_fitted()
        parts, values = self.detector_.state()
        tensors = {f"{INNER}{name}": part for name, part in parts.items()}
        tensors |= {"weights": self.weights_, "bias": self.bias_}
        return tensors, {"how": self.how, "inner": type(self.detector_).__name__, "inner_values": values}

    @classmethod
    def restore(cls, tensors: dict[str, Tensor], values: dict[str, Any]) -> Self:
        """From what `state` gave.

        Raises:
            DataError: the wrapped detector is neither one of `medaegis.detect`'s nor an installed one.
        """
        parts = {name.removeprefix(INNER): part for name, part in tensors.items() if name.startswith(INNER)}
        inner = _class_of(values["inner"]).restore(parts, values["inner_values"])
        detector = cls(inner, how=values["how"])
        detector.detector_, detector.weights_, detector.bias_ = inner, tensors["weights"], tensors["bias"]
        return detector


def _example_scores(inner: Detector, examples: Examples) -> tuple[Tensor, Tensor]:
    """Scores by layer (n, L) and 1 for adversarial, 0 for not (n,), on the CPU."""
    sides = ((examples.negative, examples.negative_predicted), (examples.positive, examples.positive_predicted))
    with torch.no_grad():
        low, high = (torch.stack(list(inner.layer_scores(*side).values()), dim=1).cpu() for side in sides)
    counts = (len(low), len(high))
    require(min(counts) > 0, "examples", "Combined", "of at least one negative and one positive", counts)
    return torch.cat([low, high]), torch.tensor([0] * counts[0] + [1] * counts[1])


def _regress(scores: Tensor, adversarial: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (L,) and bias of the logit for scores (n, L) as they are: the scaler is folded in."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    standard = scaler.fit_transform(scores.numpy())
    regression = LogisticRegression(class_weight="balanced", solver="newton-cholesky", tol=1e-8)
    fitted = regression.fit(standard, adversarial.numpy())
    weights = np.asarray(fitted.coef_[0]) / np.asarray(scaler.scale_)
    bias = float(fitted.intercept_[0]) - float(weights @ np.asarray(scaler.mean_))
    return torch.from_numpy(weights), torch.tensor(bias, dtype=torch.float64)


def _class_of(name: str) -> type[Detector]:
    from medaegis.detect._names import DETECTORS, find_detectors  # not above: that list holds Combined itself

    kinds = {kind.__name__: kind for kind in DETECTORS.values()}
    if name not in kinds:  # installed ones are looked for only then, since that imports them
        kinds = {kind.__name__: kind for kind in reversed(find_detectors().values())}
    if name not in kinds:
        raise DataError(f"Combined cannot be restored around {name}: load knows {sorted(kinds)}.")
    return kinds[name]
