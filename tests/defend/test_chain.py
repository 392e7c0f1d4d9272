"""Chains, and Cushions as JSON values."""

from __future__ import annotations

import pytest
import torch

from medaegis import InputError
from medaegis.defend import JPEG, BitDepth, Chain, TotalVariation, cushion_from_json


def test_parts_come_in_order() -> None:
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    one, other = Chain((BitDepth(4), JPEG(50))), Chain((JPEG(50), BitDepth(4)))
    assert torch.equal(one.apply(x), JPEG(50).apply(BitDepth(4).apply(x)))
    assert torch.equal(other.apply(x), BitDepth(4).apply(JPEG(50).apply(x)))


def test_each_surrogate_is_taken_at_what_its_part_really_sees() -> None:
    x = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    seen = BitDepth(5).apply(x).requires_grad_()
    weights = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    behind = torch.autograd.grad((JPEG(60).surrogate(seen) * weights).sum(), seen)[0]
    wanted = torch.autograd.grad((BitDepth(5).surrogate(x) * behind).sum(), x)[0]
    got = torch.autograd.grad((Chain((BitDepth(5), JPEG(60))).bpda()(x) * weights).sum(), x)[0]
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("parts", [(), [JPEG()], (JPEG(), "JPEG"), JPEG()], ids=["none", "list", "text", "one"])
def test_parts_that_are_none(parts) -> None:
    with pytest.raises(InputError, match="`parts` of Chain must be a tuple of at least one Cushion"):
        Chain(parts)


def test_the_stored_form_is_as_documented() -> None:
    chain = Chain((JPEG(70, "4:4:4"), BitDepth(4), TotalVariation(0.1)))
    assert chain.to_json() == {
        "cushion": "Chain",
        "parts": [
            {"cushion": "JPEG", "quality": 70, "subsampling": "4:4:4"},
            {"cushion": "BitDepth", "drop": 4},
            {"cushion": "TotalVariation", "weight": 0.1},
        ],
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("JPEG", "a mapping"),
        ({}, "`cushion` among"),
        ({"cushion": ["JPEG"]}, "`cushion` among"),
        ({"cushion": "Blur"}, "`cushion` among"),
        ({"cushion": "JPEG", "quality": 80}, "the settings .* of JPEG"),
        ({"cushion": "BitDepth", "drop": 3, "mode": 1}, "the settings .* of BitDepth"),
        ({"cushion": "BitDepth", "drop": 9}, "`drop` of BitDepth"),
        ({"cushion": "Chain", "parts": 5}, "`parts` of cushion_from_json must be a list"),
        ({"cushion": "Chain", "parts": [{"cushion": "Blur"}]}, "`cushion` among"),
    ],
)
def test_values_that_are_no_cushion(values, message) -> None:
    with pytest.raises(InputError, match=message):
        cushion_from_json(values)
