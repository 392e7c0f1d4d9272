"""Memory: which batches it keeps, and that what it draws belongs together."""

from __future__ import annotations

import pytest
import torch

from medaegis.defend._shield_memory import Attacked, Memory


def batch(first: int, n: int) -> Attacked:
    """Cases first, first + 1, …: every part of a case says which one it is."""
    number = torch.arange(first, first + n)
    clean = {"a": number.float().reshape(n, 1, 1, 1), "b": number.float().reshape(n, 1) * 10}
    return Attacked(clean, number, {name: -z for name, z in clean.items()}, number + 1000)


def filled(cases: int) -> Memory:
    memory = Memory(cases)
    for first in (0, 4, 8):
        memory.add(batch(first, 4))
    return memory


@pytest.mark.parametrize(("cases", "oldest"), [(1, 8), (4, 8), (7, 8), (8, 4), (11, 4), (12, 0), (99, 0)])
def test_the_oldest_batches_are_forgotten(cases: int, oldest: int) -> None:
    drawn = filled(cases).drawn(400, torch.Generator().manual_seed(0))
    assert set(drawn.label.tolist()) == set(range(oldest, 12))


def test_a_drawn_case_keeps_its_parts_together() -> None:
    drawn = filled(12).drawn(50, torch.Generator().manual_seed(1))
    assert drawn.label.shape == (50,)
    assert torch.equal(drawn.clean["a"].flatten().long(), drawn.label)
    assert torch.equal(drawn.clean["b"].flatten().long(), 10 * drawn.label)
    assert torch.equal(drawn.adversarial["a"], -drawn.clean["a"])
    assert torch.equal(drawn.target, drawn.label + 1000)


def test_cases_are_drawn_evenly_from_batches_of_different_sizes() -> None:
    memory = Memory(99)
    memory.add(batch(0, 9))
    memory.add(batch(9, 1))
    counts = memory.drawn(5000, torch.Generator().manual_seed(2)).label.bincount(minlength=10)
    assert (counts - 500).abs().max() < 100  # standard deviation 21


def test_equal_generators_draw_equal_cases() -> None:
    one, two = (filled(12).drawn(8, torch.Generator().manual_seed(3)).label for _ in range(2))
    assert torch.equal(one, two)
