"""What a Shield's training remembers of its last batches, to learn from them again."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from medaegis._types import Labels


class Attacked(NamedTuple):
    """A batch of a Shield's training: maps by layer (b, c, *space) of clean images and of the attacked ones.

    Attributes:
        clean: maps of the clean images.
        label: (b,) their classes.
        adversarial: maps of the same images, attacked.
        target: (b,) the classes whose Shields the attacks raised.
    """

    clean: dict[str, Tensor]
    label: Labels
    adversarial: dict[str, Tensor]
    target: Labels

    def rows(self, index: Tensor) -> Attacked:
        """Some of its cases; positions may lie on the CPU."""
        index = index.to(self.label.device)
        clean, adversarial = ({name: z[index] for name, z in maps.items()} for maps in (self.clean, self.adversarial))
        return Attacked(clean, self.label[index], adversarial, self.target[index])

    @staticmethod
    def joined(parts: list[Attacked]) -> Attacked:
        """One batch after the other."""
        names = list(parts[0].clean)
        clean = {name: torch.cat([part.clean[name] for part in parts]) for name in names}
        adversarial = {name: torch.cat([part.adversarial[name] for part in parts]) for name in names}
        return Attacked(
            clean, torch.cat([part.label for part in parts]), adversarial, torch.cat([part.target for part in parts])
        )


class Memory:
    """The last batches, as many as hold at most `cases` cases, but always the last one.

    Example:
        >>> memory = Memory(cases=3)
        >>> for label in (0, 1, 2):
        ...     maps = {"a": torch.full((2, 1, 1, 1), float(label))}
        ...     memory.add(Attacked(maps, torch.tensor([label] * 2), maps, torch.tensor([0, 0])))
        >>> set(memory.drawn(4, torch.Generator()).label.tolist())
        {2}
    """

    def __init__(self, cases: int) -> None:
        self.cases = cases
        self.batches: list[Attacked] = []

    def add(self, batch: Attacked) -> None:
        """Remember a batch, and forget the oldest that have no room left."""
        self.batches.append(batch)
        while len(self.batches) > 1 and sum(len(one.label) for one in self.batches) > self.cases:
            del self.batches[0]

    def drawn(self, n: int, generator: torch.Generator) -> Attacked:
        """`n` of the cases, any of which may come more than once; drawn on the CPU."""
        ends = torch.tensor([len(one.label) for one in self.batches]).cumsum(0)
        wanted = torch.randint(int(ends[-1]), (n,), generator=generator)
        place = torch.searchsorted(ends, wanted, right=True)
        row = wanted - torch.cat([ends.new_zeros(1), ends[:-1]])[place]
        return Attacked.joined([self.batches[i].rows(row[place == i]) for i in place.unique().tolist()])
