"""The L2 ball: exact in rational arithmetic, uniform starts, both meanings of its budget."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from medaegis import InputError
from medaegis.attack import L2, CaseRandom, Iterate, L2Step, l2_size, pgd_l2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("eps", [0.03, 8 / 256, 1e-4, 1e-9, 0.5])
@pytest.mark.parametrize("norm", ["rms", "l2"])
def test_ball_holds_for_the_stored_numbers(dtype, eps, norm) -> None:
    generator = torch.Generator().manual_seed(0)
    x0 = torch.rand(2, 1, 6, 7, generator=generator, dtype=torch.float64).to(dtype)
    x0[0, 0, 0] = torch.tensor([0, 1, 2**-149, 1e-40, 1 - 2**-24, 1e-10, 0.5]).to(dtype)
    region = L2(eps, norm).around(x0)
    wanted = (x0 + torch.randn(x0.shape, generator=generator, dtype=torch.float64)).to(dtype)
    made = region.project(wanted)
    assert made.min() >= 0
    assert made.max() <= 1
    limit = Fraction(eps) ** 2 * (x0[0].numel() if norm == "rms" else 1)
    for case, clean in zip(made.flatten(1).tolist(), x0.flatten(1).tolist(), strict=True):
        squared = sum((Fraction(a) - Fraction(b)) ** 2 for a, b in zip(case, clean, strict=True))
        assert squared <= limit


def test_projection_scales_along_the_perturbation_and_keeps_what_is_inside() -> None:
    x0 = torch.full((1, 1, 2, 2), 0.5, dtype=torch.float64)
    region = L2(0.1).around(x0)
    far = x0 + torch.tensor([[[[0.4, -0.4], [0.4, -0.4]]]], dtype=torch.float64)
    torch.testing.assert_close(region.project(far.clone()), x0 + (far - x0) / 4, rtol=0, atol=1e-12)
    walled = torch.tensor([[[[-3.0, 0.5], [0.5, 1.5]]]], dtype=torch.float64)
    cut = x0 + torch.tensor([[[[-0.5, 0.0], [0.0, 0.5]]]], dtype=torch.float64)
    torch.testing.assert_close(region.project(walled), region.project(cut), rtol=0, atol=0)  # the range goes first
    near = x0 + 0.05
    assert torch.equal(region.project(near.clone()), near)


def test_start_is_uniform_in_the_ball() -> None:
    """The share of starts within radius r of a ball in d dimensions is r^d."""
    x0 = torch.full((4000, 1, 1, 3), 0.5, dtype=torch.float64)
    start = L2(0.1, "l2").around(x0).start(CaseRandom.from_seeds(range(4000)))
    radius = l2_size(start - x0, "l2") / 0.1
    assert (radius < 0.5).double().mean().item() == pytest.approx(0.125, abs=0.02)
    assert (start - x0).mean().abs() < 0.002


@pytest.mark.parametrize(("norm", "length"), [("rms", 0.1 * 6**0.5), ("l2", 0.1)])
def test_step_has_its_length_whatever_the_gradients_size(norm, length) -> None:
    gradient = torch.randn(3, 1, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for scale in (1e-200, 1.0, 1e200):
        now = Iterate(torch.zeros_like(gradient), gradient * scale, torch.zeros(3), 0, 1, lambda p: p)
        moved, _ = L2Step(0.1, norm).update(now, None)
        torch.testing.assert_close(l2_size(moved, "l2"), torch.full((3,), length, dtype=torch.float64))
        assert ((moved * gradient).flatten(1).sum(dim=1) < 0).all()


def test_defaults_and_errors() -> None:
    assert (pgd_l2(eps=8 / 256).steps, pgd_l2(eps=8 / 256).constraint) == (800, L2(8 / 256, "rms"))
    assert pgd_l2(eps=3.0, norm="l2").steps == 100
    with pytest.raises(InputError, match="did you mean 8/256"):
        pgd_l2(eps=8)
    with pytest.raises(InputError, match="norm` of L2"):
        pgd_l2(eps=0.1, norm="max")
    with pytest.raises(InputError, match="eps` of L2"):
        pgd_l2(eps=-1.0, norm="l2")
