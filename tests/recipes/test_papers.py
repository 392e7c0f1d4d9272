"""Every table and figure is a recipe by name: it plans at every scale, and shares its stages with those by subject."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

import pytest

from medaegis.experiment import Recipe, Row
from medaegis.experiment._run import planned
from medaegis.experiment._stage import distinct
from medaegis.experiment._stages_data import Images
from medaegis.experiment._stages_model import Classifier
from medaegis_recipes import (
    aegis,
    cushion_detectors,
    defence,
    detectors,
    gradient_direction,
    hfc21,
    hfc23,
    hfc23_figures,
    lesions,
    natural_images,
    rivals,
    semi_white_box,
    stress_test,
)

ROOT = Path(__file__).parents[2]
NAMES = {
    *(f"hfc21-table{i}" for i in range(1, 5)),
    *("hfc21-supp1", "hfc21-supp-fig1"),
    *(f"hfc21-fig{i}" for i in range(1, 4)),
    *(f"hfc23-table{i}" for i in range(1, 7)),
    *(f"hfc23-fig{i}" for i in range(1, 10)),
    *(f"aegis-table{i}" for i in range(1, 6)),
}


def announced() -> dict[str, Recipe]:
    text = (ROOT / "pyproject.toml").read_text()
    places = tomllib.loads(text)["project"]["entry-points"]["medaegis.recipes"]
    found = {name: place.split(":") for name, place in places.items()}
    return {name: getattr(importlib.import_module(module), part) for name, (module, part) in found.items()}


RECIPES = {recipe.name: recipe for recipe in announced().values()}


def test_every_table_and_figure_has_a_name() -> None:
    own = {name for name in announced() if name.partition("-")[0] in ("hfc21", "hfc23", "aegis")}
    assert own == NAMES


def test_an_alias_is_announced_and_named_by_its_recipe() -> None:
    for name, recipe in announced().items():
        assert name == recipe.name or name in recipe.aliases
    for recipe in RECIPES.values():
        assert all(announced()[alias] is recipe for alias in recipe.aliases)


def folders(where: Path) -> Path:
    """A folder with two patients' images of each data set, enough to plan."""
    from PIL import Image

    for name in ("fundus", "chest_xray", "cifar10"):
        for label in ("a", "b"):
            (where / name / label).mkdir(parents=True)
            for i in range(2):
                Image.new("RGB", (8, 8), (i, len(label), len(name))).save(where / name / label / f"{i}.png")
    return where


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders(tmp_path_factory.mktemp("sets"))


def place(recipe: Recipe, data: Path) -> Path:
    """What `--data` would be: the parent for papers' tables and recipes over several sets, one set for the others."""
    several = (
        recipe.name.partition("-")[0] in ("hfc21", "hfc23", "aegis") or "sets" in type(recipe.settings).model_fields
    )
    return data if several else data / "chest_xray"


@pytest.mark.parametrize("name", list(RECIPES))
@pytest.mark.parametrize("version", ["tiny", "small", "paper"])
def test_every_recipe_plans_at_every_scale(name: str, version: str, data: Path) -> None:
    recipe = RECIPES[name]
    if version == "paper" and not recipe.paper_scale:
        assert name == "demo"
        pytest.skip("has one scale only")
    scale = "small" if version == "tiny" else version
    plan = planned(recipe, data=place(recipe, data), tiny=version == "tiny", scale=scale, changes=None)
    assert len(plan.stages) >= 4
    models = {getattr(stage, "model", None) for stage in plan.stages} - {None}
    if version == "paper":
        assert models <= {"resnet50", "vgg16", "resnet18-3d"}
    sizes = {stage.size for stage in plan.stages if isinstance(stage, Images)}
    assert max(sizes) <= {"tiny": 48, "small": 224, "paper": 270}[version]  # 256, and 270 of volumes


ATTACKS = ("Attacked", "Stressed", "Moved", "LesionAnomaly", "Tried", "Unaware")
SHARED = [
    (hfc21.table2, detectors.chest_xray, "chest_xray"),
    (hfc21.table2, detectors.fundus, "fundus"),
    (hfc23.table2, rivals.fundus, "fundus"),
    (hfc23.table4, semi_white_box.chest_xray, "chest_xray"),
    (hfc23.table5, natural_images.recipe, ""),
    (hfc23.table6, lesions.recipe, "chest_xray"),
    (hfc21.table1, stress_test.recipe, ""),
    (hfc23_figures.fig2, gradient_direction.recipe, ""),
    (aegis.table2, cushion_detectors.fundus, "fundus"),
    (aegis.table4, defence.chest_xray, "chest_xray"),
]


@pytest.mark.parametrize(("table", "subject", "folder"), SHARED)
def test_a_table_shares_the_stages_of_its_subjects(table: Recipe, subject: Recipe, folder: str, data: Path) -> None:
    """The classifier and every attack that is shown have the subject's keys; only what scores them may differ."""
    joined = planned(table, data=data, tiny=False, scale="small", changes=None).plan
    own = planned(subject, data=data / folder if folder else data, tiny=False, scale="small", changes=None)
    (part,) = (one for one in joined.ready if one.part.recipe is subject)
    stages = distinct(part.plan.stages)
    alone = {stage.key for stage in own.stages}
    attacks = [one for one in stages if one.name in ATTACKS and getattr(one, "learning", None) is None]
    assert attacks
    assert {one.key for one in attacks} <= alone
    assert {one.key for one in stages if isinstance(one, Classifier)} <= alone


def test_table2_has_the_shield_among_detectors(data: Path) -> None:
    """Aegis Table 2: detectors as they are, the Shield's figures as if it were one, nothing that only a trial has."""
    plan = planned(aegis.table2, data=data, tiny=False, scale="small", changes=None).plan
    told = {one.part.shown: one.part.rows for one in plan.ready}
    assert told["cushion-detectors-fundus"] is None
    among = told["defence-fundus"]
    row = Row("Fundus", "resnet18", "MIM + HFC", "16/256", "", "Medical Aegis (jpeg:80), paper", "AUC", 1, 1, 1, 4, 2)
    assert among(row) == row._replace(attack="MIM", hfc="with", model="resnet18 behind jpeg:80")
    assert among(row._replace(detector="Shield, paper")).model == "resnet18"
    assert among(row._replace(attack="Worst case")) is None
    assert among(row._replace(metric="Adv. Acc")) is None


def test_table2_has_the_papers_figures_of_the_shield(data: Path) -> None:
    plan = planned(aegis.table2, data=data, tiny=False, scale="small", changes=None).plan
    (trial,) = (one.plan for one in plan.ready if one.part.recipe is defence.fundus)
    assert trial.published["MIM + HFC", "16/256", "", "Shield", "TPR@90"] == 97.7


def test_figures_of_another_network_are_not_the_papers(data: Path) -> None:
    """Fig. 5's half on VGG-16: the tables' figures are of ResNet-50, and only the clean AUC is known of VGG-16."""
    plan = planned(hfc23_figures.fig5, data=data, tiny=False, scale="paper", changes=None).plan
    known = {one.part.shown: one.plan.published for one in plan.ready}
    assert len(known["detectors-fundus"]) > 100
    assert known["detectors-fundus-vgg16"] == {("", "", "", "", "clean AUC"): 99.3}
    assert known["detectors-chest-xray-vgg16"] == {("", "", "", "", "clean AUC"): 96.5}


def test_what_the_papers_print_alike_is_planned_alike(data: Path) -> None:
    """Table III is the half on Fundoscopy of the supplement's: all its stages are among those."""
    one, both = (planned(r, data=data, tiny=False, scale="small", changes=None) for r in (hfc23.table3, hfc21.supp1))
    assert {stage.key for stage in one.stages} < {stage.key for stage in both.stages}
