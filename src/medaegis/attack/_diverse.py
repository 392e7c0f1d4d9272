"""Diverse input: each pass sees each image at a random size and place."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from medaegis._errors import is_number, require
from medaegis._types import Images
from medaegis.attack._random import CaseRandom


@dataclass(frozen=True)
class DiverseInput:
    """With a probability, shrink an image to a random share of its size and pad it with zeros at random places.

    Every case draws for itself. Sizes keep the images' proportions, and results have the images' own size, so that a
    network with dense layers can read them; the paper enlarges from 299 to 330 instead, the same ratio.

    Args:
        smallest: smallest share of each side, (0, 1]; 0.9 is 299/330.
        probability: of the change, [0, 1].

    Raises:
        InputError: an argument is out of range.

    Source: Xie et al. 2019, eq. 5; sizes per case are drawn uniformly, interpolation is nearest-neighbour.

    Example:
        >>> DiverseInput(0.5, 1.0)(torch.ones(1, 1, 8, 8), CaseRandom.from_seeds([0])).mean() < 1
        tensor(True)
    """

    smallest: float = 0.9
    probability: float = 0.5

    def __post_init__(self) -> None:
        good = is_number(self.smallest) and 0 < self.smallest <= 1
        require(good, "smallest", "dim", "a share of the image's side in (0, 1]", self.smallest)
        good = is_number(self.probability) and 0 <= self.probability <= 1
        require(good, "probability", "dim", "a number in [0, 1]", self.probability)

    @property
    def random(self) -> bool:
        """True."""
        return True

    def __call__(self, x: Images, random: CaseRandom) -> Images:
        """The images (b, c, *space), each at its own size and place."""
        draws = random.uniform((2 + x.dim() - 2,), torch.empty(0, dtype=torch.float64)).tolist()
        cases = [self._one(case, draw) for case, draw in zip(x.split(1), draws, strict=True)]
        layout = torch.channels_last if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last) else None
        whole = torch.cat(cases)
        return whole if layout is None else whole.contiguous(memory_format=layout)

    def _one(self, x: Tensor, draw: list[float]) -> Tensor:
        chance, share, *places = draw
        if chance >= self.probability:
            return x
        full = x.shape[2:]
        least = [max(1, int(side * self.smallest)) for side in full]
        sides = [low + int(share * (side - low + 1)) for side, low in zip(full, least, strict=True)]
        before = [int(place * (side - new + 1)) for place, side, new in zip(places, full, sides, strict=True)]
        ends = [(start, side - new - start) for start, side, new in zip(before, full, sides, strict=True)]
        small = functional.interpolate(x, size=sides, mode="nearest")
        return functional.pad(small, [width for pair in reversed(ends) for width in pair])
