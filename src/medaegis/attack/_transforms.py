"""What happens to an image on its way into the network: differentiable, random only through the draws it is handed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from medaegis._types import Images
from medaegis.attack._random import CaseRandom


class InputTransform(Protocol):
    """An interface: from images to images, differentiable."""

    def __call__(self, x: Images, random: CaseRandom) -> Images:
        """The transformed images (b, c, *space)."""
        ...


@dataclass(frozen=True)
class Identity:
    """The image itself.

    Example:
        >>> import torch
        >>> Identity()(torch.zeros(1, 1, 2, 2), CaseRandom(())).shape
        torch.Size([1, 1, 2, 2])
    """

    def __call__(self, x: Images, random: CaseRandom) -> Images:
        """`x`, untouched."""
        return x
