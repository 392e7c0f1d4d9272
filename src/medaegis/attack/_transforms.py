"""What the attacker does to an image on its way into the network; random only through the draws it is handed.

Results are judged without it: what a deployed system does to an image belongs into the model (`Preprocessed`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from medaegis._types import Images
from medaegis.attack._random import CaseRandom


class InputTransform(Protocol):
    """An interface: from images to images, differentiable."""

    @property
    def random(self) -> bool:
        """Whether it draws random numbers."""
        ...

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

    random = False

    def __call__(self, x: Images, random: CaseRandom) -> Images:
        """`x`, untouched."""
        return x


@dataclass(frozen=True)
class Chain:
    """Several transforms, the first one first; what `Attack.through` makes.

    Example:
        >>> import torch
        >>> Chain((Identity(), Identity()))(torch.zeros(1, 1, 2, 2), CaseRandom(())).shape
        torch.Size([1, 1, 2, 2])
    """

    parts: tuple[InputTransform, ...]

    @property
    def random(self) -> bool:
        """Whether a part draws random numbers."""
        return any(part.random for part in self.parts)

    def __call__(self, x: Images, random: CaseRandom) -> Images:
        """The images after all parts."""
        for part in self.parts:
            x = part(x, random)
        return x
