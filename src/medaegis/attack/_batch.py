"""What an attack gets and gives for one batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from medaegis._types import Images, Labels
from medaegis.attack._objectives import Goal
from medaegis.attack._random import CaseRandom
from medaegis.models import Taps


class Batch(NamedTuple):
    """One batch to attack.

    Attributes:
        taps: the network's frozen fast copy, with the layers that the attack reads.
        layout: memory format that images should have.
        x0: clean images (b, c, *space) in that format.
        goal: true and wanted classes.
        random: generators of the cases.
        advance: is told the number of case-steps done, for the progress bar.
    """

    taps: Taps
    layout: torch.memory_format
    x0: Images
    goal: Goal
    random: CaseRandom
    advance: Callable[[int], None]

    def rows(self, index: Tensor) -> Batch:
        """The batch of some of the cases."""
        x0 = self.x0[index].contiguous(memory_format=self.layout)
        return self._replace(x0=x0, goal=self.goal.rows(index), random=self.random.rows(index))


class Made(NamedTuple):
    """What an attack made of one batch.

    Attributes:
        x: adversarial images (b, c, *space).
        zero: steps (b,) at which the case's whole gradient was zero or not finite.
        stuck: those of them (b,) at which the case was not fooled.
        taken: gradient steps (b,) that the case took part in.
    """

    x: Images
    zero: Labels
    stuck: Labels
    taken: Labels
