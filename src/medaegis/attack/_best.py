"""The best iterate of each case so far."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from medaegis._types import Images, PerCase
from medaegis.attack._constraints import spatial


class Best(NamedTuple):
    """Images ranked by (fooled, undetected, objective): a fooled one before all others, whatever its objective.

    Attributes:
        x: the best images so far (b, c, *space).
        value: their objective (b,).
        rank: 0 not fooled; 1 fooled; 2 fooled and undetected, (b,).
    """

    x: Images
    value: PerCase
    rank: Tensor

    @staticmethod
    def start(x: Images) -> Best:
        """Anything is better than this."""
        value = torch.full((len(x),), torch.inf, dtype=x.dtype, device=x.device)
        return Best(x.clone(), value, torch.full((len(x),), -1, dtype=torch.int64, device=x.device))

    def better(self, x: Images, value: PerCase, rank: Tensor) -> Best:
        """The better of each case's two; the earlier one where they tie.

        Example:
            >>> best = Best.start(torch.zeros(1, 1)).better(torch.ones(1, 1), torch.tensor([5.0]), torch.tensor([1]))
            >>> best.better(torch.ones(1, 1) * 2, torch.tensor([0.0]), torch.tensor([0])).x
            tensor([[1.]])
        """
        wins = (rank > self.rank) | ((rank == self.rank) & (value < self.value))
        chosen = torch.where(spatial(wins, x.shape), x, self.x)
        return Best(chosen, torch.where(wins, value, self.value), torch.where(wins, rank, self.rank))
