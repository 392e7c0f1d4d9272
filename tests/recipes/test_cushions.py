"""Tiny versions of the recipes with Cushions: what is beside what, and that a second run computes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet
import pytest

from medaegis.experiment import StressSettings, cushions_plan, run_recipe, stress_plan
from medaegis.measure import block_layers
from medaegis.models import build_model
from medaegis.report import text_table
from medaegis_recipes import cushion_detectors
from medaegis_recipes import stress_test_cushion as stress
from recipes.run_checks import rows_of


def test_stress_test_behind_cushions(out: Path) -> None:
    """Each ratio is the quotient of its own means, and the paper's that of the clean mean without a Cushion."""
    run_recipe(stress.recipe, out=out, tiny=True)
    rows = rows_of(out)
    places = [(r["dataset"], r["model"], r["attack"], r["metric"]) for r in rows]
    assert len(set(places)) == len(places)
    found = {place: row["value"] for place, row in zip(places, rows, strict=True)}
    models = {"small-resnet", "small-resnet behind jpeg:70", "small-resnet behind bits:3"}
    assert {row["model"] for row in rows if row["metric"] == "clean AUC"} == models
    ratios = [place for place in places if place[3] == "change ratio"]
    assert len(ratios) == 2 * 3 * 5 * 2
    other = 0
    for dataset, model, attack, _ in ratios:
        after = found[dataset, model, attack, "activation after"]
        for metric, owner in (("change ratio", model), (stress.TO_NONE, "small-resnet")):
            clean = found[dataset, owner, attack, "activation before"]
            assert found[dataset, model, attack, metric] == pytest.approx(100 * (after / clean - 1), abs=1e-3)
        change = found[dataset, model, attack, "change ratio"]
        assert (change > 0) == attack.startswith("up")
        other += change != pytest.approx(found[dataset, model, attack, stress.TO_NONE], abs=1e-6)
    assert other == 2 * 2 * 5 * 2  # behind every Cushion, and only there
    assert {case["model"] for case in pyarrow.parquet.read_table(out / "cases.parquet").to_pylist()} == models
    page, text = (out / "report.html").read_text(), text_table(out)
    assert page.count('class="plot"') == 2 * 2  # a data set has its own group of two
    for words in ("behind the same Cushion", "to clean images without a Cushion", "behind jpeg:70", "no Cushion"):
        assert words in page
        assert words in text
    assert run_recipe(stress.recipe, out=out, tiny=True).computed == 0


def test_the_papers_layers_are_residual_blocks_of_resnet50() -> None:
    import torch

    blocks = block_layers(build_model("resnet50", classes=2).model, torch.rand(1, 3, 32, 32))
    assert tuple(blocks[i] for i in (1, 4, 10, 15, 16)) == tuple(stress.LAYERS.values())  # 0 is the stem
    figures = stress.figures()
    assert len(figures) == 2 + 60 + 10
    place = ("Fundoscopy", "4/256", "network.layer4.2.relu#3", "up")
    known = {key[4:]: value for key, value in figures.items() if key[:4] == place}
    assert known["change ratio", "none"] == known[stress.TO_NONE, "none"] == 481
    assert known[stress.TO_NONE, "jpeg:70"] == 53.7
    assert ("change ratio", "jpeg:70") not in known  # the paper has none relative to clean images behind it
    small = StressSettings(sets="phantom-chest", model="small-resnet", weights=None, size=32)
    assert stress_plan(small, published=figures).published == {}
    large = small.model_copy(update={"model": "resnet50"})
    assert stress_plan(large, published=figures).published == figures


def test_detectors_with_and_without_a_cushion(out: Path) -> None:
    recipe = cushion_detectors.fundus
    run_recipe(recipe, out=out, tiny=True)
    rows = rows_of(out)
    models = ["small-resnet", "small-resnet behind jpeg:80"]
    assert list(dict.fromkeys(row["model"] for row in rows)) == models
    metrics = ("Adv. Acc", "AUC", "TPR@90", "TNR achieved", "undetected")
    for model, paper in zip(models, (0.7, 75.1), strict=True):
        own = {(r["hfc"], r["detector"], r["metric"]): r for r in rows if r["model"] == model}
        assert {d for _, d, _ in own if d} == {"KD", "MAHA", "LID", "DNN"}
        for metric in metrics[1:]:
            assert own["with", "KD", metric]["n"] > 0
        assert own["with", "MAHA", "AUC"]["published"] == paper
        assert own["without", "MAHA", "AUC"]["published"] is None
        fooled = own["with", "", "Adv. Acc"]["value"]
        assert all(own["with", d, "undetected"]["value"] <= fooled for d in ("KD", "MAHA", "LID", "DNN"))
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["model"]["name"] == "small-resnet, small-resnet behind jpeg:80"
    assert "adv_test, behind jpeg:80" in manifest["data"]["split"]
    names = [check["name"] for check in manifest["checks"]]
    assert "Gradients are alive (without a Cushion)" in names
    assert "Gradients are alive (behind jpeg:80)" in names
    page, text = (out / "report.html").read_text(), text_table(out)
    assert page.count('">BIM + HFC: MAHA') == 1
    assert "Pictures and drawings are of small-resnet." in page
    assert "BIM + HFC: MAHA" in text
    assert "BIM 16/256 small-resnet behind jpeg:80 without HFC" in text
    assert run_recipe(recipe, out=out, tiny=True).computed == 0


def test_only_fundus_images_have_published_detectors() -> None:
    plans = {
        recipe.name: recipe.plan(recipe.with_changes({}, tiny=True))
        for recipe in (cushion_detectors.fundus, cushion_detectors.chest_xray)
    }
    first, second = plans["cushion-detectors-fundus"].plans
    assert first.published["CW-Linf", "16/256", "with", "LID", "TPR@90"] == 20.0
    assert second.published["CW-Linf", "16/256", "with", "LID", "TPR@90"] == 51.6
    assert not any(plan.published for plan in plans["cushion-detectors-chest-xray"].plans)
    other = cushion_detectors.fundus.with_changes({"cushions": ["none", "bits:3"]}, tiny=True)
    figures = {("BIM", "16/256", "with", "KD behind jpeg:80", "AUC"): 71.1}
    assert not any(plan.published for plan in cushions_plan(other, dataset="d", published=figures).plans)
