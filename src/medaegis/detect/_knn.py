"""KNN: a case is adversarial where even its k-th nearest normal feature is far."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from medaegis._errors import is_int, require
from medaegis._types import Features, Labels, PerCase
from medaegis.density import squared_distances
from medaegis.detect._detector import Detector, by_layer, check_fit, places_of, to_score
from medaegis.detect._examples import AnyFeatures, Examples
from medaegis.detect._groups import group, of_predicted


class KNN(Detector):
    """Euclidean distance to the k-th nearest Train feature, of the predicted class or of all.

    A Train case that is scored is its own nearest neighbour, at distance 0, as in the papers: calibrate on others.

    Args:
        neighbours: k >= 1.
        normalised: features are divided by their length first, so that only directions are compared; a feature of
            length 0 stays as it is.
        by_class: neighbours are sought among the predicted class's Train features; False: among all.
        layers: layers of the images door; the penultimate one by default. Scores of several layers are averaged.

    Attributes:
        reference_: Train features by layer name and class; under -1 where not `by_class`.

    Source: Sun et al. 2022 (Out-of-distribution detection with deep nearest neighbors): minus their score
    with `normalised=True, by_class=False`; by class after Papernot and McDaniel 2018 (Deep k-nearest
    neighbors), who ask which classes the neighbours have, where the distance is asked for here.

    Example:
        >>> z = torch.tensor([[0.0, 0.0], [0.0, 1.0], [9.0, 9.0], [9.0, 8.0]])
        >>> knn = KNN(neighbours=2).fit(z, torch.tensor([0, 0, 1, 1]))
        >>> knn.score(torch.tensor([[3.0, 5.0]]), torch.tensor([0]))
        tensor([5.8310], dtype=torch.float64)
    """

    fitted_attribute: ClassVar[str] = "reference_"

    def __init__(
        self, neighbours: int = 10, *, normalised: bool = False, by_class: bool = True, layers: Any = "penultimate"
    ) -> None:
        require(is_int(neighbours) and neighbours >= 1, "neighbours", "KNN", "an int >= 1", neighbours)
        self.neighbours, self.normalised, self.by_class, self.layers = neighbours, normalised, by_class, layers

    def fit(self, features: AnyFeatures, labels: Labels, *, examples: Examples | None = None) -> Self:
        """Keep Train features (n, d).

        Raises:
            InputError: shapes do not fit, a class has one case or fewer than `neighbours`, or features are not finite.
        """
        layers = by_layer(features, "KNN")
        check_fit(layers, labels, "KNN")
        reference = {name: group(z, labels, by_class=self.by_class) for name, z in layers.items()}
        fewest = min(len(z) for z in next(iter(reference.values())).values())
        rule = "at most the number of Train cases" + (" of each class" if self.by_class else "")
        fix = f"There are {fewest}: take fewer neighbours or more cases" + (
            ", or by_class=False." if self.by_class else "."
        )
        require(self.neighbours <= fewest, "neighbours", "KNN", rule, self.neighbours, fix)
        self.reference_ = reference
        return self

    def score(self, features: AnyFeatures, predicted: Labels | None = None) -> PerCase:
        """The distance, averaged over layers, (n,) in float64, differentiable (with gradient 0 at distance 0).

        Args:
            features: (n, d), or by layer.
            predicted: predicted classes (n,); None takes, for each case and layer, the smallest distance over classes.
                Not read where not `by_class`.

        Raises:
            NotFittedError: before `fit`.
            InputError: a layer is missing, shapes do not fit, or a predicted class was not in Train.
        """
        return torch.stack(list(self.layer_scores(features, predicted).values())).mean(dim=0)

    def layer_scores(self, features: AnyFeatures, predicted: Labels | None = None) -> dict[str, PerCase]:
        """The score of each layer alone, (n,) by name."""
        self.check_fitted()
        groups = tuple(next(iter(self.reference_.values())))
        widths = {name: next(iter(by.values())).shape[1] for name, by in self.reference_.items()}
        layers = to_score(features, widths, "KNN")
        asked, first = predicted if self.by_class else None, next(iter(layers.values()))
        places = None if asked is None else places_of(asked, groups, first, "KNN")
        return {name: self._layer(name, z, places) for name, z in layers.items()}

    def _layer(self, name: str, z: Tensor, places: Tensor | None) -> Tensor:
        parts = [self._distance(z, known.to(z)) for known in self.reference_[name].values()]
        return of_predicted(torch.stack(parts, dim=1), places)

    def _distance(self, z: Tensor, known: Tensor) -> Tensor:
        pair = (_unit(z), _unit(known)) if self.normalised else (z, known)
        return kth_distance(*pair, self.neighbours)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Reference features and parameters.

        Raises:
            NotFittedError: before `fit`.
        """
        self.check_fitted()
        tensors = {f"{name}|{c}": z for name, groups in self.reference_.items() for c, z in groups.items()}
        layers = self.layers_as_json()
        parameters = {"neighbours": self.neighbours, "normalised": self.normalised, "by_class": self.by_class}
        groups = {name: list(groups) for name, groups in self.reference_.items()}
        return tensors, {**parameters, "layers": layers, "groups": groups}

    @classmethod
    def restore(cls, tensors: dict[str, Tensor], values: dict[str, Any]) -> Self:
        """From what `state` gave."""
        names = ("normalised", "by_class", "layers")
        detector = cls(values["neighbours"], **{name: values[name] for name in names})
        detector.reference_ = {
            name: {int(c): tensors[f"{name}|{c}"] for c in groups} for name, groups in values["groups"].items()
        }
        return detector


def kth_distance(features: Features, reference: Features, neighbours: int) -> PerCase:
    """Distance of each case (n, d) to its k-th nearest of the reference (m, d), (n,), differentiable in the features.

    The matrix of distances only says which neighbour it is; how far is taken from the difference, which is exact
    where the matrix has cancelled to rounding, with gradient 0 where the two are equal.

    Example:
        >>> kth_distance(torch.tensor([[0.0]]), torch.tensor([[1.0], [-3.0], [4.0]]), 2)
        tensor([3.])
    """
    with torch.no_grad():
        place = squared_distances(features, reference).topk(neighbours, dim=1, largest=False).indices[:, -1]
    return torch.linalg.vector_norm(features - reference[place], dim=1)


def _unit(z: Tensor) -> Tensor:
    length = torch.linalg.vector_norm(z, dim=1, keepdim=True)
    return z / torch.where(length > 0, length, 1)
