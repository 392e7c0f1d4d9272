"""Presets by name: every one is there, text becomes values, and errors name what is valid."""

from __future__ import annotations

import inspect
import math

import pytest

from medaegis import InputError, attack
from medaegis.attack import PRESETS, Attack, make_attack, settings_of


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_made_by_its_name(name: str) -> None:
    assert PRESETS[name] is getattr(attack, name)
    assert make_attack(name, "1/256") == PRESETS[name](eps=1 / 256)
    assert set(settings_of(name)) - {"restarts", "keep"} <= set(inspect.signature(PRESETS[name]).parameters)


def test_text_becomes_values() -> None:
    made = make_attack("mim", "2/256", decay="0.5", norm="l2", step_size="0.02/256", steps="7")
    assert made == attack.mim(eps=2 / 256, decay=0.5, norm="l2", step_size=0.02 / 256, steps=7)
    assert make_attack("cw_linf", "1/256", kappa="100").objective == attack.Margin(100.0)
    assert make_attack("cw_linf", "1/256", kappa="inf").objective == attack.Margin(math.inf)
    assert make_attack("bim", "1/256", steps="none").passes == 100


def test_restarts_and_keep_belong_to_every_attack_of_the_loop() -> None:
    made = make_attack("pgd", "1/256", restarts="3", keep="best")
    assert isinstance(made, Attack)
    assert (made.restarts, made.keep) == (3, "best")
    assert make_attack("apgd", "1/256", restarts=2).passes == 200


@pytest.mark.parametrize(
    ("name", "eps", "settings", "text"),
    [
        ("pdg", "1/256", {}, "`attack` of make_attack must be one of fgsm, bim.* Did you mean pgd?"),
        ("pgd", None, {}, "`eps` of pgd must be a budget such as 1/256"),
        ("pgd", "1.0", {}, "did you mean 1/256?"),
        ("pgd", "8", {}, "did you mean 8/256?"),
        ("pgd_l2", "8", {}, "did you mean 8/256?"),
        ("apgd", "8", {}, "did you mean 8/256?"),
        ("pgd", "1/0", {}, "`eps` of pgd must be a fraction"),
        ("pgd", "-1/256", {}, r"`eps` of pgd must be a number in \[0, 1\)"),
        ("mim", "1/256", {"decai": "1"}, "has no setting 'decai'. Did you mean decay.*It has: steps, step_size, decay"),
        ("pgd", "1/256", {"objective": "x"}, "has no setting 'objective'"),
        ("fgsm", "1/256", {"steps": "3"}, "The attack fgsm has no setting 'steps'.*restarts, keep"),
        ("mim", "1/256", {"norm": "l3"}, "The setting 'norm' of mim got 'l3'.*'l1' or 'l2'"),
        ("pgd", "1/256", {"steps": "2.5"}, "The setting 'steps' of pgd got '2.5'"),
        ("pgd", "1/256", {"steps": "0"}, "`steps` of pgd must be an int >= 1"),
        ("bim", "1/256", {"restarts": "3"}, "`restarts` of BIM must be 1 where nothing is random"),
        ("pgd", "1/256", {"step_size": "x/256"}, "`step_size` of pgd must be a fraction"),
    ],
)
def test_errors_name_what_is_valid(name: str, eps: str | None, settings: dict[str, str], text: str) -> None:
    with pytest.raises(InputError, match=text):
        make_attack(name, eps, **settings)
