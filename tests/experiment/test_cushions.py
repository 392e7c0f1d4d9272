"""Experiments behind a Cushion: the identity changes nothing, and no Cushion is what was there before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from medaegis._errors import InputError
from medaegis.defend import JPEG, BitDepth, Chain, Cushion, TotalVariation
from medaegis.experiment import (
    Content,
    Context,
    CushionsSettings,
    HidingSettings,
    SeedsSettings,
    Store,
    StressSettings,
    _stages_cushion,
    cushions_plan,
    hiding_plan,
    named_cushion,
    seeds_plan,
    stress_plan,
)
from medaegis.experiment._named_cushion import cushion_name
from medaegis.experiment._stages_cushion import Cushioned, behind, cushion_of, own_layer, shown_model
from medaegis.experiment._stages_detect import DetectorChoice, parse_detectors
from medaegis.experiment._stages_model import Classifier
from medaegis.models import PENULTIMATE

SMALL: dict[str, Any] = {"model": "small-resnet", "weights": None, "size": 32}
PHANTOM = SMALL | {"source": "phantom-chest"}
TRAINED = {"cases": 240, "epochs": 8, "train_batch": 16, "learning_rate": 2e-3}


@dataclass(frozen=True)
class Identity(Cushion):
    """A Cushion that leaves every image as it is."""

    def exact(self, x: Tensor) -> Tensor:
        return x.clone()

    def surrogate(self, x: Tensor) -> Tensor:
        return x


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages read the Cushion jpeg:80 as the identity."""
    monkeypatch.setattr(_stages_cushion, "cushion_from_json", lambda _value: Identity())


def collected(plan: Any, folder: Path) -> Content:
    context = Context(Store(folder))
    for stage in plan.stages:
        context.get(stage)
    return plan.collect(context)


def values(content: Content, model: str) -> dict[tuple[str, ...], tuple[float, ...]]:
    return {
        (row.dataset, row.attack, row.eps, row.hfc, row.detector, row.metric): row[-5:-1]
        for row in content.rows
        if row.model == model
    }


def test_without_a_cushion_every_stage_is_what_it_was() -> None:
    """Keys of the commit before Cushions, so that stored results are found; change them with a stage's `version`."""
    plan = hiding_plan(HidingSettings(**PHANTOM), dataset="d")
    stages = (plan.classifier, plan.variants[0].clean, plan.variants[1].scores, plan.probes[-1])
    assert [stage.key for stage in stages] == [
        *("04828cb369553fce1baea651", "7d82645adf241aaaaa57e078"),
        *("88db0cb7662f91f40fc8504c", "1ab5906a0da5edbfad780d41"),
    ]
    learning = HidingSettings(**PHANTOM, detectors=("KD:mean", "MAHA:logistic", "DNN"))
    assert hiding_plan(learning, dataset="d").variants[1].scores.key == "f12723a84441e25790f6cfd7"
    runs = stress_plan(StressSettings(**SMALL, sets=("phantom-chest",))).runs["phantom-chest"]
    assert [run.key for run in runs] == ["408260678957a0ce9e33bd94", "156fea2790cf41c4924c165a"]
    seeds = seeds_plan(SeedsSettings(**PHANTOM, seeds=(0, 7)), dataset="d").stages
    assert (len(seeds), seeds[-1].key) == (18, "46e3061edb436dc178c6bdf4")


def test_the_identity_leaves_the_stress_test_as_it_is(tmp_path: Path, idle: None) -> None:
    few = {"cases": 60, "epochs": 2, "images": 5, "eps": ("4/256",), "steps": 3}
    settings = StressSettings(**SMALL, **few, sets=("phantom-chest",), cushions=("none", "jpeg:80"))
    content = collected(stress_plan(settings), tmp_path)
    first, second = (values(content, model) for model in ("small-resnet", "small-resnet behind Identity()"))
    assert len(first) == 2 + 5 * 2 * 5
    assert first == second
    assert all(
        first[(*place, "change ratio")] == value
        for (*place, metric), value in first.items()
        if metric == "change ratio to no Cushion"
    )


def test_the_identity_leaves_the_hiding_experiment_as_it_is(tmp_path: Path, idle: None) -> None:
    few = PHANTOM | TRAINED | {"size": 48, "steps": 3, "checks": 0}
    settings = CushionsSettings(**few, eps="16/256", components=2, detectors=("KD@relu", "DNN"))
    content = collected(cushions_plan(settings, dataset="d"), tmp_path)
    first, second = (values(content, model) for model in ("small-resnet", "small-resnet behind Identity()"))
    assert len(first) == 2 + 2 * (1 + 2 * 7)
    assert list(first) == list(second)
    for place, value in first.items():
        assert second[place] == pytest.approx(value, abs=1e-9, nan_ok=True), place


def test_everything_of_the_experiment_stands_behind_the_cushion() -> None:
    """No stage but the classifier's own training sees the network alone."""
    plan = hiding_plan(HidingSettings(**PHANTOM, cushion="jpeg:80", hiding=("hfc", "white-box")), dataset="d")
    assert isinstance(plan.classifier, Cushioned)
    assert plan.classifier.step == JPEG(80)
    bare = hiding_plan(HidingSettings(**PHANTOM, hiding=("hfc", "white-box")), dataset="d")
    assert plan.classifier.base == bare.classifier
    assert not {stage.key for stage in plan.stages} & {stage.key for stage in bare.stages}
    assert plan.cases.classifier == plan.variants[1].scores.features.classifier == plan.classifier


def test_a_cushioned_classifier_is_found_again_and_is_no_other() -> None:
    one = behind(BitDepth(3), hiding_plan(HidingSettings(**PHANTOM), dataset="d").classifier)
    assert one.key == "37defadc9c195635fbcdcccf"  # of the commit that brought it
    assert isinstance(one, Cushioned)
    assert (
        len({one.key, one.base.key, behind(BitDepth(4), one.base).key, behind(BitDepth(3), one.base, "identity").key})
        == 4
    )
    assert one.version - Classifier.version == -1  # raise it with the classifier's


def test_names_of_layers_and_models_tell_the_cushion_once() -> None:
    bare = hiding_plan(HidingSettings(**PHANTOM), dataset="d").classifier
    guarded = behind(Chain((BitDepth(3), JPEG(70))), bare)
    assert (shown_model(bare), shown_model(guarded)) == ("small-resnet", "small-resnet behind bits:3+jpeg:70")
    assert (cushion_of(bare), cushion_of(guarded)) == ("none", "bits:3+jpeg:70")
    assert own_layer(guarded, "model.stages.0.relu#2") == own_layer(bare, "stages.0.relu#2")
    assert own_layer(bare, "model.relu") == "model.relu"  # a network may have a part of that name


@pytest.mark.parametrize("name", ["none", "jpeg:70", "bits:4", "tv:0.03", "tv:0.1", "bits:3+jpeg:70+tv:0.015"])
def test_a_cushions_name_is_what_it_was_named_by(name: str) -> None:
    assert cushion_name(named_cushion(name)) == name


def test_a_cushion_without_a_name_is_told_by_its_values() -> None:
    assert cushion_name(JPEG(80, "4:4:4")) == "JPEG(quality=80, subsampling='4:4:4')"
    assert cushion_name(TotalVariation(0.1234567890123)) == "tv:0.1234567890123"


def test_bad_cushions_are_refused_before_any_work() -> None:
    for cushions, match in ((("none", "none"), "different"), (("blur:3",), "jpeg:QUALITY"), ((), "different")):
        with pytest.raises(InputError, match=match):
            cushions_plan(CushionsSettings(**PHANTOM, cushions=cushions), dataset="d")
        with pytest.raises(InputError, match=match):
            stress_plan(StressSettings(**SMALL, sets=("phantom-chest",), cushions=cushions))
    with pytest.raises(InputError, match="quality"):
        hiding_plan(HidingSettings(**PHANTOM, cushion="jpeg:0"), dataset="d")
    with pytest.raises(InputError, match="left out behind a Cushion"):
        hiding_plan(HidingSettings(**PHANTOM, cushion="jpeg:80", reference="hfc-2021"), dataset="d")


def test_kd_reads_every_activation_where_it_is_told_to() -> None:
    """Aegis section 4.1: the average of anomaly scores of all activation layers."""
    draws = torch.Generator().manual_seed(0)
    features = {name: torch.randn(40, 3, generator=draws) for name in ("a", "b", PENULTIMATE)}
    labels = torch.arange(40) % 2
    alone, every = parse_detectors(("KD",), 1.0)[0].build(), DetectorChoice.parse("KD@relu", bandwidth=1.0).build()
    scores = {name: type(alone)(1.0).fit(z, labels).score(z, labels) for name, z in features.items()}
    assert torch.equal(
        alone.fit(alone.pick(features), labels).score(features[PENULTIMATE], labels), scores[PENULTIMATE]
    )
    found = every.fit(every.pick(features), labels).score(every.pick(features), labels)
    assert torch.allclose(found, (scores["a"] + scores["b"]) / 2)
    assert parse_detectors(("KD@relu",), 1.0)[0].label == "KD"
    for name, match in (("KD@last", "KIND@relu"), ("KD@", None), ("KD:sum", "KIND:mean")):
        if match is None:
            assert DetectorChoice.parse(name).build().layers == PENULTIMATE
            continue
        with pytest.raises(InputError, match=match):
            DetectorChoice.parse(name)
