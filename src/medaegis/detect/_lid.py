"""LID: a case is adversarial where the normal features around it fill more dimensions than around normal cases."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from medaegis._errors import is_int, require
from medaegis._types import Labels, PerCase
from medaegis.density import LocalDimensionality
from medaegis.density._lid import check_copies
from medaegis.detect._detector import Detector, as_given, by_layer, check_fit
from medaegis.detect._examples import AnyFeatures, Examples


class LID(Detector):
    """Maximum-likelihood local intrinsic dimensionality in one fixed minibatch of Train features, averaged over layers.

    At each layer -(1/k sum_i ln(r_i / r_k))^-1, with r_i the distance to the i-th nearest of the minibatch. A case's
    own copy in the minibatch is no neighbour. The papers weigh the layers by a logistic regression instead:
    `Combined(LID())`.

    Args:
        neighbours: k >= 2; 20 in the papers.
        minibatch: number of Train cases that neighbours are sought among, above k; 100 in the papers. All are taken
            where Train has fewer.
        layers: layers of the images door; every activation by default.
        seed: of the draw of the minibatch.

    Attributes:
        references_: the minibatch by layer name; the same cases at each.
        rows_: the Train cases that were drawn, (m,): each class within one case of its share.

    Source: Ma et al. 2018 (Characterizing adversarial subspaces using local intrinsic dimensionality);
    HFC-23 eq. 22. They estimate each case among the clean cases of its own batch, which leaks: here the minibatch is
    fixed and holds Train cases only.

    Example:
        >>> z = torch.cat([torch.randn(30, 2), torch.randn(30, 2) + 9])
        >>> lid = LID().fit(z, torch.arange(60) // 30)
        >>> bool(lid.score(torch.tensor([[50.0, 50.0]])) > lid.score(z[:1]))
        True
    """

    fitted_attribute: ClassVar[str] = "references_"

    def __init__(self, neighbours: int = 20, *, minibatch: int = 100, layers: Any = "relu", seed: int = 0) -> None:
        fix = "The farthest neighbour is the unit of the others."
        require(is_int(neighbours) and neighbours >= 2, "neighbours", "LID", "an int >= 2", neighbours, fix)
        rule, fix = f"an int above `neighbours`, {neighbours}", "Take a larger minibatch or fewer neighbours."
        require(is_int(minibatch) and minibatch > neighbours, "minibatch", "LID", rule, minibatch, fix)
        self.neighbours, self.minibatch, self.layers, self.seed = neighbours, minibatch, layers, seed

    def fit(self, features: AnyFeatures, labels: Labels, *, examples: Examples | None = None) -> Self:
        """Draw the minibatch from Train features (n, d).

        Raises:
            InputError: shapes do not fit, a class has one case, features are not finite, Train has fewer than
                `neighbours` + 1 cases, or so many equal ones that a case of the minibatch lacks neighbours.
        """
        layers = by_layer(features, "LID")
        check_fit(layers, labels, "LID")
        rule, fix = f"of at least {self.neighbours + 1} cases", "Take fewer neighbours or more Train cases."
        require(len(labels) > self.neighbours, "features", "LID", rule, len(labels), fix)
        rows = draw_minibatch(labels, self.minibatch, seed=self.seed)
        drawn = {n: LocalDimensionality(z.detach()[rows.to(z.device)], self.neighbours) for n, z in layers.items()}
        for among in drawn.values():
            check_copies(among.reference, self.neighbours)  # now rather than in `score`
        self.references_, self.rows_ = drawn, rows
        return self

    def score(self, features: AnyFeatures, predicted: Labels | None = None) -> PerCase:
        """Mean over layers of the LID, (n,) in float64, above 0, differentiable; `predicted` is not used.

        Layers that are float32 in `fit` and here are done in float32 where that is within 1e-4 of float64, as
        `local_dimensionality` says; all else in float64.

        Raises:
            NotFittedError: before `fit`.
            InputError: a layer is missing, or has another number of channels.
        """
        return torch.stack(list(self.layer_scores(features).values())).mean(dim=0)

    def layer_scores(self, features: AnyFeatures, predicted: Labels | None = None) -> dict[str, PerCase]:
        """The score of each layer alone, (n,) by name."""
        self.check_fitted()
        widths = {name: among.reference.shape[1] for name, among in self.references_.items()}
        layers = as_given(features, widths, "LID")
        return {name: _on(z, self.references_[name]).estimate(z) for name, z in layers.items()}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The minibatch by layer and parameters.

        Raises:
            NotFittedError: before `fit`.
        """
        self.check_fitted()
        layers = self.layers_as_json()
        values = {"neighbours": self.neighbours, "minibatch": self.minibatch, "layers": layers, "seed": self.seed}
        tensors = {f"{name}|reference": among.reference for name, among in self.references_.items()}
        return {"rows": self.rows_, **tensors}, {**values, "fitted": list(self.references_)}

    @classmethod
    def restore(cls, tensors: dict[str, Tensor], values: dict[str, Any]) -> Self:
        """From what `state` gave."""
        names = ("minibatch", "layers", "seed")
        detector = cls(values["neighbours"], **{name: values[name] for name in names})
        detector.rows_ = tensors["rows"]
        detector.references_ = {
            name: LocalDimensionality(tensors[f"{name}|reference"], detector.neighbours) for name in values["fitted"]
        }
        return detector


def _on(z: Tensor, among: LocalDimensionality) -> LocalDimensionality:
    """The same on the device of `z`, in its own precision."""
    return among.to(among.reference.to(z.device))


def draw_minibatch(labels: Labels, size: int, *, seed: int) -> Tensor:
    """Rows of at most `size` cases, drawn without replacement, each class within one case of its share.

    Shuffled cases are sorted by class, and every (n / size)-th is taken.

    Args:
        labels: classes (n,).
        size: number of cases; all n where there are fewer.
        seed: of the shuffling.

    Returns:
        (min(size, n),), int64, on the CPU.

    Example:
        >>> labels = torch.tensor([0] * 80 + [1] * 20)
        >>> labels[draw_minibatch(labels, 10, seed=0)].bincount()
        tensor([8, 2])
    """
    n, size = len(labels), min(size, len(labels))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    order = order[labels.cpu()[order].argsort(stable=True)]
    return order[(2 * torch.arange(size) + 1) * n // (2 * size)]
