"""Margin objectives: the pitfalls of masking by multiplication, of few classes and of scaled logits."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from contracts.attack_list import small_net, steerable, world
from medaegis import InputError, Tapped
from medaegis.attack import (
    DifferenceOfLogitsRatio,
    Goal,
    Margin,
    ScaledMargin,
    apgd,
    cw_linf,
    logit_gap,
    run_attack,
)

LOGITS = torch.tensor([[1.0, 4.0, 2.0], [-5.0, -9.0, -7.0], [3.0, 3.0, 0.0]])


@pytest.mark.parametrize("constant", [-50.0, 0.0, 50.0])
def test_margin_by_hand_at_any_offset(constant) -> None:
    label, target = torch.tensor([1, 0, 0]), torch.tensor([2, 1, 2])
    tapped = Tapped(LOGITS + constant, {})
    assert Margin()(tapped, Goal(label, target)).tolist() == [2.0, 4.0, 3.0]
    assert Margin()(tapped, Goal(label, None)).tolist() == [2.0, 2.0, 0.0]
    assert Margin(0.0)(tapped, Goal(target, None)).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("targeted", [True, False])
def test_floor_stops_a_case_without_calling_it_weak(targeted) -> None:
    w = steerable("gray")
    w = w if targeted else w._replace(target=None)
    made = run_attack(cw_linf(eps=0.3, steps=40, kappa=0.05), w.net, w.x, w.y, target=w.target)
    assert made.fooled.all()
    assert made.zero_gradient.sum() > 0
    assert made.stuck.sum() == 0
    assert (made.objective == -0.05).all()
    deep = run_attack(cw_linf(eps=0.3, steps=40), w.net, w.x, w.y, target=w.target)
    assert (deep.objective < made.objective).all()


@pytest.mark.parametrize("factor", [1e-6, 1e-3, 1e3, 1e6])
@pytest.mark.parametrize("loss", ["margin", "dlr"])
def test_apgd_does_not_feel_the_scale_of_logits(factor, loss) -> None:
    w = world("rgb", 5, True)

    class Scaled(nn.Module):
        def forward(self, x):
            return factor * w.net(x)

    attack = apgd(eps=0.03, steps=20, loss=loss)
    one, other = (run_attack(attack, net, w.x, w.y, target=w.target) for net in (w.net, Scaled()))
    torch.testing.assert_close(one.x, other.x, rtol=0, atol=1e-9)
    torch.testing.assert_close(one.objective, other.objective, rtol=1e-6, atol=1e-9)


def test_scaled_margin_is_defined_for_two_classes_and_dlr_says_that_it_is_not() -> None:
    w = steerable("gray")._replace(target=None)
    assert run_attack(apgd(eps=0.3, steps=30), w.net, w.x, w.y).fooled.all()
    with pytest.raises(InputError, match=r"`loss` of apgd .*at least 3 classes.*2 classes.*loss='margin'"):
        run_attack(apgd(eps=0.3, loss="dlr"), w.net, w.x, w.y)
    three = small_net(1, 3).double()
    with pytest.raises(InputError, match="at least 4 classes"):
        run_attack(apgd(eps=0.3, loss="dlr"), three, w.x, w.y, target=w.y + 1)


def test_dlr_by_hand() -> None:
    logits = torch.tensor([[5.0, 3.0, 2.0, 0.0]])
    loss = DifferenceOfLogitsRatio()
    assert loss(Tapped(logits, {}), Goal(torch.tensor([0]), None)).item() == pytest.approx(2 / 3)
    assert loss(Tapped(logits, {}), Goal(torch.tensor([0]), torch.tensor([3]))).item() == pytest.approx(5 / 4)


def test_scaled_margin_takes_the_clean_gap() -> None:
    clean = Tapped(torch.tensor([[4.0, 0.0], [1.0, 1.0]]), {})
    found = ScaledMargin()(Tapped(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), {}), Goal(torch.tensor([0, 0]), None, clean))
    assert found[0] == 0.25
    assert found.isfinite().all()
    with pytest.raises(InputError, match="run_attack gives them"):
        ScaledMargin()(clean, Goal(torch.tensor([0, 0]), None))


def test_logit_gap_is_the_mean_gap() -> None:
    w = world("rgb", 5, False)
    with torch.no_grad():
        two = w.net(w.x).topk(2, dim=1).values
    assert logit_gap(w.net, w.x, batch_size=3) == pytest.approx((two[:, 0] - two[:, 1]).mean().item())


@pytest.mark.parametrize("kappa", [-1.0, math.nan, "100"])
def test_bad_kappa(kappa) -> None:
    with pytest.raises(InputError, match="kappa` of cw_linf"):
        cw_linf(eps=0.1, kappa=kappa)
