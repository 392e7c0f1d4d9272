"""An attacker's transform: JPEG of a quality that is drawn for each image and pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from medaegis._errors import is_int, require
from medaegis._types import Images
from medaegis.attack import CaseRandom
from medaegis.defend._jpeg import JPEG


@dataclass(frozen=True)
class JPEGDraws:
    """Each image through JPEG of one of several qualities, drawn anew, with the codec's surrogate gradient.

    Averaged over a few draws (`Attack.through(JPEGDraws(), draws=3)`) this is expectation over transformation (EOT):
    gradients that do not lean on the rounding of one quality.

    Args:
        qualities: what is drawn from.

    Raises:
        InputError: there is no quality, or one is no int from 1 to 100.

    Source: Athalye et al. 2018, section 4.2.

    Example:
        >>> random = CaseRandom.from_seeds([1, 2])
        >>> JPEGDraws((90, 70))(torch.rand(2, 1, 16, 16), random).shape
        torch.Size([2, 1, 16, 16])
    """

    qualities: tuple[int, ...] = (95, 90, 85, 80, 75, 70)
    random = True

    def __post_init__(self) -> None:
        good = len(self.qualities) > 0 and all(is_int(q) and 1 <= q <= 100 for q in self.qualities)
        require(good, "qualities", "JPEGDraws", "ints from 1 to 100, at least one", self.qualities)

    def __call__(self, x: Images, random: CaseRandom) -> Images:
        """The images (b, c, *space) after the codec."""
        drawn = (random.uniform((), x.detach()).double() * len(self.qualities)).long().tolist()
        parts = [JPEG(self.qualities[k]).bpda()(x[i : i + 1]) for i, k in enumerate(drawn)]
        return torch.cat(parts)
