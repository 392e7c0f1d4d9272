"""Bit depth: levels by hand, and the surrogate's slope."""

from __future__ import annotations

import pytest
import torch

from medaegis import InputError
from medaegis.defend import BitDepth


@pytest.mark.parametrize(("drop", "top"), [(1, 127), (3, 31), (4, 15), (7, 1)])
def test_levels_are_even_from_black_to_white(drop, top) -> None:
    x = torch.linspace(0, 1, 5001, dtype=torch.float64).reshape(1, 1, 1, -1)
    made = BitDepth(drop).apply(x)
    assert torch.equal(made.unique() * top, torch.arange(top + 1).double())
    assert (made - x).abs().max() <= 0.5 / top + 1e-12
    assert (made.diff() >= 0).all()


def test_half_way_values_go_to_the_even_level() -> None:
    x = torch.tensor([0.5, 1.5, 2.5, 14.5]).double().reshape(1, 1, 1, 4) / 15
    assert (BitDepth(4).apply(x) * 15).flatten().tolist() == [0, 2, 2, 14]


def test_one_axis_is_enough() -> None:
    assert BitDepth().apply(torch.rand(2, 3, 7)).shape == (2, 3, 7)


@pytest.mark.parametrize("drop", [0, 8, 3.0, True, "3"])
def test_wrong_numbers_of_bits(drop) -> None:
    with pytest.raises(InputError, match="`drop` of BitDepth must be an int from 1 to 7"):
        BitDepth(drop)


def test_the_surrogate_is_right_at_levels_and_steepest_between_them() -> None:
    levels = (torch.arange(16).double() / 15).reshape(1, 1, 1, -1).requires_grad_()
    between = ((torch.arange(15).double() + 0.5) / 15).reshape(1, 1, 1, -1).requires_grad_()
    made = BitDepth(4).surrogate(levels)
    torch.testing.assert_close(made, levels)
    assert torch.allclose(torch.autograd.grad(made.sum(), levels)[0], torch.tensor(0.5).double())
    slope = torch.autograd.grad(BitDepth(4).surrogate(between).sum(), between)[0]
    assert torch.allclose(slope, torch.tensor(1.5).double())


def test_the_surrogate_is_nearer_than_the_identity() -> None:
    x = torch.rand(1, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    exact = BitDepth().apply(x)
    assert (BitDepth().surrogate(x) - exact).abs().mean() < 0.8 * (x - exact).abs().mean()
