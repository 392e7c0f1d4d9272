"""Several recipes as one table: rows of all, each part's own folder, and what has no data is left out and said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.csv
import pytest
from PIL import Image

from medaegis import InputError
from medaegis.experiment import HidingSettings, Part, Recipe, StressSettings, joined_recipe, run_recipe, stress_plan
from medaegis.experiment import hiding_plan as plan_of
from medaegis.experiment._content import Content, Row
from medaegis.experiment._joined_content import Told, joined_content

TINY = {
    "source": "phantom-chest", "cases": 120, "size": 32, "epochs": 6, "train_batch": 16, "learning_rate": 2e-3,
    "model": "small-resnet", "weights": None, "eps": ("8/256",), "steps": 2, "checks": 0,
}  # fmt: skip

KNOWN = {("8/256", "with", "KD", "AUC"): 50.0}


def subject(name: str, title: str) -> Recipe:
    return Recipe(
        name=name, title=title, question=f"{title}?", settings=HidingSettings(epochs=3), paper_scale={"size": 256},
        plan=lambda s: plan_of(s, dataset=title, published=KNOWN, differs=("D", title)),
        tiny=TINY,
    )  # fmt: skip


LEFT, RIGHT = subject("left", "Left"), subject("right", "Right")
TABLE = joined_recipe(
    "table",
    "A table",
    (Part(LEFT, "left"), Part(RIGHT, "right"), Part(RIGHT, "right", {"size": 64}, name="right-large", only="paper")),
    paper="Table 1",
)


def images(folder: Path) -> Path:
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
        Image.new("L", (8, 8)).save(folder / label / "0.png")
    return folder


def test_two_parts_become_one_table_with_a_page_each(tmp_path: Path) -> None:
    done = run_recipe(TABLE, out=tmp_path, tiny=True)
    rows = pyarrow.csv.read_csv(tmp_path / "table.csv").to_pylist()
    names = [row["dataset"] for row in rows]
    assert set(names) == {"Left (phantoms)", "Right (phantoms)"}
    assert names == sorted(names)  # part after part
    half = len(rows) // 2
    for left, right in zip(rows[:half], rows[half:], strict=True):  # the same phantoms, the same stages
        assert {**left, "dataset": ""} == {**right, "dataset": ""}
    assert all(row["published"] is None for row in rows)  # not beside phantoms
    alone = run_recipe(LEFT, out=tmp_path / "alone", tiny=True)
    assert done.computed == alone.computed  # parts share what they have in common
    own = pyarrow.csv.read_csv(tmp_path / "left" / "table.csv").to_pylist()
    assert [row["value"] for row in own] == [row["value"] for row in rows[:half]]
    for name, title in (("left", "Left"), ("right", "Right")):
        manifest = json.loads((tmp_path / name / "manifest.json").read_text())
        assert (manifest["title"], manifest["settings"]["size"]) == (title, 32)
        page = (tmp_path / name / "report.html").read_text()
        assert "Map of the features" in page
    page = (tmp_path / "report.html").read_text()
    for text in ('href="left/report.html"', 'href="right/report.html"', "Left (phantoms)", "right: Right"):
        assert text in page
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["differs"] == ["right-large is only run with --scale paper.", "D", "left: Left", "right: Right"]
    assert manifest["data"]["n"] == 120  # the same images, once
    assert run_recipe(TABLE, out=tmp_path, tiny=True).computed == 0


def test_one_part_is_that_parts_own_page(tmp_path: Path) -> None:
    one = joined_recipe("one", "One", (Part(LEFT, "left"),), paper="Fig. 1")
    run_recipe(one, out=tmp_path, tiny=True)
    assert not (tmp_path / "left").exists()
    assert "Map of the features" in (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / "manifest.json").read_text())["title"] == "One"


def plan(data: Path | None, *, scale: str = "small", **changes: Any) -> Any:
    given = {"data": None if data is None else str(data), "model": "small-resnet", "weights": None}
    return TABLE.plan(TABLE.with_changes(given | changes, scale=scale))


def test_a_part_without_data_is_left_out_and_said(tmp_path: Path) -> None:
    images(tmp_path / "right")
    found = plan(tmp_path)
    assert [one.part.shown for one in found.ready] == ["right"]
    assert found.ready[0].settings.data == str(tmp_path / "right")
    assert f"left is left out: there is no folder {tmp_path / 'left'}." in found.left_out


def test_no_data_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"left/, right/"):
        plan(tmp_path)
    with pytest.raises(InputError, match=r"--data DIR"):
        plan(None)


def test_the_papers_scale_reaches_every_part_and_keeps_what_a_part_is_for(tmp_path: Path) -> None:
    images(tmp_path / "right")
    found = plan(tmp_path, scale="paper")
    assert [(one.part.shown, one.settings.size) for one in found.ready] == [("right", 256), ("right-large", 64)]
    with pytest.raises(InputError, match="tiny"):
        TABLE.with_changes({}, tiny=True, scale="paper")
    with pytest.raises(InputError, match="small, its only one"):
        Recipe("r", "t", "q", HidingSettings(), LEFT.plan, {}).with_changes({}, scale="paper")


def test_settings_reach_all_parts_or_the_one_that_is_named(tmp_path: Path) -> None:
    for name in ("left", "right"):
        images(tmp_path / name)
    found = plan(tmp_path, **{"epochs": "7", "right.seed": "3"})
    assert [(one.settings.epochs, one.settings.seed) for one in found.ready] == [(7, 0), (7, 3)]
    for wrong in ("epoch", "middle.epochs", "left.epoch"):
        with pytest.raises(InputError, match=wrong.replace(".", r"\.")):
            plan(tmp_path, **{wrong: "7"})


def test_a_recipe_over_several_sets_takes_those_that_are_there(tmp_path: Path) -> None:
    stress = Recipe(
        "stress", "S", "?", StressSettings(sets=("left", "right")), stress_plan, {"sets": ("phantom-chest",)}
    )
    table = joined_recipe("t", "T", (Part(stress, "", {"eps": ("4/256",)}),), paper="Table 1")
    images(tmp_path / "left")
    given = {"data": str(tmp_path), "model": "small-resnet", "weights": None}
    found: Any = table.plan(table.with_changes(given))
    assert found.ready[0].settings.sets == ("left",)
    assert found.left_out == (f"stress is left out: there is no folder {tmp_path / 'right'}.",)
    assert found.ready[0].settings.eps == ("4/256",)


def test_a_part_of_synthetic_images_takes_the_users_where_they_are(tmp_path: Path) -> None:
    """As head CT: phantoms stand in, until there is a folder."""
    settings = HidingSettings(source="phantom-chest", model="small-resnet", weights=None, size=32)
    plan_ = lambda s: plan_of(s.model_copy(update={"source": None}) if s.data else s, dataset="Brain")
    brain = Recipe("brain", "B", "?", settings, plan_, {"size": 16})
    table = joined_recipe("t", "T", (Part(LEFT, "left"), Part(brain, "brain")), paper="Table 1")

    def sources(tiny: bool = False) -> dict[str, str]:
        found: Any = table.plan(table.with_changes({"data": str(tmp_path)}, tiny=tiny))
        return {one.part.shown: one.plan.classifier.split.images.source for one in found.ready}

    images(tmp_path / "left")
    assert sources() == {"left": "folder", "brain": "phantom-chest"}
    images(tmp_path / "brain")
    assert sources() == {"left": "folder", "brain": "folder"}
    assert sources(tiny=True) == {"left": "phantom-chest", "brain": "phantom-chest"}


def test_a_part_without_the_papers_scale_is_left_out_there(tmp_path: Path) -> None:
    small = Recipe("small", "S", "?", LEFT.settings, LEFT.plan, TINY)
    images(tmp_path / "left")
    table = joined_recipe("t", "T", (Part(LEFT, "left"), Part(small, "left")), paper="Table 1")
    found: Any = table.plan(table.with_changes({"data": str(tmp_path), "model": "small-resnet"}, scale="paper"))
    assert [one.part.shown for one in found.ready] == ["left"]
    assert found.left_out == ("small has no version at the papers' scale.",)


def test_sets_may_carry_budgets(tmp_path: Path) -> None:
    class Sets(HidingSettings):
        sets: tuple[str, ...] = ("left@1/256", "left@2/256", "right@1/256")

    (tmp_path / "left").mkdir()
    recipe = Recipe("sets", "S", "?", Sets(), lambda s: s, TINY)  # pyright: ignore[reportArgumentType]
    table = joined_recipe("t", "T", (Part(recipe),), paper="Table 1")
    found: Any = table.plan(table.with_changes({"data": str(tmp_path)}))
    assert found.ready[0].settings.sets == ("left@1/256", "left@2/256")
    assert found.left_out == (f"sets is left out: there is no folder {tmp_path / 'right'}.",)


def test_images_of_two_sources_are_counted_both() -> None:
    one = told("a", [])
    other = told("b", [], data=one.content.facts["data"] | {"source": "t", "n": 3})
    assert joined_content([one, other]).facts["data"]["n"] == 2 + 3
    assert joined_content([one, one._replace(name="c")]).facts["data"]["n"] == 2


def test_a_label_tells_parts_of_one_data_set_apart() -> None:
    row = Row("d", "m", "Worst case", "1/256", "", "Shield", "AUC", 1.0, 0.0, 2.0, 5, 3.0)
    parts = [told(name, [row])._replace(label=name) for name in ("taps", "Cushions")]
    joined = joined_content(parts)
    assert [one.dataset for one in joined.rows] == ["d: taps", "d: Cushions"]
    assert [part.content.rows for part in joined.parts] == [[row], [row]]


def told(name: str, rows: list[Row], **facts: Any) -> Told:
    data = {"source": "s", "root": "r", "fingerprint": "f", "n": 2, "classes": {"a": 1}, "split": {"by": "image"}}
    base = {"data": data | {"skipped": []}, "model": {"name": "net"}, "adaptive": None, "checks": [], "warnings": []}
    return Told(name, {}, Content(rows, [], base | {"differs": []} | facts))


def test_a_row_that_two_parts_have_stands_once_and_facts_keep_their_parts() -> None:
    one = Row("d", "m", "BIM", "1/256", "with", "KD", "AUC", 1.0, 0.0, 2.0, 5, 3.0)
    other = one._replace(published=None)
    check = {"name": "Alive", "passed": True, "text": ""}
    alone = one._replace(detector="BU")
    first = told("a", [one, alone], adaptive=True, followed=["KD", "BU"], warnings=["w"], checks=[check])
    second = told("b", [other, one._replace(value=0.5)], adaptive=False, followed=["MAHA"])
    joined = joined_content([first, second])
    assert joined.rows == [one, alone, one._replace(value=0.5)]
    assert joined.facts["adaptive"] is False  # one part that nobody aimed at is enough
    assert joined.facts["followed"] == ["BU"]  # KD is followed in one part of two; BU in the only one that has it
    assert joined.facts["warnings"] == ["a: w"]
    assert joined.facts["checks"][0]["name"] == "Alive (a)"
    assert [part.name for part in joined.parts] == ["a", "b"]


def test_a_part_may_show_other_rows_in_the_joined_table_than_on_its_own_page() -> None:
    one = Row("d", "m", "BIM", "1/256", "with", "KD", "AUC", 1.0, 0.0, 2.0, 5, 3.0)
    trial = one._replace(attack="BIM + HFC", hfc="", detector="Shield")
    part = told("b", [trial, trial._replace(metric="Adv. Acc")])
    part = part._replace(rows=lambda row: row._replace(attack="BIM", hfc="with") if row.metric == "AUC" else None)
    joined = joined_content([told("a", [one]), part])
    assert joined.rows == [one, one._replace(detector="Shield")]
    assert joined.parts[1].content.rows == part.content.rows


def test_networks_that_several_parts_have_are_told_once() -> None:
    both = told("a", [], model={"name": "net, net behind jpeg:80"})
    assert joined_content([both, told("b", [])]).facts["model"]["name"] == "net, net behind jpeg:80"
