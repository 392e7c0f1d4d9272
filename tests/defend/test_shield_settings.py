"""Budgets by hand, and the attacks that Shields learn from."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import medaegis as ma
from defend.toy import network, toy_images
from medaegis import InputError
from medaegis.attack import LowResolution, Tanh
from medaegis.defend import Shielded, Shields, ShieldSettings, TrainingAttack, shield_logit, tap_plan


def test_the_papers_budget_grows_by_equal_steps() -> None:
    """From 1 to 16 in 24 steps of 15/24 = 0.625."""
    settings = ShieldSettings.paper()
    assert settings.epochs == 25
    assert [round(settings.budget(epoch) * 256, 9) for epoch in (0, 1, 8, 23, 24)] == [1, 1.625, 6, 15.375, 16]
    assert settings.full(24)
    assert not settings.full(23)


def test_a_budget_that_is_full_early_stays_so() -> None:
    settings = ShieldSettings(epochs=6, growing=3, first_eps=0.1, last_eps=0.3)
    assert [settings.budget(epoch) for epoch in range(6)] == pytest.approx([0.1, 0.2, 0.3, 0.3, 0.3, 0.3])
    assert ShieldSettings(growing=1, last_eps=0.25).budget(0) == 0.25


def test_the_default_attack_is_pgd() -> None:
    """Ten steps of 2 eps / 10 from a random start."""
    attack, own = TrainingAttack().at(5 / 256), ma.attack.pgd(5 / 256, steps=10, objective=shield_logit)
    assert attack == own


HARDENED = ShieldSettings.hardened()
assert HARDENED.then is not None
EVERY = (*HARDENED.attacks, *HARDENED.then.attacks)


@pytest.mark.parametrize("place", range(len(EVERY)))
def test_each_attack_raises_the_logit_inside_its_budget(place) -> None:
    net, (x, y) = network(), toy_images(6, 0)
    system = Shielded(net, Shields(tap_plan(net, x), 2, width=4))
    attack = EVERY[place].at(8 / 256)
    made = ma.run_attack(attack, system, x, y, target=1 - y)
    with torch.no_grad():
        before = system.both(x).shields.gather(1, (1 - y)[:, None])[:, 0]
    assert (-made.objective > before).all()
    assert (made.x - x).abs().max() <= 8 / 256 + 1e-7


def test_the_varied_attacks_differ() -> None:
    attacks = [attack.at(8 / 256) for attack in ShieldSettings.varied().attacks]
    assert {type(attack.space) for attack in attacks} >= {Tanh, LowResolution}
    assert {chart.space.factor for chart in attacks if isinstance(chart.space, LowResolution)} == {2, 4, 8}
    assert len(set(attacks)) == len(attacks)


def test_hardened_is_varied_and_then_longer_attacks_at_the_full_budget() -> None:
    assert replace(HARDENED, then=None) == ShieldSettings.varied()
    assert HARDENED.then is not None
    assert HARDENED.then.budget(0) == HARDENED.last_eps
    assert max(attack.steps for attack in HARDENED.then.attacks) == 3 * HARDENED.attacks[0].steps


def test_changes_reach_the_second_training_where_both_are_alike() -> None:
    found = HARDENED.changed(epochs=7, batch_size=4, last_eps=4 / 256, learning_rate=0.1)
    assert found.then is not None
    assert (found.epochs, found.batch_size, found.learning_rate) == (7, 4, 0.1)
    assert (found.then.epochs, found.then.batch_size, found.then.learning_rate) == (4, 4, 1e-3)
    assert found.then.budget(0) == 4 / 256
    assert found.changed(then=None) == replace(found, then=None)


def test_without_a_random_start_and_coarse_signs() -> None:
    attack = TrainingAttack(random_start=False, factor=4.0, steps=5).at(0.1)
    assert not attack.random
    assert attack.step.size == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 0), ("move", "jump"), ("path", 0), ("factor", 0.5), ("smallest", 0.0), ("smallest", 1.1)],
)
def test_errors_of_attacks(name, value) -> None:
    with pytest.raises(InputError, match=f"`{name}` of TrainingAttack"):
        TrainingAttack(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("attacks", ()), ("attacks", ("pgd",)), ("epochs", 0), ("growing", 0), ("first_eps", 0), ("last_eps", 16)),
        *(("batch_size", 0), ("learning_rate", 0), ("weight_decay", -1), ("validation_share", 1), ("width", 1)),
        *(("shift", 0.6), ("average", 1.0), ("validation_cases", 1), ("probe_cases", -1)),
        *(("then", "paper"), ("then", ShieldSettings(width=6)), ("then", ShieldSettings(validation_share=0.3))),
    ],
)
def test_errors_of_settings(name, value) -> None:
    with pytest.raises(InputError, match=f"`{name}` of ShieldSettings"):
        ShieldSettings(**{name: value})
