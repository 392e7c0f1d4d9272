"""Recipes whose table has several networks or data sets: figures in their places, and published ones beside them."""

from __future__ import annotations

import json
from pathlib import Path

from medaegis.experiment import SetsSettings, SubstitutesSettings, run_recipe
from medaegis.report import text_table
from medaegis_recipes import natural_images, semi_white_box
from medaegis_recipes._published import published
from recipes.run_checks import rows_of

FROM_ANOTHER = "small-resnet attacked from another small-resnet"


def test_semi_white_box(out: Path) -> None:
    recipe = semi_white_box.chest_xray
    run_recipe(recipe, out=out, tiny=True)
    rows = rows_of(out)
    assert list(dict.fromkeys(row["model"] for row in rows)) == [FROM_ANOTHER, "small-resnet"]
    found = {(row["model"], row["hfc"], row["detector"], row["metric"]): row for row in rows}
    transfer = {row["model"] for row in rows if row["metric"] in ("Adv. Acc on the substitute", "transfer rate")}
    assert transfer == {FROM_ANOTHER}
    for way in ("without", "with"):
        there, here = (found[model, way, "", "Adv. Acc"]["value"] for model in (FROM_ANOTHER, "small-resnet"))
        assert there < here  # a substitute is a poorer guide than the network itself
    page, text = (out / "report.html").read_text(), text_table(out)
    assert "Side by side" in page
    assert f"Pictures and drawings are of {FROM_ANOTHER}." in page
    assert "Of the images that fool the substitute" in page
    assert f"- {FROM_ANOTHER}\nBIM 16/256, without HFC" in text
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["model"]["substitute"].startswith("small-resnet, clean accuracy")
    assert run_recipe(recipe, out=out, tiny=True).computed == 0


def test_both_tables_are_the_papers_size() -> None:
    settings = natural_images.recipe.settings
    assert isinstance(settings, SetsSettings)
    assert settings.budgets == {"cifar10": ("8/256", "16/256"), "chest_xray": ("1/256",)}
    own = {name: {(eps, way, detector) for _, eps, way, detector, _ in known} for name, known in
           natural_images.PUBLISHED.items()}  # fmt: skip
    assert {name: len(known) for name, known in own.items()} == {"cifar10": 2 * 2 * 5, "chest_xray": 2 * 5}
    for name, budgets in settings.budgets.items():
        assert {eps for eps, _, _ in own[name]} == set(budgets)
    for recipe, data in ((semi_white_box.chest_xray, "chest-xray"), (semi_white_box.fundus, "fundus")):
        assert isinstance(recipe.settings, SubstitutesSettings)
        detectors = {name.partition(":")[0] for name in recipe.settings.detectors}
        for figures in ("semi-white-box", "semi-white-box-vgg16"):
            known = published(figures, data)
            assert {key[0] for key in known} == {"BIM"}
            assert {key[1] for key in known} == set(recipe.settings.eps)
            assert {key[3] for key in known} == detectors | {""}


def test_the_papers_network_has_the_papers_figures() -> None:
    """ResNet-50's stand beside every ResNet, VGG-16's beside VGG-16, and only beside a substitute of the same kind."""
    changes = {"source": "phantom-chest", "size": 32, "weights": None, "substitutes": ("same", "none", "same@half")}
    for model, value in (("resnet18", 89.4), ("vgg16", 34.6)):
        plan = semi_white_box.chest_xray.plan(semi_white_box.chest_xray.with_changes(changes | {"model": model}))
        first, *others = plan.plans  # pyright: ignore[reportAttributeAccessIssue]
        for metric in ("AUC", "AUC, successful"):
            assert first.published["BIM", "4/256", "with", "KD", metric] == value
        assert not any(one.published for one in others)
