"""Tensor shapes and units, said once.

Sizes in names and annotations: n cases, b cases of one batch, c channels, h w height and width, k classes,
d features of one layer. Images are float32 in [0, 1], channels first, with one to three spatial dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from jaxtyping import Bool, Float, Int
from torch import Tensor

Images: TypeAlias = Float[Tensor, "n c *space"]
Labels: TypeAlias = Int[Tensor, " n"]
Logits: TypeAlias = Float[Tensor, "n k"]
Features: TypeAlias = Float[Tensor, "n d"]
PerCase: TypeAlias = Float[Tensor, " n"]
Flags: TypeAlias = Bool[Tensor, " n"]
LayerFeatures: TypeAlias = Mapping[str, Features]

PIXEL_RANGE = (0.0, 1.0)


class Tapped(NamedTuple):
    """What one pass through a network gives: logits and the features that were asked for.

    Attributes:
        logits: (n, k).
        features: by layer name, the spatial mean of each channel, (n, C_l), or maps, pooled (n, C_l, g, …) or whole,
            where they were asked for; the name `"penultimate"` is the input of the last dense layer.
    """

    logits: Logits
    features: dict[str, Features]
