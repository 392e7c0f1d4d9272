"""What the reference mode `"hfc-2021"` is a function of, and what comes out."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from medaegis._errors import require
from medaegis._types import Labels, LayerFeatures, PerCase, Tapped
from medaegis.measure._head import Weight

REFERENCE = "hfc-2021"
"""Name of the mode in settings and tables."""


class LayerScores(NamedTuple):
    """One score a layer, (n, L), of the four sets that the released code records.

    Attributes:
        learn_clean: of clean cases that detectors learn from.
        learn_adversarial: of the conventional attack on them.
        test_clean: of clean cases that are scored.
        test_adversarial: of the conventional attack on those.
    """

    learn_clean: Tensor
    learn_adversarial: Tensor
    test_clean: Tensor
    test_adversarial: Tensor


class ReleasedData(NamedTuple):
    """Everything that the released detectors see, also while they are fitted: there is no `fit` apart from `score`.

    All sets have the same layers; `"penultimate"` is among them.

    Attributes:
        train: Train features by layer.
        labels: classes of Train.
        learn_clean: clean cases that detectors learn from.
        learn_adversarial: the conventional attack on them, successful or not, in their order.
        test_clean: clean cases that are scored.
        test_adversarial: the conventional attack on those, in their order.
        hidden: the attack that hides, on those cases; None: the conventional attack itself is scored.
        weight: of the network's last dense layer, (k, d); for BU.
        distances: MAHA's, after the released input step (`stepped_distances`); None: without a step.
    """

    train: LayerFeatures
    labels: Labels
    learn_clean: Tapped
    learn_adversarial: Tapped
    test_clean: Tapped
    test_adversarial: Tapped
    hidden: Tapped | None = None
    weight: Weight | None = None
    distances: LayerScores | None = None

    @property
    def scored(self) -> Tapped:
        """The adversarial examples that are scored."""
        return self.test_adversarial if self.hidden is None else self.hidden


class ReleasedScores(NamedTuple):
    """Scores under the released code's choices; higher means more adversarial.

    Attributes:
        clean: of the clean test cases, (n,).
        adversarial: of the adversarial test cases, (n,).
    """

    clean: PerCase
    adversarial: PerCase


def layer_of(part: Tapped | LayerFeatures, layer: str) -> Tensor:
    """Features (n, d) of one layer in float64, without a graph.

    Raises:
        InputError: the layer is missing.

    Example:
        >>> import torch
        >>> layer_of({"penultimate": torch.zeros(2, 3)}, "penultimate").dtype
        torch.float64
    """
    features = part.features if isinstance(part, Tapped) else part
    require(layer in features, "features", REFERENCE, f"with the layer {layer}", list(features))
    return features[layer].detach().cpu().double()
