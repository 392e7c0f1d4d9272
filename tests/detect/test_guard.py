"""Detectors as guards: an adaptive attack returns iterates that they let pass."""

from __future__ import annotations

import pytest
import torch

from contracts.attack_list import world
from medaegis import InputError, NotFittedError
from medaegis.attack import hfc, pgd, run_attack
from medaegis.detect import KD, MAHA, extract, guard

LAYERS = ("2", "5", "penultimate")


def fitted():
    w = world("rgb", 2, True)
    generator = torch.Generator().manual_seed(5)
    x = torch.rand(200, *w.x.shape[1:], generator=generator, dtype=torch.float64)
    tapped = extract(w.net, x, LAYERS)
    labels = torch.arange(200) % 2
    hidden = {name: tapped.features[name] for name in ("2", "5")}
    maha = MAHA(layers=("2", "5")).fit(hidden, labels)
    kd = KD().fit(tapped.features["penultimate"], labels)
    held = extract(w.net, torch.rand(60, *w.x.shape[1:], generator=generator, dtype=torch.float64), LAYERS)
    predicted = held.logits.argmax(dim=1)
    maha.calibrate({name: held.features[name] for name in ("2", "5")}, predicted)
    return w, kd.calibrate(held.features["penultimate"], predicted), maha


def test_a_guarded_attack_is_flagged_less_and_fools_as_often() -> None:
    w, kd, maha = fitted()
    passes = guard(kd, maha)
    assert set(passes.layers) == set(LAYERS)

    def run(attack):
        made = run_attack(attack, w.net, w.x, w.y, target=w.target)
        tapped = extract(w.net, made.x, LAYERS)
        return made, passes(tapped)

    attack = pgd(eps=0.2, steps=40).plus(hfc(w.bank))
    bold, seen = run(attack.keeping("best"))
    sly, hidden = run(attack.against(passes))
    assert torch.equal(bold.fooled, sly.fooled)
    assert (sly.fooled & hidden).sum() >= (bold.fooled & seen).sum()


def test_flags_of_all_detectors_count() -> None:
    w, kd, maha = fitted()
    tapped = extract(w.net, w.x, LAYERS)
    predicted = tapped.logits.argmax(dim=1)
    flagged = kd.flags(tapped.features["penultimate"], predicted)
    flagged |= maha.flags({name: tapped.features[name] for name in ("2", "5")}, predicted)
    assert torch.equal(guard(kd, maha)(tapped), ~flagged)
    kd.threshold_ = -1e9
    assert not guard(kd, maha)(tapped).any()


def test_errors() -> None:
    with pytest.raises(InputError, match="detectors` of guard"):
        guard()
    with pytest.raises(NotFittedError, match="no threshold yet"):
        guard(KD())
    with pytest.raises(NotFittedError, match="fit"):
        MAHA().fitted_layers()
