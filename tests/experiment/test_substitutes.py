"""Attacks made on a substitute: whose gradients, features and verdicts are used, and on whose cases it is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from medaegis._errors import InputError, LeakError
from medaegis.attack import hfc, run_attack
from medaegis.data import check_no_leak
from medaegis.experiment import Context, HidingSettings, Store, SubstitutesSettings, hiding_plan, substitutes_plan
from medaegis.experiment._hiding import HidingPlan
from medaegis.experiment._named_substitute import Substitute, named_substitute
from medaegis.experiment._network_settings import NetworkSettings, classifier_stage
from medaegis.experiment._stages_attack import ON_SUBSTITUTE
from medaegis.experiment._stages_data import cases_at
from medaegis.experiment._stages_model import AdversarialCases, Bank, TrainFeatures
from medaegis.experiment._transferred import RATE, SUBSTITUTE
from medaegis.models import PENULTIMATE

SMALL: dict[str, Any] = {"source": "phantom-chest", "model": "small-resnet", "weights": None, "size": 48}
TRAINED = SMALL | {"cases": 240, "epochs": 8, "train_batch": 16, "learning_rate": 2e-3}
SETTINGS = HidingSettings(**TRAINED, eps="16/256", steps=4, substitute="same", checks=6, detectors=("KD", "SVM"))


@pytest.fixture(scope="module")
def plan() -> HidingPlan:
    return hiding_plan(SETTINGS, dataset="phantoms")


@pytest.fixture(scope="module")
def context(plan: HidingPlan, tmp_path_factory: pytest.TempPathFactory) -> Context:
    context = Context(Store(tmp_path_factory.mktemp("run") / "stages"))
    for stage in plan.stages:
        context.get(stage)
    return context


def test_images_are_those_of_a_white_box_attack_on_the_substitute(plan: HidingPlan, context: Context) -> None:
    """With the mixtures of its features; and each network says for itself whether it is fooled."""
    assert plan.substitute is not None
    own, attacked = plan.substitute.load(context), plan.classifier.load(context)
    index = plan.cases.split(context).test
    x, y = cases_at(plan.classifier.split.images.dataset(context), index)
    for variant in plan.variants:
        attack, bank = variant.attacked.choice.build(), variant.attacked.bank
        if bank is not None:
            assert bank.features.classifier == plan.substitute
            attack = attack.plus(hfc(bank.bank(context)))
        made = run_attack(attack, own, x, y, target=1 - y)
        stored = context.get(variant.attacked).tensors
        assert torch.equal(stored["x"], made.x)
        assert torch.equal(stored[ON_SUBSTITUTE], made.fooled)
        assert torch.equal(stored["fooled"], attacked(made.x).argmax(dim=1) == 1 - y)
    assert not torch.equal(stored["fooled"], stored[ON_SUBSTITUTE])  # the two networks differ


def test_detectors_are_the_attacked_networks(plan: HidingPlan) -> None:
    for variant in plan.variants:
        assert variant.scores.features.classifier == plan.classifier
        learned = variant.clean.learned
        assert learned is not None
        assert learned.attacked.substitute is None
        assert learned.attacked.cases.classifier == plan.classifier
    other = hiding_plan(SETTINGS.model_copy(update={"substitute": "none"}), dataset="phantoms")
    assert other.clean.key == plan.clean.key  # the same detectors as where it is attacked in the open


def test_the_attacked_network_as_its_own_substitute_changes_nothing(plan: HidingPlan, context: Context) -> None:
    open_ = hiding_plan(SETTINGS.model_copy(update={"substitute": "none"}), dataset="phantoms")
    for variant in open_.variants:
        white = variant.attacked.compute(context).tensors
        same = replace(variant.attacked, substitute=plan.classifier).compute(context).tensors
        assert set(same) == {*white, ON_SUBSTITUTE}
        assert all(torch.equal(same[name], white[name]) for name in ("x", "fooled", "objective", "steps"))
        assert torch.equal(same[ON_SUBSTITUTE], same["fooled"])


def test_rows_and_checks(plan: HidingPlan, context: Context) -> None:
    content = plan.collect(context)
    rows = {(row.hfc, row.detector, row.metric): row for row in content.rows}
    for variant in plan.variants:
        stored = context.get(variant.attacked).tensors
        here, there = stored["fooled"].double(), stored[ON_SUBSTITUTE].double()
        way = variant.attacked.hides
        assert rows[way, "", "Adv. Acc"].value == pytest.approx(100 * here.mean().item())
        assert rows[way, "", SUBSTITUTE].value == pytest.approx(100 * there.mean().item())
        assert rows[way, "", RATE].n == there.sum()
        assert rows[way, "", RATE].value == pytest.approx(100 * (here * there).sum().item() / there.sum().item())
    assert {row.model for row in content.rows} == {"small-resnet attacked from another small-resnet"}
    assert content.facts["model"]["substitute"].startswith("small-resnet, clean accuracy")
    checks = {check["name"]: check for check in content.facts["checks"]}
    assert checks["White-box is not below transfer"]["passed"] is True
    assert "made on the substitute" in checks["White-box is not below transfer"]["text"]
    grows = checks["More budget, more success (without HFC)"]["text"]
    there = context.get(plan.variants[0].attacked).tensors[ON_SUBSTITUTE].double().mean().item()
    assert grows == f"Success on the substitute, by budget: 16/256: {100 * there:.1f} %."
    measured = {line["measure"] for line in content.layers}
    assert measured == {"AUC of KD"}  # the shares of the gradient would be of another network


def test_halves_of_train_share_no_patient(tmp_path: Path) -> None:
    context = Context(Store(tmp_path / "stages"))
    plans = {
        name: hiding_plan(SETTINGS.model_copy(update={"substitute": name}), dataset="phantoms")
        for name in ("same", "same@half", "same@apart")
    }
    parts = {}
    for name, plan in plans.items():
        assert plan.substitute is not None
        data = plan.classifier.split.images.dataset(context)
        parts[name] = [one.split.split(context) for one in (plan.classifier, plan.substitute)]
    whole, first, second = parts["same"][0], *parts["same@apart"]
    assert [part.train.tolist() for part in parts["same@half"]] == [first.train.tolist()] * 2
    assert plans["same@half"].classifier.key == plans["same@apart"].classifier.key
    both = {f"{who}, {name}": getattr(one, name) for who, one in (("1", first), ("2", second)) for name in
            ("train", "validation")}  # fmt: skip
    check_no_leak(both | {"test": whole.test}, data.groups)
    for name in ("train", "validation"):
        halves = [getattr(one, name).tolist() for one in (first, second)]
        assert sorted(halves[0] + halves[1]) == getattr(whole, name).tolist()
        assert abs(len(halves[0]) - len(halves[1])) <= 2
    assert whole.test.tolist() == first.test.tolist() == second.test.tolist()


def test_a_substitute_that_was_trained_on_attacked_cases_is_caught(plan: HidingPlan, context: Context) -> None:
    other = replace(plan.classifier, split=replace(plan.classifier.split, seed=5), train=None)
    planted = replace(plan.variants[0].attacked, substitute=other)
    with pytest.raises(LeakError, match=r"of the substitute|its validation"):
        planted.compute(context)


def test_figures_of_attacks_in_the_open_do_not_stand_beside_others() -> None:
    published = {("16/256", "with", "KD", "AUC"): 50.0}
    for name, shown in (("none", published), ("same", {})):
        own = SETTINGS.model_copy(update={"substitute": name})
        assert hiding_plan(own, dataset="d", published=published).published == shown


def test_a_substitute_has_its_own_training_and_never_the_networks_weights(tmp_path: Path) -> None:
    file = tmp_path / "net.pth"
    torch.save({}, file)
    own = SETTINGS.model_copy(update={"weights": str(file), "epochs": 0})
    with pytest.raises(InputError, match="substitute_epochs"):
        hiding_plan(own, dataset="d")
    plan = hiding_plan(own.model_copy(update={"substitute_epochs": 3}), dataset="d")
    assert plan.substitute is not None
    assert plan.classifier.weights == str(file)
    assert plan.substitute.weights is None
    assert plan.classifier.train is None
    assert plan.substitute.train is not None
    assert plan.substitute.train.epochs == 3
    assert plan.substitute.seed != plan.classifier.seed
    assert plan.substitute.split == plan.classifier.split


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"substitute": "smae"}, "smae"),
        ({"substitute": "same@quarter"}, "same@half"),
        ({"substitute": "none@half"}, "same@half"),
        ({"substitute": "@half"}, "same@half"),
        ({"hiding": ("hfc", "white-box")}, r"made of the substitute alone .*, got \['white-box'\]"),
        ({"hiding": ("chosen",)}, r"got \['chosen'\]"),
    ],
)
def test_settings_are_checked_before_any_work(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        hiding_plan(SETTINGS.model_copy(update=changes), dataset="d")


def test_a_substitute_without_a_dense_layer() -> None:
    """SqueezeNet ends in a convolution: HFC takes its activations; what reads a penultimate layer is refused."""
    own = SETTINGS.model_copy(update={"substitute": "squeezenet1_1", "size": 64})
    bank = hiding_plan(own, dataset="d").variants[1].attacked.bank
    assert bank is not None
    assert (bank.features.penultimate, bank.features.classifier.model) == (False, "squeezenet1_1")
    with pytest.raises(InputError, match="without kde"):
        hiding_plan(own.model_copy(update={"hiding": ("kde",)}), dataset="d")


def test_a_network_without_a_dense_layer_has_mixtures_of_its_activations(tmp_path: Path) -> None:
    settings = NetworkSettings(source="phantom-chest", weights=None, size=64, cases=40, model="squeezenet1_1", epochs=0)
    features, context = TrainFeatures(classifier_stage(settings), penultimate=False), Context(Store(tmp_path / "s"))
    layers, _ = features.features(context)
    assert PENULTIMATE not in layers
    assert list(Bank(features).bank(context).layers) == list(layers)
    with pytest.raises(InputError, match=r"nn\.Linear"):
        context.get(TrainFeatures(features.classifier))


def test_names() -> None:
    assert named_substitute("squeezenet1_1@half") == Substitute("squeezenet1_1", "half")
    assert Substitute("same", "half").shown("net") == "net of half of Train attacked from another net of the same half"


def test_behind_a_cushion_so_is_the_substitute() -> None:
    plan = hiding_plan(SETTINGS.model_copy(update={"cushion": "bits:3"}), dataset="d")
    assert plan.substitute is not None
    assert plan.substitute.cushion == plan.classifier.cushion  # pyright: ignore[reportAttributeAccessIssue]
    assert plan.model == "small-resnet behind bits:3 attacked from another small-resnet behind bits:3"


def test_several_substitutes_share_the_attacked_network_and_its_detectors() -> None:
    settings = SubstitutesSettings(**SMALL, substitutes=("same", "none", "same@half", "same@apart"))
    published = {("4/256", "with", "KD", "AUC"): 50.0}
    plan = substitutes_plan(settings, dataset="d", published=published)
    keys = [one.clean.key for one in plan.plans]
    assert keys[0] == keys[1] != keys[2] == keys[3]
    assert [one.published for one in plan.plans] == [published, {}, {}, {}]
    assert [plan.told(name) for name in plan.values[:3]] == [
        "attacked from another small-resnet",
        "from the network itself",
        "of half of Train attacked from another small-resnet of the same half",
    ]
    with pytest.raises(InputError, match="different values"):
        substitutes_plan(settings.model_copy(update={"substitutes": ("same", "same")}), dataset="d")


def test_without_a_substitute_stages_keep_their_keys() -> None:
    """Keys of the commit before substitutes; `part` and `substitute` must not enter them."""
    plan = hiding_plan(HidingSettings(**(SMALL | {"size": 32})), dataset="d")
    stages = (plan.classifier.split, AdversarialCases(plan.classifier), *(v.attacked for v in plan.variants))
    assert [stage.key for stage in stages] == [
        *("7c23f912513588af2742eac2", "57e833ee7446bdc442885bc4"),
        *("9a10c9eb25bf81108c69f69d", "cd260d83538a9c5d930e219d"),
    ]
