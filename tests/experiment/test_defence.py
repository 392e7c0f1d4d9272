"""Trials of defences: attackers keep their budgets and are strong, the worst case is one, a Cushion is seen through."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from defend.toy import network
from medaegis import InputError
from medaegis.attack import run_attack
from medaegis.defend import Shielded, ShieldGuard, ShieldSettings, TrainingAttack, shield_logits, train_shields
from medaegis.experiment import Context, DefenceSettings, Store, defence_plan
from medaegis.experiment._adversaries import ADVERSARIES, Knowledge, adversary, budget_of
from medaegis.experiment._defence import DefencePlan
from medaegis.experiment._defence_choice import DefenceChoice
from medaegis.experiment._defence_worst import Outcome, best_of, figures
from medaegis.experiment._stages_cushion import Cushioned, behind
from medaegis.experiment._stages_shield import margins
from medaegis.measure import auc
from medaegis.models import Cases, Taps

SMALL = {
    "source": "phantom-chest",
    "cases": 120,
    "size": 32,
    "model": "small-resnet",
    "weights": None,
    "epochs": 12,
    "train_batch": 16,
    "learning_rate": 2e-3,
    "shield_epochs": 1,
    "shield_steps": 1,
    "shield_probe": 0,
    "substitute": "small-resnet",
    "substitute_epochs": 1,
    "steps": 2,
    "images": 4,
}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[DefencePlan, Context]:
    """Every attacker on two defences of a small network, computed."""
    settings = DefenceSettings(
        **SMALL,
        eps=("4/256", "16/256"),
        curve=("wb",),
        attackers=(*ADVERSARIES, "bim+hfc"),
        defences=("paper", "paper@jpeg:80"),
    )
    plan, context = defence_plan(settings, dataset="Phantoms"), Context(Store(tmp_path_factory.mktemp("stages")))
    for stage in plan.stages:
        context.get(stage)
    return plan, context


def test_every_attacker_keeps_its_budget(done) -> None:
    plan, context = done
    tried = [trial for one in plan.defences for trial in one.trials]
    assert {trial.adversary for trial in tried} == {*ADVERSARIES, "bim+hfc"}
    for trial in tried:
        one, found = adversary(trial.adversary), context.get(trial).tensors
        eps = float(budget_of(one, Fraction(trial.eps)))
        size = found["linf"] if one.scale == 1 else found["rms"]
        assert float(size.max()) <= eps * (1 + 1e-5), trial.title
        assert len(found["fooled"]) == len(found["margin"]) <= 4


def test_shields_of_one_classifier_share_what_blind_attackers_make() -> None:
    attackers = ("pgd", "hfc", "pgd+hfc", "transfer", "wb")
    settings = DefenceSettings(**SMALL, attackers=attackers, defences=("paper", "varied", "paper@jpeg:80"))
    made = [[trial.unaware for trial in one.trials] for one in defence_plan(settings, dataset="Phantoms").defences]
    plain, other, cushioned = ([stage and stage.key for stage in column] for column in made)
    assert plain == other
    assert plain[1] == plain[2]
    assert plain[4] is None
    assert not set(plain[:4]) & set(cushioned[:4])


def test_what_a_blind_attacker_made_is_what_the_defence_is_asked(done) -> None:
    plan, context = done
    trial = next(t for t in plan.defences[1].trials if t.adversary == "bim+hfc")
    made, found = context.get(trial.unaware).tensors, context.get(trial).tensors
    system = trial.scores.shield.system(context)
    seen = shield_logits(system, made["x"])
    torch.testing.assert_close(seen.logits, found["logits"])
    torch.testing.assert_close(seen.shields, found["shields"])
    labels = plan.defences[1].classifier.split.images.dataset(context).labels
    index = trial.scores.cases.split(context).test[trial.places(context)]
    assert found["fooled"].tolist() == (seen.logits.argmax(dim=1).numpy() == 1 - labels[index]).tolist()
    assert torch.equal(found["steps"], made["steps"])


@pytest.mark.parametrize("name", ["nobody", "wb+hfc", "bim+kde", "fea+hfc"])
def test_unknown_attackers_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="attackers"):
        adversary(name)


def test_attackers_of_a_cushion_are_left_out_where_there_is_none(done) -> None:
    plain, aegis = ({trial.adversary for trial in one.trials} for one in done[0].defences)
    assert aegis - plain == {name for name, one in ADVERSARIES.items() if one.need == "cushion"}


def test_table_tells_every_attacker_and_the_worst_case(done) -> None:
    plan, context = done
    content = plan.collect(context)
    for one in plan.defences:
        rows = [row for row in content.rows if row.detector == one.choice.label]
        assert {row.metric for row in rows if not row.attack} >= {"clean accuracy", "clean rejected", "TNR achieved"}
        for eps in plan.settings.eps:
            own = {r.attack: r.value for r in rows if r.metric == "undetected" and r.attack}
            worst = next(r for r in rows if (r.attack, r.eps, r.metric) == ("Worst case", eps, "undetected"))
            inside = [adversary(t.adversary).title for t in one.trials if Fraction(t.eps) <= Fraction(eps)]
            if eps == plan.settings.eps[-1]:
                assert worst.value >= max(own[title] for title in inside)
        assert next(row for row in rows if row.attack == "PGD-L2").eps == "8/256"
        check = next(c for c in content.facts["checks"] if "More budget" in c["name"] and one.choice.label in c["name"])
        shares = [r.value for r in rows if (r.attack, r.metric) == ("WB", "undetected")]
        assert check["passed"] is (shares[1] >= shares[0] - 5)
    lines = content.sheets["training"]
    assert [line["defence"] for line in lines] == [one.choice.label for one in plan.defences]


def test_unchanged_images_are_held_against_the_shield_of_the_class_that_an_attack_would_make_of_them(done) -> None:
    plan, context = done
    one = plan.defences[0]
    stored = context.get(one.scores).tensors
    said = stored["clean.logits"].argmax(dim=1)
    other = one.scores.other_margins(context)
    for case, claimed in enumerate((1 - said).tolist()):
        assert other[case] == stored["clean.shields"][case, claimed] - stored["thresholds"][claimed]
    own = one.scores.margins("clean", context)
    area = auc(-own.double().numpy(), -other.double().numpy(), draws=1).value
    (row,) = [r for r in plan.collect(context).rows if (r.detector, r.metric) == ("Shield, paper", "AUC, unchanged")]
    assert row.value == pytest.approx(100 * area)
    assert row.n == len(own)


def test_no_patient_of_the_thresholds_is_attacked(done) -> None:
    plan, context = done
    for one in plan.defences:
        data, split = one.classifier.split.images.dataset(context), one.scores.cases.split(context)
        train = one.classifier.split.split(context)
        parts = [{data.groups[i] for i in index} for index in (split.train, split.test, train.train, train.validation)]
        assert not parts[0] & parts[1]
        assert not (parts[0] | parts[1]) & (parts[2] | parts[3])


def test_layers_of_features_are_those_of_the_system(done) -> None:
    plan, context = done
    for one in plan.defences:
        bank = next(trial.bank for trial in one.trials if trial.bank is not None)
        names = list(bank.features.features(context)[0])
        system = one.scores.shield.system(context)
        x = torch.rand(2, 3, 32, 32)
        assert list(Taps(system, names)(x).features) == names
        assert names[-1] == "penultimate"


def test_cushion_is_what_the_network_sees(done) -> None:
    plan, context = done
    cushioned = plan.defences[1].classifier
    assert isinstance(cushioned, Cushioned)
    x = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        expected = cushioned.base.load(context)(cushioned.step.apply(x))
        assert torch.equal(cushioned.load(context)(x), expected)
        system = plan.defences[1].scores.shield.system(context)
        torch.testing.assert_close(system(x), expected)
    assert cushioned.base == plan.defences[0].classifier
    with pytest.raises(InputError, match="behind no Cushion"):
        behind(cushioned.step, cushioned)


def test_worst_case_by_hand() -> None:
    one = Outcome(np.array([True, True, False, False]), np.array([-1.0, 2.0, 9.0, -3.0]))
    other = Outcome(np.array([True, False, True, False]), np.array([-0.5, 5.0, -4.0, -2.0]))
    worst = best_of([one, other])
    assert worst.fooled.tolist() == [True, True, True, False]
    assert worst.margin.tolist() == [-0.5, 2.0, -4.0, -2.0]
    assert worst.undetected.tolist() == [False, True, False, False]
    found = figures(np.array([1.0, 3.0]), worst, ["a", "b"], ["c", "d", "e", "f"])
    assert found["Adv. Acc"].value == 0.75
    assert found["undetected"].value == 0.25
    assert found["AUC, successful"].value == pytest.approx(5 / 6)  # of six pairs, only (1, 2) is in the wrong order
    assert found["AUC"].value == pytest.approx(7 / 8)
    assert found["TPR@90"].value == 0.75


def test_nothing_fooled_has_no_auc() -> None:
    found = figures(np.ones(2), Outcome(np.array([False]), np.array([3.0])), ["a", "b"], ["c"])
    assert np.isnan(found["AUC, successful"].value)
    assert found["undetected"].value == 0


@pytest.mark.parametrize(
    ("text", "label", "published"),
    [
        ("paper", "Shield, paper", "Shield"),
        ("paper@jpeg:80", "Medical Aegis (jpeg:80), paper", "Medical Aegis"),
        ("paper@jpeg:70", "Medical Aegis (jpeg:70), paper", ""),
        ("paper@none@1+3", "Shield, paper, tap 1+3", ""),
        ("varied@jpeg:80", "Medical Aegis (jpeg:80), varied", ""),
        ("hardened@jpeg:80", "Medical Aegis (jpeg:80), hardened", ""),
    ],
)
def test_defences_by_name(text: str, label: str, published: str) -> None:
    choice = DefenceChoice.parse(text)
    assert (choice.label, choice.published) == (label, published)


@pytest.mark.parametrize("text", ["", "none", "paper@jpg", "paper@jpeg:80@0", "paper@jpeg:80@x"])
def test_unknown_defence_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"`(defences|cushion)` of recipe"):
        DefenceChoice.parse(text)


@pytest.mark.parametrize(
    "changes",
    [{"attackers": ("nobody",)}, {"curve": ("nobody",)}, {"eps": ("8/256", "4/256")}, {"defences": ("paper", "paper")}],
)
def test_bad_settings_are_refused_before_any_work(changes) -> None:
    with pytest.raises(InputError):
        defence_plan(DefenceSettings(**SMALL | changes), dataset="Phantoms")


def test_training_can_be_shortened() -> None:
    settings = DefenceChoice.parse("paper").settings(epochs=3, steps=2, batch_size=4, validation_cases=6, probe_cases=0)
    assert (settings.epochs, settings.growing, settings.batch_size) == (3, 3, 4)
    assert (settings.validation_cases, settings.probe_cases) == (6, 0)
    assert [attack.steps for attack in settings.attacks] == [2]
    assert DefenceChoice.parse("paper").settings() == ShieldSettings.paper()
    longer = DefenceChoice.parse("hardened").settings(epochs=3, steps=2, batch_size=4).then
    assert longer is not None
    assert (longer.epochs, longer.batch_size, max(attack.steps for attack in longer.attacks)) == (3, 4, 12)


def test_a_second_training_can_be_lengthened_alone() -> None:
    settings = DefenceSettings(**SMALL | {"shield_then": 9}, attackers=("pgd",), defences=("paper", "hardened"))
    paper, hardened = (one.scores.shield for one in defence_plan(settings, dataset="Phantoms").defences)
    assert (paper.training.epochs, hardened.training.epochs) == (1, 9)
    assert hardened.start is not None
    assert hardened.start.training.epochs == 1
    with pytest.raises(InputError, match="then_epochs"):
        ShieldSettings.varied().changed(then_epochs=9)


def test_the_last_budget_of_our_trainings_and_not_of_the_papers() -> None:
    settings = DefenceSettings(**SMALL | {"shield_eps": "4/256"}, attackers=("pgd",), defences=("paper", "hardened"))
    paper, ours = (one.scores.shield for one in defence_plan(settings, dataset="Phantoms").defences)
    assert ours.start is not None
    assert [one.training.last_eps * 256 for one in (paper, ours.start, ours)] == [16, 4, 4]


def test_a_second_training_starts_from_the_shields_of_another_defence_of_the_run() -> None:
    settings = DefenceSettings(**SMALL, attackers=("pgd",), defences=("varied@jpeg:80", "hardened@jpeg:80"))
    varied, hardened = (one.scores.shield for one in defence_plan(settings, dataset="Phantoms").defences)
    assert hardened.start is not None
    assert hardened.start.key == varied.key
    assert varied.start is None


def boards(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images whose class is told by a faint checkerboard alone: a budget of 8/256 can draw it, and rub it out."""
    y = torch.arange(n) % 2
    board = (torch.arange(16)[:, None] + torch.arange(16)) % 2 * 2.0 - 1
    noise = torch.randn((n, 1, 16, 16), generator=torch.Generator().manual_seed(seed))
    return 0.5 + 0.005 * noise + 5 / 256 * board * y.reshape(-1, 1, 1, 1), y


@pytest.fixture(scope="module")
def breakable() -> Knowledge:
    """A defence that is known to be breakable: what its Shields can know of a class is smaller than the budget."""
    net, (x, y) = network(), boards(96, 7)
    optimiser = torch.optim.Adam(net.train().parameters(), lr=0.02)
    for _ in range(60):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y).backward()
        optimiser.step()
    faint = ShieldSettings((TrainingAttack(steps=1),), epochs=3, growing=1, last_eps=1 / 256, batch_size=16)
    shields = train_shields(net.eval(), Cases(lambda index: x[index], y), settings=faint, seed=0).shields
    return Knowledge(Shielded(net, shields).eval(), ShieldGuard(torch.zeros(2)), kappa=1.0)


def left(known: Knowledge, name: str, steps: int, eps: float) -> float:
    """The AUC that an attacker leaves to the Shields."""
    x, y = boards(24, 5)
    made = run_attack(ADVERSARIES[name].make(known, eps, steps), known.system, x, y, target=1 - y)
    clean, attacked = (margins(shield_logits(known.system, z), known.guard.thresholds) for z in (x, made.x))
    if eps > 5 / 256:
        assert bool(made.fooled.all()), "what does not fool is not dangerous"
    return auc(-clean.double().numpy(), -attacked.double().numpy(), draws=1).value


@pytest.mark.parametrize(  # coarse grids cannot draw this board, and orthogonal goals stop where both pull alike
    "name", ["wb", "wb_d", "wb-momentum", "wb-fine", "wb-auto", "wb-selective", "wb-restarts", "adam"]
)
def test_white_box_breaks_a_breakable_shield(breakable: Knowledge, name: str) -> None:
    assert left(breakable, name, 30, 8 / 256) < 0.5


def test_the_shield_works_where_the_budget_is_too_small(breakable: Knowledge) -> None:
    assert left(breakable, "wb", 30, 0.5 / 256) > 0.5


def test_docs_name_every_attacker() -> None:
    page = (Path(__file__).parents[2] / "docs" / "defence-trials.md").read_text()
    assert all(f"`{name}`" in page for name in ADVERSARIES)


def test_store_is_used(done, tmp_path: Path) -> None:
    plan, context = done
    again = Context(context.store)
    for stage in plan.stages:
        again.get(stage)
    assert all(entry.cached for entry in again.log.values())


def test_what_a_training_let_past_afterwards_is_told(done) -> None:
    context = done[1]
    for cases, found in ((2, r"unlike its own: [01]\.\d\d$"), (0, r"cases learned from$")):
        settings = DefenceSettings(**SMALL | {"shield_probe": cases}, attackers=("wb",), curve=(), defences=("paper",))
        plan = defence_plan(settings, dataset="Phantoms")
        assert re.search(found, plan.collect(context).facts["attack"]["Shield, paper"])
