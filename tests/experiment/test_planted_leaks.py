"""Leaks planted into a run, each caught: a twin in the reference, a scaler on test data, a patient on two sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from medaegis import LeakError
from medaegis.data import Dataset
from medaegis.detect import SVM, check_detector
from medaegis.experiment import Context, HidingSettings, Result, Stage, Store, hiding_plan
from medaegis.experiment._hiding import HidingPlan
from medaegis.experiment._stage import distinct
from medaegis.experiment._stages_attack import Attacked
from medaegis.experiment._stages_data import Images
from medaegis.experiment._stages_detect import CleanScores, Learned
from medaegis.experiment._stages_model import AdversarialCases, DetectorCases

SETTINGS = HidingSettings(
    source="phantom-chest",
    model="small-resnet",
    weights=None,
    cases=240,
    size=48,
    epochs=8,
    train_batch=16,
    learning_rate=2e-3,
    eps=("8/256",),
    steps=4,
    checks=0,
    detectors=("KD", "LID", "SVM"),
)


@pytest.fixture(scope="module")
def plan() -> HidingPlan:
    return hiding_plan(SETTINGS, dataset="phantoms")


@pytest.fixture(scope="module")
def store(plan: HidingPlan, tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("run") / "stages")
    context = Context(store)
    for stage in plan.clean.inputs:
        context.get(stage)
    return store


class Planted(Context):
    """A context in which one stage's result was changed by hand."""

    def __init__(self, store: Store, kind: type[Stage], change: Callable[[Result], Result]) -> None:
        super().__init__(store)
        self.kind, self.change = kind, change

    def get(self, stage: Stage) -> Result:
        found = super().get(stage)
        return self.change(found) if isinstance(stage, self.kind) else found


def learned_of(plan: HidingPlan) -> Learned:
    assert plan.clean.learned is not None
    return plan.clean.learned


def split_of(stage: AdversarialCases | DetectorCases, store: Store) -> dict[str, list[str]]:
    return Context(store).get(stage).info["split"]["parts"]


def moved(part: str, name: str) -> Callable[[Result], Result]:
    """Put one more case into a part of a stored split."""

    def change(found: Result) -> Result:
        split = found.info["split"]
        parts = split["parts"] | {part: [*split["parts"][part], name]}
        return Result({}, {**found.info, "split": split | {"parts": parts}})

    return change


def test_without_a_leak_all_is_quiet(plan: HidingPlan, store: Store) -> None:
    context = Context(store)
    learned_of(plan).compute(context)
    plan.clean.compute(context)


def test_a_twin_in_the_reference_set_is_caught(plan: HidingPlan, store: Store) -> None:
    """A clean image of AdvTest among the Train features that LID takes its neighbours from."""
    twin = split_of(plan.cases, store)["test"][0]
    assert plan.classifier.split is not None
    leaking = Planted(store, type(plan.classifier.split), moved("train", twin))
    for compute in (plan.clean.compute, learned_of(plan).compute):
        with pytest.raises(LeakError, match="is in both"):
            compute(leaking)


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_test_case_that_detectors_learn_or_are_calibrated_from_is_caught(
    plan: HidingPlan, store: Store, part: str
) -> None:
    twin = split_of(plan.cases, store)["test"][0]
    leaking = Planted(store, DetectorCases, moved(part, twin))
    for compute in (plan.clean.compute, learned_of(plan).compute):
        with pytest.raises(LeakError, match="is in both"):
            compute(leaking)


def test_a_patient_on_both_sides_is_caught(plan: HidingPlan, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two different images of one patient, one learned from and one tested on."""
    learning = learned_of(plan).attacked.learning
    assert learning is not None
    first, second = split_of(learning, store)["train"][0], split_of(plan.cases, store)["test"][0]
    honest = Images.dataset

    def one_patient(stage: Images, context: Context) -> Dataset:
        data = honest(stage, context)
        groups = tuple("one patient" if name in (first, second) else group for name, group in _named(data))
        return replace(data, groups=groups)

    monkeypatch.setattr(Images, "dataset", one_patient)
    for compute in (plan.clean.compute, learned_of(plan).compute):
        with pytest.raises(LeakError, match="Patient 'one patient' is in both"):
            compute(Context(store))


def _named(data: Dataset) -> list[tuple[str, str]]:
    return list(zip(data.names, data.groups, strict=True))


def touched_test_images(plan: HidingPlan, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every image of AdvTest another one."""
    names, honest = set(split_of(plan.cases, store)["test"]), Images.dataset

    def other(stage: Images, context: Context) -> Dataset:
        data = honest(stage, context)
        images = data.images.copy()
        images[[name in names for name in data.names]] = 7
        return replace(data, images=images)

    monkeypatch.setattr(Images, "dataset", other)


def same(first: Result, second: Result) -> bool:
    return all(torch.equal(tensor, second.tensors[name]) for name, tensor in first.tensors.items())


class ScalerOnTest(Learned):
    """The leak: what the detectors are fitted on is scaled by the test cases too."""

    def _examples(self, model: torch.nn.Module, context: Context):
        parts = super()._examples(model, context)
        cases = self.attacked.cases
        data = cases.classifier.split.images.dataset(context)
        scale = float(data.tensor(cases.split(context).test).std())
        shrink = {name: z * (1 + scale) for name, z in parts.negative.items()}  # pyright: ignore[reportAttributeAccessIssue]
        return parts._replace(negative=shrink)


def test_a_scaler_on_test_data_is_caught(plan: HidingPlan, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is fitted does not change when every test image does; a planted scaler does change."""
    learned = learned_of(plan)
    leaking = ScalerOnTest(learned.features, learned.attacked, learned.detectors, learned.seed)
    before = learned.compute(Context(store)), leaking.compute(Context(store))
    touched_test_images(plan, store, monkeypatch)
    assert same(before[0], learned.compute(Context(store)))
    assert not same(before[1], leaking.compute(Context(store)))


def test_nothing_that_is_fitted_needs_a_stage_of_the_test_cases(plan: HidingPlan) -> None:
    needed = distinct((learned_of(plan),))
    assert not any(isinstance(stage, CleanScores) for stage in needed)
    assert all(stage.learning is not None for stage in needed if isinstance(stage, Attacked))


class ScalesByItsQueries(SVM):
    """The same leak inside a detector: standardised by whatever it scores."""

    def score(self, features, predicted=None):
        if isinstance(features, torch.Tensor):
            features = (features - features.mean(dim=0)) / features.std(dim=0, unbiased=False).clamp_min(1e-9)
        return super().score(features, predicted)


def test_a_detector_that_scales_by_its_queries_fails_the_public_checks() -> None:
    with pytest.raises(AssertionError):
        check_detector(ScalesByItsQueries)


def test_thresholds_come_from_cases_that_are_not_tested(plan: HidingPlan, store: Store) -> None:
    learning = learned_of(plan).attacked.learning
    assert learning is not None
    held, tested = (set(split_of(stage, store)["test"]) for stage in (learning, plan.cases))
    assert not held & tested
    scores = plan.clean.compute(Context(store)).tensors
    assert len(scores["calibration.SVM"]) == len(held)
    assert len(scores["clean.SVM"]) == len(tested)
    assert not np.isin(scores["clean.KD"].numpy(), scores["calibration.KD"].numpy()).all()
