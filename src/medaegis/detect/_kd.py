"""KD: a case is adversarial where the predicted class's normal features are thin."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from medaegis._types import Labels, PerCase
from medaegis.density import choose_bandwidth, kernel_log_density, leave_one_out_log_density
from medaegis.density._kernel import Bandwidth, check_bandwidth
from medaegis.detect._detector import Detector, by_layer, check_fit, places_of, to_score
from medaegis.detect._examples import AnyFeatures, Examples
from medaegis.detect._groups import group


class KD(Detector):
    """Minus the log kernel density of the predicted class's Train features.

    Args:
        bandwidth: a number, as the released code's 1.0; `"median"`; or `"likelihood"` (default): chosen on the Train
            features, as the original paper tunes it. See `medaegis.density.choose_bandwidth`.
        layers: layers of the images door; the penultimate one by default. Scores of several layers are averaged.
        centred: scores of each predicted class are taken relative to the median leave-one-out log density of that
            class's own Train features, so that a tight class and a wide one can share one threshold; False is the
            papers' definition.

    Attributes:
        reference_: Train features by layer name and class.
        bandwidth_: the width that is used, by layer name.
        levels_: the log density that counts as ordinary, by layer name and class; 0 where not centred.

    Source: Feinman et al. 2017; SPEC section 6.

    Example:
        >>> z = torch.cat([torch.randn(30, 2), torch.randn(30, 2) + 9])
        >>> kd = KD().fit(z, torch.arange(60) // 30)
        >>> bool(kd.score(torch.tensor([[50.0, 50.0]])) > kd.score(z[:1]))
        True
    """

    fitted_attribute: ClassVar[str] = "reference_"

    def __init__(
        self, bandwidth: Bandwidth = "likelihood", *, layers: Any = "penultimate", centred: bool = False
    ) -> None:
        check_bandwidth(bandwidth)
        self.bandwidth: Bandwidth = bandwidth
        self.layers, self.centred = layers, centred

    def fit(self, features: AnyFeatures, labels: Labels, *, examples: Examples | None = None) -> Self:
        """Keep Train features (n, d) by class, choose the bandwidth and the levels.

        Raises:
            InputError: shapes do not fit, a class has one case, features are not finite or all equal.
        """
        layers = by_layer(features, "KD")
        check_fit(layers, labels, "KD")
        self.reference_ = {name: group(z, labels, by_class=True) for name, z in layers.items()}
        self.bandwidth_ = {n: _bandwidth(by_class, self.bandwidth) for n, by_class in self.reference_.items()}
        self.levels_ = {
            name: {c: _level(z, self.bandwidth_[name]) if self.centred else 0.0 for c, z in by_class.items()}
            for name, by_class in self.reference_.items()
        }
        return self

    def score(self, features: AnyFeatures, predicted: Labels | None = None) -> PerCase:
        """The class's level minus the log density, averaged over layers, (n,) in float64, differentiable.

        Args:
            features: (n, d), or by layer.
            predicted: predicted classes (n,); None takes, for each case, the class that fits it best.

        Raises:
            NotFittedError: before `fit`.
            InputError: a layer is missing, shapes do not fit, or a predicted class was not in Train.
        """
        return torch.stack(list(self.layer_scores(features, predicted).values())).mean(dim=0)

    def layer_scores(self, features: AnyFeatures, predicted: Labels | None = None) -> dict[str, PerCase]:
        """The score of each layer alone, (n,) by name."""
        self.check_fitted()
        widths = {name: next(iter(by_class.values())).shape[1] for name, by_class in self.reference_.items()}
        layers = to_score(features, widths, "KD")
        classes, first = next(iter(self.reference_.values())), next(iter(layers.values()))
        column = None if predicted is None else places_of(predicted, tuple(classes), first, "KD")
        return {name: self._layer(name, z, column) for name, z in layers.items()}

    def _layer(self, name: str, z: Tensor, column: Tensor | None) -> Tensor:
        by_class, levels, width = self.reference_[name], self.levels_[name], self.bandwidth_[name]

        def against(c: int, f: Tensor) -> Tensor:
            return levels[c] - kernel_log_density(f, by_class[c].to(f), width)

        if column is None:
            return torch.stack([against(c, z) for c in by_class], dim=1).amin(dim=1)
        order = [(column[:, 0] == place).nonzero()[:, 0] for place in range(len(by_class))]
        parts = [against(c, z[rows]) for c, rows in zip(by_class, order, strict=True) if len(rows)]
        return torch.cat(parts)[torch.cat(order).argsort()] if parts else z.sum(dim=1)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Reference features, bandwidths and levels.

        Raises:
            NotFittedError: before `fit`.
        """
        self.check_fitted()
        tensors = {f"{name}|{c}": z for name, by_class in self.reference_.items() for c, z in by_class.items()}
        layers = self.layers_as_json()
        values = {"bandwidth": self.bandwidth, "layers": layers, "centred": self.centred}
        return tensors, {**values, "bandwidth_": self.bandwidth_, "levels_": self.levels_}

    @classmethod
    def restore(cls, tensors: dict[str, Tensor], values: dict[str, Any]) -> Self:
        """From what `state` gave."""
        detector = cls(values["bandwidth"], layers=values["layers"], centred=values["centred"])
        detector.bandwidth_ = dict(values["bandwidth_"])
        detector.levels_ = {name: {int(c): v for c, v in by.items()} for name, by in values["levels_"].items()}
        detector.reference_ = {
            name: {c: tensors[f"{name}|{c}"] for c in levels} for name, levels in detector.levels_.items()
        }
        return detector


def _bandwidth(by_class: dict[int, Tensor], rule: Bandwidth) -> float:
    """One width for all classes: the geometric mean of what each class's own features choose."""
    if not isinstance(rule, str):
        return float(rule)
    widths = torch.tensor([choose_bandwidth(z, rule) for z in by_class.values()], dtype=torch.float64)
    return widths.log().mean().exp().item()


def _level(known: Tensor, width: float) -> float:
    return leave_one_out_log_density(known, width).quantile(0.5).item()
