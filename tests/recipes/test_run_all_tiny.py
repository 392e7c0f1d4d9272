"""`medaegis run all --tiny`, once, and what its tables and pages say of volumes and of several data sets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet
import pytest

from medaegis.experiment import Several, Store, find_recipe, of_papers, run_recipes
from medaegis.report import text_table
from medaegis_recipes.vulnerability_3d import recipe as vulnerability_3d
from recipes.conftest import FINISHED
from recipes.run_checks import check_hiding, key, rows_of


@pytest.fixture(scope="module")
def done(all_tiny: Path) -> Iterator[Several]:
    yield run_recipes(of_papers(), out=all_tiny, tiny=True)
    (all_tiny / FINISHED).touch()


def part(done: Several, table: str, *names: str) -> Path:
    """The folder of a table's run, or of a recipe by subject that it joins."""
    return done.finished[table].out.joinpath(*names)


def test_nothing_fails_and_every_stage_is_computed_once(done: Several) -> None:
    assert done.failed == ()
    assert len(done.finished) == len(of_papers())
    assert done.computed == done.distinct


AGAIN = ("aegis-table4", "hfc21-supp1", "hfc23-fig9", "hfc23-table6")


def test_a_second_run_computes_nothing(done: Several, all_tiny: Path) -> None:
    """Every stage of every table is there; a few tables, which take long enough to draw, are run again."""
    for recipe in of_papers():
        plan = recipe.plan(recipe.with_changes({}, tiny=True))
        assert all(Store(done.store).has(stage) for stage in plan.stages)
    assert run_recipes([find_recipe(name) for name in AGAIN], out=all_tiny, tiny=True).computed == 0


def test_brain(done: Several) -> None:
    """Volumes end to end: four classes, six detectors, the paper's figures beside, middle slices as pictures."""
    out = part(done, "hfc23-table1", "brain")
    rows = {key(row): row for row in rows_of(out)}
    assert rows["", "", "", "", "clean accuracy"]["ci_low"] > 35  # of four classes
    for way in ("without", "with"):
        assert len([k for k in rows if k[2] == way and k[4] == "AUC"]) == 6
    found = [rows["MIM", "16/256", way, "MAHA", "AUC"]["value"] for way in ("with", "without")]
    assert found[0] < found[1]
    page = (out / "report.html").read_text()
    assert "1,486 head CTs are private" in page
    assert "slices the middle one is shown" in page


def test_vulnerability_3d(done: Several) -> None:
    """Three networks, each with a curve that reaches 100 %."""
    out = part(done, "hfc23-fig9")
    rows = rows_of(out)
    curves = {row["attack"]: [r for r in rows if r["attack"] == row["attack"]] for row in rows if row["attack"]}
    names = ["3-D", "3-D halved", "middle slices"]
    assert list(curves) == [f"BIM, {name}" for name in names]
    assert {row["dataset"] for row in rows} == {f"Brain CT (phantoms), {name}" for name in names}
    for points in curves.values():
        assert [point["eps"] for point in points] == list(vulnerability_3d.tiny["eps"])
        assert points[-1]["value"] == 100
        assert all(point["ci_low"] <= point["value"] <= point["ci_high"] for point in points)
    page = (out / "report.html").read_text()
    assert page.count('aria-label="Success of BIM') == 3


def test_natural_images(done: Several) -> None:
    out = part(done, "hfc23-table5")
    rows = rows_of(out)
    places = {(row["dataset"], row["eps"]) for row in rows if row["attack"]}
    sets = (("Fundus phantoms", "16/256"), ("Chest phantoms", "8/256"))
    assert places == set(sets)
    told = [(row["dataset"], row["eps"], row["hfc"], row["detector"], row["metric"]) for row in rows]
    assert len(set(told)) == len(told)
    page, text = (out / "report.html").read_text(), text_table(out)
    assert page.count("<summary>BIM, budget") == 2 + 1 + 1  # tables; histograms and ROC curves of the first set
    for dataset, eps in sets:
        assert f"<summary>BIM, budget {eps}, {dataset}: every figure</summary>" in page
    assert "- Chest phantoms\nBIM 8/256, without HFC" in text
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["data"]["n"] == 480
    assert manifest["data"]["classes"]["Fundus phantoms, retinopathy"] == 120


HIDINGS = [
    ("hfc21-table2", "detectors-chest-xray", {"without", "with"}, 6),
    ("hfc21-supp1", "components-fundus", {"without", "with", "HFC, K = 4"}, 6),
    ("hfc23-table2", "rivals-fundus", {"without", "with", "Random guide", "Closest guide", "KDE", "LID"}, 6),
]


@pytest.mark.parametrize(("table", "name", "ways", "detectors"), HIDINGS, ids=[one[1] for one in HIDINGS])
def test_ways_of_hiding(done: Several, table: str, name: str, ways: set[str], detectors: int) -> None:
    check_hiding(part(done, table, name), ways, detectors)


@pytest.mark.parametrize("name", ["ood-lesions", "ood-lesions-fundus"])
def test_ood_lesions(done: Several, name: str) -> None:
    """On phantoms: a row a size and quantity, scores of every draw, and a page with Table VI and pictures."""
    out = part(done, "hfc23-table6", name)
    rows = {(row["attack"], row["metric"]): row for row in rows_of(out)}
    names = ("small lesions x 2", "large lesions x 3")
    assert {key for key in rows if key[0]} == {(n, m) for n in names for m in ("AUC", "FR", "AUC with changed")}
    assert all(row["ci_low"] - 1e-9 <= row["value"] <= row["ci_high"] + 1e-9 for row in rows.values())
    assert all(row["published"] is None for row in rows.values())  # not beside phantoms
    cases = pyarrow.parquet.read_table(out / "cases.parquet").to_pylist()
    clean = [case for case in cases if case["size"] == ""]
    assert not any(case["changed"] for case in clean)
    assert len(cases) == len(clean) * (1 + 2 * 2)
    for title in names:
        size, _, _, quantity = title.split()
        drawn = [case for case in cases if (case["size"], case["quantity"]) == (size, int(quantity))]
        changed = sum(case["changed"] for case in drawn)
        assert rows[title, "FR"]["value"] == pytest.approx(100 * changed / len(drawn))
        assert rows[title, "AUC"]["n"] == len(drawn) - changed
        wins = [a["score"] > b["score"] for a in drawn if not a["changed"] for b in clean]
        assert rows[title, "AUC"]["value"] == pytest.approx(100 * sum(wins) / len(wins))
    page = (out / "report.html").read_text()
    assert "Lesions by size and quantity" in page
    assert page.count("with large lesions x 3") == 4
    assert "strong enough" not in page
