"""What a detector that learns from attacks is fitted on: features of images that are not, and that are, adversarial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from medaegis._types import Labels, LayerFeatures

AnyFeatures = Tensor | LayerFeatures
"""One layer's features (n, d), or layer names with such tensors; for detectors that say so, maps (n, c, g, g)."""


class Examples(NamedTuple):
    """Features of AdvTrain cases, none of which is in Train or AdvTest.

    Attributes:
        negative: of clean images, and of noisy ones where noise must pass.
        positive: of successful adversarial examples of the attack that is learned.
        negative_predicted: classes that the network predicts for the negatives, (n_neg,); for detectors that ask.
        positive_predicted: the same for the positives, (n_pos,).
        negative_groups: patient of each negative, so that what is held out for validation shares none; None: unknown.
        positive_groups: the same for the positives.

    Example:
        >>> import torch
        >>> Examples(torch.zeros(2, 3), torch.ones(2, 3)).positive_predicted is None
        True
    """

    negative: AnyFeatures
    positive: AnyFeatures
    negative_predicted: Labels | None = None
    positive_predicted: Labels | None = None
    negative_groups: Sequence[str] | None = None
    positive_groups: Sequence[str] | None = None
