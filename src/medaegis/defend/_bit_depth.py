"""Bit depth: fewer levels a pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from medaegis._errors import is_int, require
from medaegis._types import Images
from medaegis.defend._cushion import Cushion

SWING = 0.5
"""By how much the surrogate's slope swings around 1: between 0.5 at a level and 1.5 half-way between two."""


@dataclass(frozen=True)
class BitDepth(Cushion):
    """Images at the nearest of 2^(8 - drop) even levels from black to white.

    With L = 2^(8 - drop) - 1, a pixel x becomes round(x L) / L; half-way values go to the even level. Black and white
    stay what they are, and doing it twice changes nothing. Clearing the last bits of a byte instead would darken
    every image by (2^drop - 1) / 2 levels of 255 on average, and white most.

    The surrogate is a smooth staircase, (t - sin(2 pi t) / (4 pi)) / L with t = x L: right at every level, and its
    slope lies between 1/2 (at a level) and 3/2 (where a step is near). It is positive, so attacks by signs take the
    same steps as with the identity; attacks by directions prefer pixels that can change their level.

    Args:
        drop: how many of 8 bits are lost, from 1 to 7; Medical Aegis has 3 and 4.

    Raises:
        InputError: `drop` is no int from 1 to 7.

    Source: Medical Aegis, Table 5 ("Bit-3", "Bit-4"); Xu et al. 2018 (feature squeezing).

    Example:
        >>> x = torch.tensor([0.0, 0.02, 0.5, 1.0]).reshape(1, 1, 2, 2)
        >>> (BitDepth(drop=4).apply(x) * 15).flatten().tolist()
        [0.0, 0.0, 8.0, 15.0]
    """

    drop: int = 3

    def __post_init__(self) -> None:
        good = is_int(self.drop) and 1 <= self.drop <= 7
        require(good, "drop", "BitDepth", "an int from 1 to 7", self.drop, "It is the number of bits that are lost.")

    def exact(self, x: Images) -> Images:
        """round(x L) / L, computed in float64."""
        return x.double().mul(self._top).round_().div_(self._top).to(x.dtype)

    def surrogate(self, x: Images) -> Images:
        """The smooth staircase."""
        t = x * self._top
        return (t - SWING * torch.sin(2 * math.pi * t) / (2 * math.pi)) / self._top

    @property
    def _top(self) -> int:
        return 2 ** (8 - self.drop) - 1
