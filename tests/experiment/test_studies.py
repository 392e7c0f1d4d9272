"""Stress test and gradient direction as experiments: what is planned, what is attacked, what is checked."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from medaegis._errors import InputError
from medaegis.attack import CrossEntropy, cw_linf, pgd, run_attack
from medaegis.experiment import Context, DirectionSettings, Store, StressSettings, direction_plan, stress_plan
from medaegis.experiment._direction import attacks_of
from medaegis.experiment._direction_content import scenarios
from medaegis.experiment._stress import stress_totals
from medaegis.measure import LayerStress, block_layers, consistent_channels
from medaegis.models import build_model
from medaegis_recipes import gradient_direction, stress_test

SMALL = {"model": "small-resnet", "weights": None, "size": 32, "images": 9, "epochs": 6, "train_batch": 8}


def toy(folder: Path, classes: int = 3, n: int = 90) -> Path:
    """A folder with one .npz file in which the brightness of a patch tells the class."""
    random = np.random.default_rng(0)
    labels = np.arange(n) % classes
    images = random.integers(0, 60, (n, 20, 20, 3), dtype=np.uint8)
    images[:, 4:16, 4:16] += (60 * labels[:, None, None, None]).astype(np.uint8)
    (folder / "toy").mkdir()
    np.savez(folder / "toy" / "toy.npz", train_images=images, train_labels=labels)
    return folder


def test_settings_are_checked_before_any_work(tmp_path) -> None:
    for settings, match in (
        ({"sets": ["phantom-chest", "phantom-chest"]}, "different names"),
        ({"sets": ["fundus"]}, "--data DIR"),
        ({"sets": ["phantom-chest"], "source": "phantom-chest"}, "name phantoms among the sets"),
        ({"sets": ["phantom-chest"], "eps": ["1/256", "1/256"]}, "different budgets"),
    ):
        with pytest.raises(InputError, match=match):
            stress_plan(StressSettings(**(SMALL | settings)))


def test_all_networks_start_alike_and_train_alike() -> None:
    plan = stress_plan(StressSettings(**SMALL, sets=["phantom-chest", "phantom-fundus"]))
    first, second = plan.classifiers.values()
    assert (first.model, first.train, first.seed) == (second.model, second.train, second.seed)
    assert first.split.images.size == second.split.images.size
    one, other = (build_model("small-resnet", classes=k, seed=0).model.state_dict() for k in (2, 10))
    same = [torch.equal(one[name], other[name]) for name in one if not name.startswith("fc.")]
    assert all(same)


def test_fewer_steps_of_the_same_size_end_at_the_iterates() -> None:
    net = build_model("small-resnet", classes=2, seed=0).model.eval()
    x = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    y = torch.zeros(3, dtype=torch.int64)
    eps, now, found = 4 / 256, x.clone(), {}
    for step in range(1, 11):
        leaf = now.requires_grad_(True)
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(net(leaf), 1 - y, reduction="sum"), leaf)
        now = (now.detach() - eps / 5 * gradient.sign()).clamp(x - eps, x + eps).clamp(0, 1)
        found[f"BIM {step}"] = now
    attacks = attacks_of(eps, 10)
    for name in ("BIM 2", "BIM 6", "BIM"):
        made = run_attack(attacks[name], net, x, y, target=1 - y).x
        expected = found["BIM 10" if name == "BIM" else name]
        assert ((made - expected).abs() > 1e-6).float().mean() < 0.01  # signs of gradients near zero may differ


def test_with_two_classes_cw_is_pgd() -> None:
    """A corollary of Theorem I: margin and cross-entropy pull z in one direction, and a sign knows no length."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)).double()
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.arange(5) % 2
    made = [
        run_attack(attack, net, x, y, target=1 - y, generator=torch.Generator().manual_seed(3)).x
        for attack in (pgd(4 / 256, steps=6), cw_linf(4 / 256, steps=6))
    ]
    assert torch.equal(*made)
    assert isinstance(pgd(4 / 256, steps=6).objective, CrossEntropy)


def test_many_classes_are_attacked_towards_class_0_on_consistent_channels(tmp_path) -> None:
    settings = DirectionSettings(
        **SMALL, data=str(toy(tmp_path)), sets=["toy"], eps="8/256", steps=5, learning_rate=3e-3
    )
    plan = direction_plan(settings)
    context = Context(Store(tmp_path / "stages"))
    for stage in plan.stages:
        context.get(stage)
    (scenario,) = scenarios(plan, context)
    tensors = context.get(plan.runs["toy"]).tensors
    data = plan.classifiers["toy"].split.images.dataset(context)
    assert scenario.title == "toy, other classes to class 0"
    assert (data.labels[scenario.places] != 0).all()
    assert torch.equal(scenario.channels, consistent_channels(tensors["weight"], 0))
    assert scenario.direction is None
    assert list(scenario.changes)[:6] == ["FGSM", "BIM", "MIM", "PGD", "CW", "Noise"]
    test = plan.classifiers["toy"].split.split(context).test
    assert set(scenario.places) <= set(test.tolist())
    content = plan.collect(context)
    metrics = {row.metric for row in content.rows}
    assert "Pearson correlation" not in metrics
    assert len([row for row in content.rows if row.metric == "similarity of iterations"]) == 10
    assert len([row for row in content.rows if row.metric == "similarity of attacks"]) == 15
    assert {check["name"]: check["passed"] for check in content.facts["checks"]}[
        "Equation 12 is these networks' gradient"
    ]
    cases = [c for c in content.cases if (c["metric"], c["pair"]) == ("similarity of attacks", "FGSM, BIM")]
    value = next(r.value for r in content.rows if (r.metric, r.attack) == ("similarity of attacks", "FGSM, BIM"))
    assert value == pytest.approx(100 * np.nanmean([c["similarity"] for c in cases]))


def test_a_target_without_images_is_left_out_and_said(tmp_path) -> None:
    settings = DirectionSettings(**(SMALL | {"epochs": 1}), sets="phantom-chest", cases=60, steps=5)
    plan = direction_plan(settings)
    context = Context(Store(tmp_path / "stages"))
    run = plan.runs["phantom-chest"]
    data, split = (f(context) for f in (run.classifier.split.images.dataset, run.classifier.split.split))
    stored = context.get(run.classifier).tensors["test_logits"]
    stored[:] = torch.tensor([1.0, 0.0])  # always NORMAL, so no PNEUMONIA is classified rightly
    found = context.get(run)
    assert (found.info["targets"], found.info["left_out"]) == ([1], [0])
    assert (data.labels[found.tensors["1.index"]] == 0).all()
    assert set(found.tensors["1.index"].tolist()) <= set(split.test.tolist())
    assert any("target NORMAL is left out" in text for text in plan.collect(context).facts["warnings"])


def test_a_silent_layer_is_no_sign_of_a_weak_attack() -> None:
    zeros, steps = torch.zeros(2), torch.tensor([5, 5])
    silent = LayerStress("a", torch.ones(2), zeros, torch.ones(2) * 2, steps, torch.tensor([0, 0]))
    stuck, right = stress_totals((silent,))
    assert stuck.sum() == 0
    assert right.all()
    dead = silent._replace(down=torch.tensor([0.5, 1.5]), zero_up=steps)
    stuck, right = stress_totals((dead,))
    assert stuck.tolist() == [5, 5, 5, 5]
    assert right.tolist() == [True, False, True, True]


def test_the_papers_layers_are_activations_36_45_and_48_of_resnet50() -> None:
    net = build_model("resnet50", classes=2).model
    x = torch.rand(1, 3, 32, 32)
    from medaegis.models import Taps

    names = Taps(net).names(x)
    assert tuple(names[i] for i in (36, 45, 48)) == tuple(
        stress_test.LAYERS.values()
    )  # 0 is the stem, which the papers leave out
    assert set(stress_test.LAYERS.values()) <= set(block_layers(net, x))
    assert len(stress_test.figures()) == 2 * 3 * 2 * 2 * 4
    plan = stress_plan(StressSettings(**SMALL, sets="phantom-chest"), published=stress_test.figures())
    assert plan.published == {}  # other networks have other layers


def test_the_papers_similarities_have_the_pairs_of_the_run() -> None:
    published = gradient_direction.figures()
    assert len(published) == 30
    names = [pair.names for pair in published if pair.metric == "similarity of iterations"]
    assert set(names) == {", ".join(pair) for pair in itertools.combinations(("2", "4", "6", "8", "10"), 2)}
    assert all(0.7 < value < 1 for value in published.values())
    for steps, count in ((10, 30), (20, 10)):
        settings = DirectionSettings(**SMALL, sets="phantom-chest", steps=steps)
        assert len(direction_plan(settings, published=published).published) == count
