"""BU: a case is adversarial where the logits waver when a part of its features is dropped."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from medaegis._errors import NotFittedError, is_int, is_number, require
from medaegis._types import Labels, PerCase
from medaegis.detect._detector import Detector, by_layer, check_fit, to_score
from medaegis.detect._examples import AnyFeatures, Examples
from medaegis.measure._head import Weight, head_weight


class BU(Detector):
    """Bayesian uncertainty: the variance of the logits, summed over classes, under dropout of the penultimate features.

    With masks m_n (kept: 1, dropped: 0) and l_n = W (m_n z / (1 - p)), the score is mean_n l_n^T l_n - (mean_n l_n)^T
    (mean_n l_n); the head's bias cancels. Only the last dense layer is passed N times, on features of one ordinary pass
    of the network. All cases share the N masks, so that a score is repeatable and does not depend on its batch.

    Args:
        passes: N; None takes the limit of many passes, p / (1 - p) sum_j z_j^2 sum_i W_ij^2.
        dropout: p, the probability with which a feature is dropped; kept ones are divided by 1 - p.
        seed: of the masks.

    Attributes:
        layer_: name of the fitted layer; "" for a tensor.
        width_: d, its number of channels.
        masks_: (N, d) bool, which features each pass keeps; None where `passes` is None.
        head_: (k, d) the weight of the network's last dense layer, which `prepare` took.

    Source: Feinman et al. 2017; HFC-23 eq. 21 with N = 50, p = 0.3. The released code takes the standard deviation of
    one logit.

    Example:
        >>> net = nn.Linear(2, 2)
        >>> z = torch.tensor([[0.1, 0.1], [0.2, 0.1], [5.0, 5.0]])
        >>> bu = BU().prepare(net).fit(z[:2], torch.tensor([0, 0]))
        >>> bool(bu.score(z)[2] > bu.score(z)[0])
        True
    """

    fitted_attribute: ClassVar[str] = "width_"

    head_: Weight | None = None
    width_: int | None = None

    def __init__(self, passes: int | None = 50, *, dropout: float = 0.3, seed: int = 0) -> None:
        good = passes is None or (is_int(passes) and passes >= 2)
        require(good, "passes", "BU", "an int >= 2, or None for the limit of many passes", passes)
        require(is_number(dropout) and 0 < dropout < 1, "dropout", "BU", "a number between 0 and 1", dropout)
        require(is_int(seed), "seed", "BU", "an int", seed)
        self.passes, self.dropout, self.seed = passes, dropout, seed

    def prepare(self, model: nn.Module) -> Self:
        """Copy the weight of the network's last dense layer; the network is neither run nor changed.

        Args:
            model: any network with an `nn.Linear` at its end, whose input is the penultimate feature.

        Raises:
            InputError: there is no dense layer, or it takes another number of channels than those that were fitted.
        """
        weight = head_weight(model)
        _check_width(weight, self.width_)
        self.head_ = weight
        return self

    def fit(self, features: AnyFeatures, labels: Labels, *, examples: Examples | None = None) -> Self:
        """Draw the masks for as many channels as the penultimate layer has; nothing is learned from the cases.

        Args:
            features: penultimate features (n, d), or a mapping with this layer alone.
            labels: classes (n,).
            examples: not used.

        Raises:
            InputError: several layers, shapes do not fit, a class has one case, features are not finite, or the head
                takes another number of channels.
        """
        layers = by_layer(features, "BU")
        check_fit(layers, labels, "BU")
        rule = "of one layer, the input of the network's last dense layer"
        require(len(layers) == 1, "features", "BU", rule, list(layers), "Take layers='penultimate'.")
        (name, z), *_ = layers.items()
        _check_width(self.head_, z.shape[1])
        self.layer_, self.width_ = name, z.shape[1]
        self.masks_ = None if self.passes is None else _masks(self.passes, z.shape[1], self.dropout, self.seed)
        return self

    def score(self, features: AnyFeatures, predicted: Labels | None = None) -> PerCase:
        """Variance of the logits, (n,) in float64, differentiable; `predicted` is not used.

        Raises:
            NotFittedError: before `fit` or before `prepare`.
            InputError: the layer is missing, or has another number of channels.
        """
        head = self._head()
        z = to_score(features, {self.layer_: head.shape[1]}, "BU")[self.layer_]
        if self.masks_ is None:
            return _exact_variance(z, head.to(z), self.dropout)
        return _variance(z, head.to(z), self.masks_.to(z) / (1 - self.dropout))

    def fitted_layers(self) -> tuple[str, ...]:
        """Name of the layer that `fit` got.

        Raises:
            NotFittedError: before `fit`.
        """
        self.check_fitted()
        return (self.layer_,)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The head's weight and the masks.

        Raises:
            NotFittedError: before `fit` or before `prepare`.
        """
        head = self._head()
        tensors = {"head": head} if self.masks_ is None else {"head": head, "masks": self.masks_}
        return tensors, {"passes": self.passes, "dropout": self.dropout, "seed": self.seed, "layer": self.layer_}

    @classmethod
    def restore(cls, tensors: dict[str, Tensor], values: dict[str, Any]) -> Self:
        """From what `state` gave."""
        detector = cls(values["passes"], dropout=values["dropout"], seed=values["seed"])
        detector.head_, detector.layer_ = tensors["head"], values["layer"]
        detector.width_ = detector.head_.shape[1]
        detector.masks_ = None if detector.passes is None else tensors["masks"]
        return detector

    def _head(self) -> Weight:
        self.check_fitted()
        if self.head_ is None:
            raise NotFittedError("BU has no head yet: call prepare(model) first, with the network of these features.")
        return self.head_


def _check_width(weight: Weight | None, width: int | None) -> None:
    if weight is not None and width is not None:
        rule = f"a network whose last dense layer takes the {width} channels of the fitted features"
        require(weight.shape[1] == width, "model", "BU", rule, tuple(weight.shape))


def _masks(passes: int, d: int, dropout: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(passes, d, generator=generator, dtype=torch.float64) >= dropout


def _variance(z: Tensor, weight: Tensor, factors: Tensor) -> Tensor:
    """Variance over passes, summed over classes: factors (N, d) are centred first, so that nothing cancels."""
    centred = factors - factors.mean(dim=0)
    return torch.stack([((z * row) @ centred.T).square().mean(dim=1) for row in weight]).sum(dim=0)


def _exact_variance(z: Tensor, weight: Tensor, dropout: float) -> Tensor:
    return dropout / (1 - dropout) * (z.square() @ weight.square().sum(dim=0))
