"""Random draws that belong to a case: they do not depend on which other cases share its batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class CaseRandom:
    """One CPU generator a case, so that results are equal for every batch size, neighbourhood and device.

    Args:
        generators: one for each of the b cases.

    Example:
        >>> both = CaseRandom.from_seeds([1, 2]).uniform((3,), torch.zeros(0))
        >>> torch.equal(both[1:], CaseRandom.from_seeds([2]).uniform((3,), torch.zeros(0)))
        True
    """

    generators: tuple[torch.Generator, ...]

    @staticmethod
    def from_seeds(seeds: Sequence[int]) -> CaseRandom:
        """A generator for each seed."""
        return CaseRandom(tuple(torch.Generator().manual_seed(int(seed)) for seed in seeds))

    def rows(self, index: Tensor) -> CaseRandom:
        """The generators of some of the cases, the very same ones."""
        return CaseRandom(tuple(self.generators[i] for i in index.tolist()))

    def uniform(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """(b, *shape) draws from U(0, 1), with the dtype and device of `like`."""
        return self._each(torch.rand, shape, like)

    def normal(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """(b, *shape) draws from N(0, 1), with the dtype and device of `like`."""
        return self._each(torch.randn, shape, like)

    def _each(self, draw: Callable[..., Tensor], shape: Sequence[int], like: Tensor) -> Tensor:
        drawn = [draw(tuple(shape), generator=generator, dtype=like.dtype) for generator in self.generators]
        return torch.stack(drawn).to(like.device)


def case_seeds(n: int, generator: torch.Generator | None) -> Tensor:
    """One seed a case, (n,) int64, drawn from `generator` in the order of the cases; None stands for seed 0.

    Example:
        >>> case_seeds(2, torch.Generator().manual_seed(3)).shape
        torch.Size([2])
    """
    source = torch.Generator().manual_seed(0) if generator is None else generator
    return torch.randint(2**62, (n,), generator=source, device=source.device).cpu()
