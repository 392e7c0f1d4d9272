"""The checks of an attack's strength on outcomes made up by hand, and the attacks that they run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medaegis.attack import L2, Attack, Linf
from medaegis.data import spread
from medaegis.experiment._named_attack import NamedAttack, comparisons, in_256ths
from medaegis.experiment._weakness import (
    Outcome,
    adaptive_check,
    alive,
    lower_objective,
    not_below,
    not_run,
    reaches_all,
    slack,
    unseen,
)


def outcome(fooled: int, n: int = 16) -> Outcome:
    return Outcome("x", torch.arange(n) < fooled)


def test_zero_gradients_count_only_while_a_case_is_not_fooled() -> None:
    assert alive(torch.tensor([0, 1]), torch.tensor([50, 50])).passed
    found = alive(torch.tensor([0, 2]), torch.tensor([50, 50]))
    assert found.passed is False
    assert "2 of 100 steps (2.00 %), in 1 of 2 cases" in found.text
    assert alive(torch.zeros(2), torch.zeros(2)).passed is None


@pytest.mark.parametrize(
    ("own", "other", "passed"), [(16, 16, True), (10, 11, True), (10, 12, False), (12, 3, True), (0, 0, True)]
)
def test_one_case_of_sixteen_is_forgiven_and_two_are_not(own: int, other: int, passed: bool) -> None:
    assert not_below("x", outcome(own), outcome(other)).passed is passed


def test_cases_are_compared_in_pairs() -> None:
    own, other = torch.zeros(16).bool(), torch.zeros(16).bool()
    own[:3], other[8:12] = True, True
    found = not_below("x", Outcome("PGD", own), Outcome("FGSM", other))
    assert found.passed
    assert "PGD fools 3 of 16 cases, FGSM 4; 4 only the latter, 3 only the former" in found.text


@pytest.mark.parametrize(("lower", "passed"), [(0, True), (8, True), (9, False), (16, False)])
def test_by_the_objective_smaller_is_better(lower: int, passed: bool) -> None:
    own, other = torch.zeros(16), torch.ones(16)
    other[:lower] = -1
    found = lower_objective("x", ("BIM", own), ("FGSM", other))
    assert found.passed is passed
    assert f"lower for BIM in {16 - lower} of 16 cases, and lower for FGSM in {lower}" in found.text


def test_slack_is_five_percent_and_at_least_one_case() -> None:
    assert [slack(n) for n in (1, 16, 39, 40, 100)] == [1, 1, 1, 2, 5]
    assert "17 %" in unseen(16)
    assert pytest.approx(0.05, abs=1e-3) == (1 - 0.1707) ** 16  # what unseen states, by the binomial distribution


def test_success_must_become_complete_and_not_fall() -> None:
    def passed(*counts: int) -> bool | None:
        return reaches_all("x", [(f"{i}/256", outcome(count)) for i, count in enumerate(counts)]).passed

    assert passed(3, 16)
    assert not passed(3, 15)
    assert not passed(9, 4, 16)
    assert passed(9, 8, 16)


def test_detectors_without_an_adaptive_attack_are_non_adaptive() -> None:
    assert adaptive_check(("KD",), ("KD",)).passed is True
    found = adaptive_check(("KD", "MAHA", "BU"), ("MAHA",))
    assert found.passed is False
    assert found.text.startswith("Non-adaptive for KD, BU:")
    assert adaptive_check((), ()).passed is None
    assert not_run("x", "why").fact() == {"name": "x", "passed": None, "text": "Not run: why."}


def test_cases_of_checks_come_from_all_classes() -> None:
    labels = np.array([0] * 50 + [1] * 3 + [2] * 7)
    assert np.bincount(labels[spread(labels, 9)]).tolist() == [3, 3, 3]
    assert np.bincount(labels[spread(labels, 12)]).tolist() == [5, 3, 4]
    assert spread(labels, 100).tolist() == list(range(60))


def built(attack: NamedAttack | None) -> Attack:
    assert attack is not None
    made = attack.build()
    assert isinstance(made, Attack)
    return made


def test_single_steps_are_in_the_attacks_own_ball() -> None:
    assert built(NamedAttack("pgd", "2/256").single_step()).constraint == Linf(2 / 256)
    rms = built(NamedAttack("apgd", "8/256", (("norm", "rms"),)).single_step())
    assert (rms.constraint, rms.steps) == (L2(8 / 256, "rms"), 1)
    plain = built(NamedAttack("pgd_l2", "2", (("norm", "l2"),)).single_step())
    assert plain.constraint == L2(2.0, "l2")
    assert NamedAttack("fgsm", "2/256").single_step() is None
    assert NamedAttack("noise", "2/256").single_step() is None


def test_more_steps_and_restarts_multiply_what_there_is() -> None:
    attack = NamedAttack("pgd", "2/256", (("restarts", "2"), ("steps", "10")))
    assert built(attack.more_steps()).steps == 20
    assert built(attack.more_restarts()).restarts == 6
    assert NamedAttack("bim", "2/256").more_restarts() is None
    assert NamedAttack("noise", "2/256").more_restarts() is None
    assert NamedAttack("fgsm", "2/256").more_steps() is None
    assert all(other is None for other in comparisons(NamedAttack("fgsm", "2/256")).values())


def test_larger_budgets_keep_the_number_of_steps_and_stop_at_half_the_range() -> None:
    larger = NamedAttack("pgd", "16/256", (("step_size", "1/256"), ("steps", "10"))).larger_budgets()
    assert [attack.eps for attack in larger] == ["64/256", "128/256"]
    assert all(built(attack).steps == 10 for attack in larger)
    assert built(larger[0]).step.size == pytest.approx(2 * 64 / 256 / 10)  # pyright: ignore[reportAttributeAccessIssue]
    default = NamedAttack("bim", "1/256").larger_budgets()
    assert [built(attack).steps for attack in default] == [100] * 4
    assert next(a.eps for a in NamedAttack("pgd_l2", "1", (("norm", "l2"),)).larger_budgets()) == "1024/256"
    assert NamedAttack("noise", "1/256").larger_budgets() == ()
    assert in_256ths(2 * default[0].build().constraint.eps) == "8/256"  # pyright: ignore[reportAttributeAccessIssue]
