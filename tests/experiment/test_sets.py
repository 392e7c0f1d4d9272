"""A hiding experiment on several data sets: each has its own budgets, and what it would have alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medaegis._errors import InputError
from medaegis.experiment import Context, HidingSettings, SetsSettings, Store, hiding_plan, sets_plan

SMALL = {"model": "small-resnet", "weights": None, "size": 32, "epochs": 8, "train_batch": 8, "learning_rate": 2e-3}


def toy(folder: Path, classes: int = 10, n: int = 200) -> Path:
    """A folder with an .npz file of many classes, each with a bright square of its own at its own place."""
    random = np.random.default_rng(0)
    labels = np.arange(n) % classes
    images = random.integers(0, 60, (n, 20, 20, 3), dtype=np.uint8)
    for i, label in enumerate(labels):
        row, column = divmod(int(label), 4)
        images[i, 3 + 5 * row : 7 + 5 * row, 1 + 5 * column : 5 + 5 * column] += 150
    (folder / "toy").mkdir()
    np.savez(folder / "toy" / "toy.npz", train_images=images, train_labels=labels)
    return folder


def test_budgets_by_set() -> None:
    settings = SetsSettings(sets=["a@8/256", "b@1/256", "a@16/256"])
    assert settings.budgets == {"a": ("8/256", "16/256"), "b": ("1/256",)}
    with pytest.raises(InputError, match="NAME@BUDGET"):
        sets_plan(SetsSettings(sets="phantom-chest"))
    with pytest.raises(InputError, match="name phantoms among the sets"):
        sets_plan(SetsSettings(source="phantom-chest"))
    with pytest.raises(InputError, match="different values"):
        sets_plan(SetsSettings(**SMALL, sets=["phantom-chest@8/256", "phantom-chest@8/256"]))


def test_each_set_has_the_stages_that_it_would_have_alone(tmp_path: Path) -> None:
    settings = SetsSettings(
        **SMALL, data=str(toy(tmp_path)), sets=["toy@8/256", "phantom-chest@1/256"], classes=("class 1", "class 4")
    )
    published = {"toy": {("8/256", "with", "KD", "AUC"): 30.1}}
    plan = sets_plan(settings, published=published)
    alone = [
        HidingSettings(**SMALL, data=str(tmp_path / "toy"), eps="8/256", classes=("class 1", "class 4")),
        HidingSettings(**SMALL, source="phantom-chest", eps="1/256"),
    ]
    for one, own in zip(plan.plans, alone, strict=True):
        assert [stage.key for stage in one.stages] == [stage.key for stage in hiding_plan(own, dataset="d").stages]
    assert [one.dataset for one in plan.plans] == ["toy", "Chest phantoms"]
    assert [one.published for one in plan.plans] == [published["toy"], {}]


def test_ten_classes(tmp_path: Path) -> None:
    """Attacks go to the next class, mixtures are a class's own, and every case of AdvTest has its row."""
    changes = SMALL | {"epochs": 12, "eps": "16/256", "steps": 4, "checks": 0}
    plan = hiding_plan(HidingSettings(**changes, data=str(toy(tmp_path) / "toy")), dataset="toy")
    context = Context(Store(tmp_path / "stages"))
    for stage in plan.stages:
        context.get(stage)
    bank = plan.variants[1].attacked.bank
    assert bank is not None
    assert all(set(by_class) == set(range(10)) for by_class in bank.bank(context).mixtures.values())
    made = context.get(plan.variants[0].attacked).tensors
    labels = plan.classifier.split.images.dataset(context).labels[plan.cases.split(context).test]
    assert made["fooled"].tolist() == (made["prediction"].numpy() == (labels + 1) % 10).tolist()
    content = plan.collect(context)
    assert {row.metric for row in content.rows} >= {"clean AUC", "Adv. Acc", "AUC", "undetected"}
    assert len([case for case in content.cases if case["kind"] == "clean"]) == 2 * len(labels)
    assert set(content.facts["data"]["classes"].values()) == {20}
