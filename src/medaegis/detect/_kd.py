"""KD: a case is adversarial where the predicted class's normal features are thin."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor

from medaegis._errors import NotFittedError, require
from medaegis._types import Labels, PerCase
from medaegis.density import choose_bandwidth, kernel_log_density
from medaegis.density._kernel import Bandwidth
from medaegis.detect._detector import AnyFeatures, Detector, by_layer, check_fit


class KD(Detector):
    """Minus the log kernel density of the predicted class's Train features.

    Args:
        bandwidth: a number, as the released code's 1.0; `"median"`; or `"likelihood"` (default): chosen on the Train features, as
            the original paper tunes it. See `medaegis.density.choose_bandwidth`.
        layers: layers of the images door; the penultimate one by default. Scores of several layers are averaged.

    Attributes:
        reference_: Train features by layer name and class.
        bandwidth_: the width that is used, by layer name.

    Source: Feinman et al. 2017; SPEC section 6.

    Example:
        >>> z = torch.cat([torch.randn(30, 2), torch.randn(30, 2) + 9])
        >>> kd = KD().fit(z, torch.arange(60) // 30)
        >>> bool(kd.score(torch.tensor([[50.0, 50.0]])) > kd.score(z[:1]))
        True
    """

    def __init__(self, bandwidth: Bandwidth = "likelihood", *, layers: Any = "penultimate") -> None:
        self.bandwidth, self.layers = bandwidth, layers

    def fit(self, features: AnyFeatures, labels: Labels) -> Self:
        """Keep Train features (n, d) by class and choose the bandwidth.

        Raises:
            InputError: shapes do not fit, a class has one case, features are not finite or all equal.
        """
        layers = by_layer(features, "KD")
        classes = check_fit(layers, labels, "KD")
        self.reference_ = {n: {int(c): z[labels == c].detach().clone() for c in classes} for n, z in layers.items()}
        self.bandwidth_ = {n: _bandwidth(by_class, self.bandwidth) for n, by_class in self.reference_.items()}
        return self

    def score(self, features: AnyFeatures, predicted: Labels | None = None) -> PerCase:
        """Minus the log density, averaged over layers, (n,), differentiable.

        Args:
            features: (n, d), or by layer.
            predicted: predicted classes (n,); None takes, for each case, the class that fits it best.

        Raises:
            NotFittedError: before `fit`.
            InputError: a layer is missing, or a predicted class was not in Train.
        """
        if not hasattr(self, "reference_"):
            raise NotFittedError("KD is not fitted yet: call fit(features, labels) first.")
        layers = by_layer(features, "KD")
        require(set(self.reference_) <= set(layers), "features", "KD", f"with layers {list(self.reference_)}", list(layers))
        return torch.stack([self._layer(name, layers[name], predicted) for name in self.reference_]).mean(dim=0)

    def _layer(self, name: str, z: Tensor, predicted: Labels | None) -> Tensor:
        by_class, width = self.reference_[name], self.bandwidth_[name]
        densities = torch.stack([kernel_log_density(z, r.to(z.device), width) for r in by_class.values()], dim=1)
        if predicted is None:
            return -densities.amax(dim=1)
        place = {c: i for i, c in enumerate(by_class)}
        unknown = sorted({int(c) for c in predicted} - set(place))
        require(not unknown, "predicted", "KD", f"one of the classes of Train, {list(place)}", unknown)
        column = torch.tensor([place[int(c)] for c in predicted], device=z.device)
        return -densities.gather(1, column[:, None])[:, 0]

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Reference features and bandwidths.

        Raises:
            NotFittedError: before `fit`.
        """
        if not hasattr(self, "reference_"):
            raise NotFittedError("KD is not fitted yet: call fit(features, labels) first.")
        tensors = {f"{name}|{c}": z for name, by_class in self.reference_.items() for c, z in by_class.items()}
        layers = self.layers if isinstance(self.layers, str) else list(self.layers)
        return tensors, {"bandwidth": self.bandwidth, "bandwidth_": self.bandwidth_, "layers": layers}

    @classmethod
    def restore(cls, tensors: dict[str, Tensor], values: dict[str, Any]) -> Self:
        """From what `state` gave."""
        detector = cls(values["bandwidth"], layers=values["layers"])
        detector.bandwidth_ = dict(values["bandwidth_"])
        detector.reference_ = {name: {} for name in detector.bandwidth_}
        for key in sorted(tensors, key=lambda key: int(key.rsplit("|", 1)[1])):
            name, label = key.rsplit("|", 1)
            detector.reference_[name][int(label)] = tensors[key]
        return detector


def _bandwidth(by_class: dict[int, Tensor], rule: Bandwidth) -> float:
    """One width for all classes: the geometric mean of what each class's own features choose."""
    widths = torch.tensor([choose_bandwidth(z, rule) for z in by_class.values()], dtype=torch.float64)
    return widths.log().mean().exp().item()
