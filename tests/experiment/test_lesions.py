"""The lesion experiment: seeds by image, results that do not depend on batches, and figures counted by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from medaegis._errors import InputError
from medaegis.data import add_lesions
from medaegis.experiment import Context, LesionSettings, Recipe, Store, lesion_plan
from medaegis.experiment._lesions import LesionPlan
from medaegis.experiment._lesions_content import _View
from medaegis.experiment._lesions_stages import case_seed
from medaegis.models import PENULTIMATE

SMALL = LesionSettings(
    source="phantom-fundus", cases=100, size=32, model="small-resnet", weights=None, epochs=6, train_batch=8,
    learning_rate=2e-3, lesions=("large 2",), draws=3, components=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("stages"))


@pytest.fixture(scope="module")
def plan() -> LesionPlan:
    return lesion_plan(SMALL, dataset="Fundoscopy", published={"large 2": (94.9, 0.4)})


def test_seeds_differ_by_image_size_quantity_draw_and_seed() -> None:
    one = ("a.png", "small", 2, 0, 0)
    others = [("b.png", *one[1:]), ("a.png", "large", *one[2:]), (*one[:2], 4, 0, 0), (*one[:3], 1, 0), (*one[:4], 1)]
    seeds = {case_seed(*key) for key in (one, *others)}
    assert len(seeds) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert case_seed(*one) == case_seed(*one)


def test_draws_are_made_by_the_image_s_name(plan: LesionPlan, store: Store) -> None:
    (stage,), context = plan.lesions, Context(store)
    data = plan.clean.fit.features.classifier.split.images.dataset(context)
    both = stage.images(np.array([5, 3]), 1, context)
    assert torch.equal(both[1:], stage.images(np.array([3]), 1, context))
    seeds = [case_seed(data.names[i], "large", 2, 1, 0) for i in (5, 3)]
    assert torch.equal(both, add_lesions(data.tensor([5, 3]), size="large", quantity=2, seeds=seeds).images)
    assert not torch.equal(both, stage.images(np.array([5, 3]), 0, context))


def test_scores_are_the_detector_s_and_do_not_depend_on_batches(plan: LesionPlan, store: Store) -> None:
    (stage,), context = plan.lesions, Context(store, batch_size=32)
    stored = context.get(stage).tensors
    again = stage.compute(Context(store, batch_size=3)).tensors
    assert torch.equal(again["predicted"], stored["predicted"])
    torch.testing.assert_close(again["score"], stored["score"], rtol=1e-3, atol=1e-3)
    index = plan.clean.index(context)
    assert stored["score"].shape == (3, len(index))
    detector, model = plan.clean.fit.detector(context), plan.clean.fit.features.classifier.load(context)
    assert detector.fitted_layers() == ("",)
    expected = detector.score_images(model, stage.images(index, 2, context))
    torch.testing.assert_close(stored["score"][2], expected, rtol=1e-3, atol=1e-3)


def test_clean_images_are_those_of_test_that_are_classified_right(plan: LesionPlan, store: Store) -> None:
    context = Context(store)
    classifier = plan.clean.fit.features.classifier
    data, split = classifier.split.images.dataset(context), classifier.split.split(context)
    found = context.get(plan.clean).tensors
    assert set(found["index"].tolist()) <= set(split.test.tolist())
    assert found["predicted"].tolist() == data.labels[found["index"].numpy()].tolist()


def test_every_activation(plan: LesionPlan, store: Store) -> None:
    fit, context = replace(plan.clean.fit, layer="all"), Context(store)
    assert fit.key != plan.clean.fit.key
    detector = fit.detector(context)
    assert len(detector.fitted_layers()) > 3
    assert PENULTIMATE not in detector.fitted_layers()


def test_figures_by_hand(plan: LesionPlan) -> None:
    """Two clean images; two draws, of which one changed the decision of the first image."""
    view = object.__new__(_View)
    view.plan = replace(plan, published={"large 2": (94.9, 0.4)})
    view.groups, view.clean = ["p", "q"], {"score": np.array([1.0, 3.0])}
    view.context = SimpleNamespace(get=lambda _: SimpleNamespace(info={"test": {}}))
    view.classifier = None
    scores = np.array([[0.0, 2.0], [5.0, 4.0]])
    changed = np.array([[True, False], [False, False]])
    view._found = lambda _: {"score": scores, "changed": changed}
    area, rate, every = view.rows()
    assert (area.metric, area.n, area.published, area.detector) == ("AUC", 3, 94.9, "HFC")
    assert area.value == pytest.approx(100 * 5 / 6)  # 2 beats 1; 5 and 4 beat both
    assert (rate.metric, rate.value, rate.n, rate.published) == ("FR", 25.0, 4, 0.4)
    assert (every.metric, every.n, every.published) == ("AUC with changed", 4, None)
    assert every.value == pytest.approx(100 * 5 / 8)
    # patients are drawn with all their images: p alone (0 and 5 against 1; FR 50), q alone, or both
    assert (rate.ci_low, rate.ci_high) == (0.0, 50.0)


def test_published_figures_do_not_stand_beside_phantoms(plan: LesionPlan) -> None:
    assert plan.dataset == "Fundoscopy (phantoms)"
    assert plan.published == {}


def test_settings_are_checked() -> None:
    recipe = Recipe("mine", "", "", SMALL, lambda s: lesion_plan(s, dataset="D"), {})
    for bad in ("small", "small 0", "huge 2", "small x"):
        with pytest.raises(InputError, match=r"each is a size \(tiny, small, medium, large\) and a quantity"):
            recipe.with_changes({"lesions": bad})
    assert recipe.with_changes({"lesions": ["tiny 6", "large 1"]}).lesions == ("tiny 6", "large 1")
    with pytest.raises(InputError, match="different sizes and quantities"):
        recipe.plan(recipe.with_changes({"lesions": ["tiny 6", "tiny 6"]}))
