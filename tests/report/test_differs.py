"""What differs from the paper: told from the manifest, and only what does."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medaegis.report import render_report
from medaegis.report._differs import Difference, differences_from_paper, family_of
from medaegis.report._read import Row, read_run
from report.fake_run import manifest, write_fake_run

PAPERS: dict[str, Any] = {
    "size": 256, "steps": 100, "eps": ["1/256"], "components": [1], "hiding": ["hfc"],
}  # fmt: skip


def found(tmp_path: Path, settings: dict[str, Any], **changes: Any) -> dict[str, Difference]:
    data = manifest()["data"] | {"n": 5863, "split": {"train": 4690, "by": "image"}} | changes.pop("data", {})
    model = manifest()["model"] | {"name": "resnet50"} | changes.pop("model", {})
    folder = write_fake_run(
        tmp_path / "run", budgets=(1,), settings=PAPERS | settings, data=data, model=model, **changes
    )
    run = read_run(folder)
    return {one.what: one for one in differences_from_paper(run.manifest, run.table)}


def test_a_run_at_the_papers_scale_differs_in_seeds_alone(tmp_path: Path) -> None:
    assert set(found(tmp_path, {})) == {"Seeds"}


def test_settings_that_train_on_plain_images_are_no_difference(tmp_path: Path) -> None:
    assert set(found(tmp_path, {"train_eps": None, "train_steps": 5})) == {"Seeds"}
    assert "Network" not in found(tmp_path, {}, paper="Aegis Table 5", model={"name": "vgg16"})


@pytest.mark.parametrize(
    ("changes", "what", "here", "paper"),
    [
        ({"data": {"n": 1103}}, "Images, Chest X-ray", "1,103", "5,863"),
        ({"data": {"source": "phantom-chest", "n": 240}}, "Images, Chest X-ray", "240 synthetic ones", "5,863"),
        ({"data": {"split": {"train": 4690, "by": "patient"}}}, "Split", "by patient", "by image"),
        ({"model": {"name": "resnet18"}}, "Network", "ResNet-18 at 256 px", "ResNet-50 at 256 px"),
        ({"model": {"weights": "random initialisation"}}, "Start of training", "random initialisation", "weights of"),
        ({"settings": {"size": 128}}, "Network", "ResNet-50 at 128 px", "ResNet-50 at 256 px"),
        ({"paper": "Aegis Table 5"}, "Network", "ResNet-50 at 256 px", "VGG-16 at 256 px"),
        (
            *({"settings": {"train_eps": "2/256", "train_steps": 5}}, "Training"),
            *("on PGD at 2/256, 5 steps (adversarial training)", "on the images themselves"),
        ),
        ({"settings": {"steps": 40}}, "Attack steps", "40 steps", "100 steps (2 eps / (0.02/256))"),
        ({"settings": {"eps": ["1/256", "2/256"]}}, "Attack steps", "100 steps", "100 or 200 steps"),
        ({"settings": {"components": [16]}}, "Components K", "16", "1"),
        ({"settings": {"seeds": [0, 1]}}, "Seeds", "2 seeds (0, 1)", "not stated"),
        ({"recipe": "detectors (tiny)"}, "Scale", "the recipe\u2019s tiny version", "the whole experiment"),
        ({"scale": "tiny"}, "Scale", "the recipe\u2019s tiny version", "the whole experiment"),
    ],
)
def test_each_fact(tmp_path: Path, changes: dict[str, Any], what: str, here: str, paper: str) -> None:
    one = found(tmp_path, changes.pop("settings", {}), **changes)[what]
    assert (one.here, one.paper.startswith(paper)) == (here, True)
    assert one.why.endswith(".")


def test_k_names_the_class_that_is_too_small(tmp_path: Path) -> None:
    data = {"n": 507, "classes": {"no": 167, "yes": 340}, "split": {"train": 366, "by": "patient"}}
    folder = write_fake_run(
        tmp_path / "run", budgets=(1,), settings=PAPERS | {"components": [32]}, data=manifest()["data"] | data
    )
    run = read_run(folder)
    fundus = [Row("Fundoscopy (IDRiD)", *list(vars(run.table[0]).values())[1:])]
    one = next(d for d in differences_from_paper(run.manifest, fundus) if d.what == "Components K")
    assert (one.paper, "about 121 in Train" in one.why) == ("64", True)


@pytest.mark.parametrize(("passed", "said"), [(True, "do not help"), (False, "would help"), (None, "was not checked")])
def test_steps_say_what_the_check_said(tmp_path: Path, passed: bool | None, said: str) -> None:
    checks = [{"name": "More steps do not help (with HFC)", "passed": passed, "text": ""}]
    assert said in found(tmp_path, {"steps": 40}, checks=checks)["Attack steps"].why


def test_data_sets_are_counted_apart(tmp_path: Path) -> None:
    classes = {"Fundoscopy, a": 100, "Fundoscopy, b": 67, "Chest X-ray, a": 5863, "CIFAR-10, a": 9}
    folder = write_fake_run(tmp_path / "run", budgets=(1,), data=manifest()["data"] | {"classes": classes})
    run = read_run(folder)
    rows = [Row(name, *list(vars(run.table[0]).values())[1:]) for name in ("Fundoscopy", "Chest X-ray", "CIFAR-10")]
    told = {d.what: d.here for d in differences_from_paper(run.manifest, rows) if d.what.startswith("Images")}
    assert told == {"Images, Fundoscopy": "167", "Images, CIFAR-10": "9"}


@pytest.mark.parametrize(
    ("eps", "published", "said"), [("8/256", 50.0, ["8/256"]), ("1/256", 50.0, []), ("8/256", math.nan, [])]
)
def test_figures_of_another_budget_stand_beside_volumes(
    tmp_path: Path, eps: str, published: float, said: list[str]
) -> None:
    run = read_run(write_fake_run(tmp_path / "run", budgets=(1,)))
    row = replace(run.table[-1], dataset="Brain CT (phantoms)", eps=eps, published=published)
    told = [d for d in differences_from_paper(run.manifest, [row]) if d.what == "Budget"]
    assert [d.here for d in told] == said
    assert all("published figures beside ours are of 1/256" in d.why for d in told)


def test_no_paper_no_box(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path / "run", budgets=(1,), paper=None)
    assert differences_from_paper(read_run(folder).manifest, ()) == ()
    page = render_report(folder).read_text(encoding="utf-8")
    assert 'id="differs-facts"' not in page
    assert "Images are 128 by 128" in page


def test_the_box_stands_before_the_tables_and_holds_the_recipes_words(page: str) -> None:
    assert (
        page.index('id="found"') < page.index('id="differs"') < page.index('id="contents"') < page.index('id="results"')
    )
    assert "Images are 128 by 128" in page


@pytest.mark.parametrize(("paper", "family"), [("Aegis Tables 3 and 4", "Aegis"), ("HFC-23 V-I", "HFC-23"), ("", None)])
def test_families(paper: str, family: str | None) -> None:
    assert family_of(paper) == family


def test_a_joined_run_counts_each_set_and_names_each_network(tmp_path: Path) -> None:
    classes = {"detectors-fundus, a": 100, "detectors-fundus, b": 67, "detectors-chest-xray, a": 1103}
    data, model = manifest()["data"] | {"classes": classes, "n": 1270}, manifest()["model"]
    folder = write_fake_run(tmp_path / "run", budgets=(1,), data=data, model=model | {"name": "resnet18, vgg16"})
    run = read_run(folder)
    rows = [Row(name, *list(vars(run.table[0]).values())[1:]) for name in ("Fundoscopy (IDRiD)", "Chest X-ray")]
    told = {d.what: d.here for d in differences_from_paper(run.manifest, rows)}
    assert told["Images, Fundoscopy"] == "167"
    assert told["Images, Chest X-ray"] == "1,103"
    assert told["Network"] == "ResNet-18 and VGG-16"
