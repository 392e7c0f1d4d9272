"""The two sides of the examples as one table, for detectors that learn from attacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from medaegis._errors import require
from medaegis._types import Flags
from medaegis.detect._detector import check_kind, to_score
from medaegis.detect._examples import Examples


class Stacked(NamedTuple):
    """Features of all examples, negatives first.

    Attributes:
        layers: (n, d), or maps, by layer, in float64, without a graph.
        positive: (n,) bool: the case is adversarial.
    """

    layers: dict[str, Tensor]
    positive: Flags


def stack_examples(
    examples: Examples | None, layers: Mapping[str, Tensor], owner: str, *, least: int, map_side: int | None = None
) -> Stacked:
    """Check the examples against the Train features and put their two sides into one table a layer.

    Args:
        examples: what was given to `fit`.
        layers: clean Train features by layer; examples need the same layers, of the same numbers of channels.
        owner: class of the detector.
        least: how many cases each side needs.
        map_side: as `by_layer` takes it.

    Raises:
        InputError: there are no examples, a side is too small, or a layer is missing, not finite, or of another width
            or kind.

    Example:
        >>> examples = Examples(torch.zeros(2, 3), torch.ones(1, 3))
        >>> stacked = stack_examples(examples, {"": torch.zeros(4, 3)}, "SVM", least=1)
        >>> stacked.layers[""].shape, stacked.positive
        (torch.Size([3, 3]), tensor([False, False,  True]))
    """
    fix = f"{owner} learns from attacks: fit(features, labels, examples=Examples(negative, positive))."
    require(examples is not None, "examples", owner, "features of clean and of adversarial cases", examples, fix)
    assert examples is not None
    widths = {name: z.shape[1] for name, z in layers.items()}
    names = f"{owner}'s negative examples", f"{owner}'s positive examples"
    low, high = (to_score(z, widths, n, map_side=map_side) for z, n in zip(examples[:2], names, strict=True))
    for side, name in zip((low, high), names, strict=True):
        check_kind(side, {layer: z.dim() for layer, z in layers.items()}, name)
    sizes = len(next(iter(low.values()))), len(next(iter(high.values())))
    require(min(sizes) >= least, "examples", owner, f"at least {least} negative and {least} positive cases", sizes)
    positive = torch.arange(sum(sizes), device=next(iter(low.values())).device) >= sizes[0]
    return Stacked({name: torch.cat([low[name], high[name]]).detach() for name in widths}, positive)
