"""Accepting images: thresholds by hand, the predicted class's logit, guards."""

from __future__ import annotations

import pytest
import torch

import medaegis as ma
from defend.toy import network, toy_images
from medaegis import InputError, Tapped
from medaegis.defend import (
    Shielded,
    ShieldGuard,
    Shields,
    shield_accepts,
    shield_logit,
    shield_logits,
    shield_thresholds,
    tap_plan,
)


@pytest.fixture
def system() -> Shielded:
    net = network()
    return Shielded(net, Shields(tap_plan(net, torch.rand(1, 1, 16, 16)), 2, width=4))


def test_thresholds_are_each_class_lowest_tenth() -> None:
    """Class 0 has the logits 0 … 10, so its tenth lies at 1; class 1 has 100 … 120 by twos, so 102."""
    own = torch.cat([torch.arange(11.0), 100 + 2 * torch.arange(11.0)])
    predicted = torch.arange(22) // 11
    shields = torch.full((22, 2), 1e6).scatter(1, predicted[:, None], own[:, None])
    assert shield_thresholds(shields, predicted, tnr=0.9).tolist() == pytest.approx([1, 102])
    assert shield_thresholds(shields, predicted, tnr=0.5).tolist() == pytest.approx([5, 110])


def test_the_verdict_is_the_predicted_class_against_its_threshold(system) -> None:
    x, _ = toy_images(20, 5)
    logits, shields = shield_logits(system, x)
    thresholds = torch.tensor([shields[:, 0].median(), shields[:, 1].median()])
    verdict = shield_accepts(system, x, thresholds, batch_size=7)
    for i in range(20):
        y = int(logits[i].argmax())
        assert verdict.prediction[i] == y
        assert verdict.logit[i].item() == pytest.approx(shields[i, y].item(), abs=1e-6)
        assert verdict.accepted[i] == (verdict.logit[i] >= thresholds[y])
        assert verdict.probability[i].item() == pytest.approx(logits[i].softmax(0)[y].item(), abs=1e-6)
    assert torch.equal(verdict.score, -verdict.logit)


def test_the_share_accepted_of_calibration_cases(system) -> None:
    x, _ = toy_images(101, 5)
    logits, shields = shield_logits(system, x)
    predicted = torch.arange(101) % 2
    thresholds = shield_thresholds(shields, predicted, tnr=0.9)
    accepted = ShieldGuard(thresholds)(Tapped(torch.nn.functional.one_hot(predicted, 2).float(), {"shields": shields}))
    assert accepted.float().mean().item() == pytest.approx(0.9, abs=0.02)
    assert logits.shape == (101, 2)


def test_nan_is_not_accepted() -> None:
    tapped = Tapped(torch.tensor([[1.0, 0.0]]), {"shields": torch.tensor([[torch.nan, 9.0]])})
    assert ShieldGuard(torch.zeros(2))(tapped).tolist() == [False]


def test_attacks_prefer_iterates_that_the_guard_accepts(system) -> None:
    """With a guard that accepts nothing of class 1, or everything: the ranks must differ as the loop says they do."""
    x, y = toy_images(8, 3)
    attack = ma.attack.pgd(16 / 256, steps=6).plus(shield_logit)
    for threshold in (-1e9, 1e9):
        guard = ShieldGuard(torch.full((2,), threshold))
        made = ma.run_attack(attack.against(guard), system, x, y, target=1 - y)
        assert made.x.shape == x.shape
        own = shield_logits(system, made.x)
        assert (ShieldGuard(torch.full((2,), threshold))(Tapped(own.logits, {"shields": own.shields})).all()) == (
            threshold < 0
        )


def test_the_mode_of_the_system_comes_back(system) -> None:
    system.train()
    shield_logits(system, torch.rand(2, 1, 16, 16))
    assert all(module.training for module in system.modules())


def test_errors(system) -> None:
    x, _ = toy_images(4, 0)
    with pytest.raises(InputError, match="`thresholds` of shield_accepts"):
        shield_accepts(system, x, torch.zeros(3))
    with pytest.raises(InputError, match="no case of class 1"):
        shield_thresholds(torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(InputError, match="`shields` of shield_thresholds"):
        shield_thresholds(torch.zeros(3, 2), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(InputError, match="NaN"):
        shield_thresholds(torch.full((3, 2), torch.nan), torch.tensor([0, 1, 1]))
    with pytest.raises(InputError, match="`tnr`"):
        shield_thresholds(torch.zeros(3, 2), torch.tensor([0, 1, 1]), tnr=1.0)
    with pytest.raises(InputError, match="floating-point"):
        shield_logits(system, torch.zeros(1, 1, 16, 16, dtype=torch.uint8))
