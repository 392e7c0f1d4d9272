"""Tiny versions that `run all --tiny` has not run from data to report, and second runs that compute nothing."""

from __future__ import annotations

import importlib
import json
import os
import tomllib
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet
import pytest

from medaegis.experiment import Recipe, find_recipe, run_recipe
from medaegis.report import text_table
from medaegis_recipes.gradient_direction import recipe as gradient_direction
from medaegis_recipes.stress_test import recipe as stress_test
from recipes.run_checks import check_hiding, key, rows_of

DATA = Path(os.environ.get("MEDAEGIS_DATA", Path(__file__).parents[3] / "shared" / "data"))


def check_run(out: Path) -> None:
    rows = rows_of(out)
    assert {row["metric"] for row in rows} >= {"AUC", "TPR@90", "Adv. Acc", "clean AUC", "undetected"}
    ways = {row["hfc"] for row in rows if row["attack"]}
    assert ways - {"white-box KD", "white-box MAHA"} == {"without", "with"}
    assert all(row["ci_low"] - 1e-9 <= row["value"] <= row["ci_high"] + 1e-9 for row in rows if row["n"])
    assert {row["metric"] for row in rows if not row["n"]} <= {"AUC, successful", "AUC, failed"}
    cases = pyarrow.parquet.read_table(out / "cases.parquet").to_pylist()
    assert {case["kind"] for case in cases} == {"clean", "noise", "adversarial"}
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["versions"]["torch"]
    assert manifest["data"]["split"]["by"] == "patient"
    page = (out / "report.html").read_text()
    checks = {check["name"]: check["passed"] for check in manifest["checks"]}
    for hidden in ("without", "with"):
        assert checks[f"Many steps are not below one step ({hidden} HFC)"] is not None
        assert checks[f"More steps do not help ({hidden} HFC)"] is not None
        assert checks[f"More restarts do not help ({hidden} HFC)"] is None  # BIM draws nothing
    assert checks["White-box is not below transfer"] is None
    followed = len(ways) == 4
    assert checks["An attack follows each detector"] is followed
    assert ("Non-adaptive for KD, MAHA." in page) is not followed
    check_sheets(out, rows)
    assert all(name in page for name in checks)
    assert "<html" in page
    assert "http" not in page.split("<body")[0].replace("http-equiv", "")


def check_sheets(out: Path, rows: list[dict]) -> None:
    """Successful and failed cases add up to all; differences are those of the table's AUCs."""
    found = {(r["attack"], r["eps"], r["hfc"], r["detector"], r["metric"]): r for r in rows}
    for (*place, detector, metric), row in found.items():
        if metric == "AUC":
            parts = [found[(*place, detector, f"AUC, {kind}")] for kind in ("successful", "failed")]
            assert sum(part["n"] for part in parts) == row["n"]
            whole = sum(part["n"] * part["value"] for part in parts if part["n"])
            assert whole / row["n"] == pytest.approx(row["value"])
    lines = pyarrow.csv.read_csv(out / "differences.csv").to_pylist()
    assert {line["hfc"] for line in lines} == {row["hfc"] for row in rows if row["attack"]}
    for line in lines:
        (first, way), (second, other) = (line[side].split(", ", 1) for side in ("first", "second"))
        area = found[line["attack"], line["eps"], way, first, "AUC"]["value"]
        area -= found[line["attack"], line["eps"], other, second, "AUC"]["value"]
        assert line["value"] == pytest.approx(area)
        assert line["low"] <= line["value"] <= line["high"]
        assert 0 <= line["p"] <= 1


def test_demo(tmp_path: Path) -> None:
    recipe = find_recipe("demo")
    done = run_recipe(recipe, out=tmp_path, tiny=True)
    assert done.computed > 10
    assert done.found == 0
    check_run(tmp_path)
    first = (tmp_path / "table.csv").read_bytes()
    again = run_recipe(recipe, out=tmp_path, tiny=True)
    assert again.computed == 0
    assert (tmp_path / "table.csv").read_bytes() == first
    run_recipe(recipe, out=tmp_path, tiny=True, changes={"checks": 0})
    checks = json.loads((tmp_path / "manifest.json").read_text())["checks"]
    assert sum(check["text"] == "Not run: switched off with checks=0." for check in checks) == 6


@pytest.mark.real_data
def test_chest_xray_small(tmp_path: Path) -> None:
    if not (DATA / "chest_xray").is_dir():
        pytest.skip(f"no chest X-rays in {DATA}: set MEDAEGIS_DATA")
    run_recipe(find_recipe("chest-xray-small"), data=DATA / "chest_xray", out=tmp_path, tiny=True)
    check_run(tmp_path)


def test_attack_curves(out: Path) -> None:
    """On phantoms: every attack at every budget, the checks of the attacks' strength, and a page of curves."""
    changes = {"source": "phantom-chest", "cases": 120, "size": 32, "eps": ["2/256", "16/256", "64/256"], "steps": 4}
    recipe = find_recipe("attack-curves")
    run_recipe(recipe, out=out, tiny=True, changes=changes)
    rows = [row for row in rows_of(out) if row["metric"] == "Adv. Acc"]
    names = {row["attack"] for row in rows}
    assert len(names) == len(recipe.settings.attacks)
    assert len(rows) == 3 * len(names)
    assert all(row["ci_low"] - 1e-9 <= row["value"] <= row["ci_high"] + 1e-9 for row in rows)
    manifest = json.loads((out / "manifest.json").read_text())
    said = {check["name"] for check in manifest["checks"]}
    assert {"Gradients are alive", "BIM is not below a single step", "BIM is not below transfer"} <= said
    page = (out / "report.html").read_text()
    assert "Success against the budget" in page
    assert page.count('aria-label="Success of') == len(names)
    assert run_recipe(recipe, out=out, tiny=True, changes=changes).computed == 0


def check_study(recipe: Recipe, out: Path, drawings: int) -> list[dict]:
    """Run twice; the table, the page with that many drawings, and nothing computed again."""
    run_recipe(recipe, out=out, tiny=True)
    rows = rows_of(out)
    assert all(row["ci_low"] - 1e-9 <= row["value"] <= row["ci_high"] + 1e-9 for row in rows)
    page = (out / "report.html").read_text()
    assert page.count('class="plot"') == drawings
    manifest = json.loads((out / "manifest.json").read_text())
    assert all(check["passed"] is not False for check in manifest["checks"])
    assert run_recipe(recipe, out=out, tiny=True).computed == 0
    assert (out / "cases.csv").stat().st_size > 100
    assert "change" in text_table(out).lower()
    return rows


def test_stress_test(out: Path) -> None:
    """Two phantoms: every block, both ways, at both budgets."""
    rows = check_study(stress_test, out, drawings=4)
    ratios = [row for row in rows if row["metric"] == "change ratio"]
    assert len(ratios) == 2 * 5 * 2 * 2
    assert all((row["value"] > 0) == row["attack"].startswith("up") for row in ratios)
    assert {row["metric"] for row in rows} >= {"activation before", "activation after", "activation difference"}


def test_gradient_direction(out: Path) -> None:
    """One phantom: both targets, a scatter plot and two matrices each."""
    rows = check_study(gradient_direction, out, drawings=6)
    pearson = [row["value"] for row in rows if (row["metric"], row["attack"]) == ("Pearson correlation", "BIM")]
    assert len(pearson) == 2
    assert min(pearson) > 30  # the direction that equation 8 gives
    assert (out / "channels.parquet").is_file()


def test_every_recipe_is_announced() -> None:
    """`medaegis list` finds recipes by the entry points of pyproject.toml."""
    root = Path(__file__).parents[2]
    announced = tomllib.loads((root / "pyproject.toml").read_text())["project"]["entry-points"]["medaegis.recipes"]
    files = [file.stem for file in (root / "recipes" / "medaegis_recipes").glob("*.py") if file.stem[0] != "_"]
    modules = {stem: importlib.import_module(f"medaegis_recipes.{stem}") for stem in files}
    written = [
        (f"medaegis_recipes.{stem}:{name}", known)
        for stem, module in modules.items()
        for name, value in vars(module).items()
        if isinstance(value, Recipe)
        for known in (value.name, *value.aliases)
    ]
    assert sorted(written) == sorted((place, name) for name, place in announced.items())


HIDINGS = {
    "hiding-chest-xray": {"without", "with"},
    "fewer-steps": {"without", "with"},
    "stronger-hiding": {
        *("without", "with", "HFC, selective", "HFC, orthogonal", "HFC, chosen weights", "HFC, released code"),
    },
}


@pytest.mark.parametrize("name", list(HIDINGS))
def test_ways_of_hiding(out: Path, name: str) -> None:
    run_recipe(find_recipe(name), out=out, tiny=True)
    check_hiding(out, HIDINGS[name], 2)


def test_matrix_of_attacks(out: Path) -> None:
    """Detectors tested on the attack that they learned from are those of the table; on another one they are not."""
    run_recipe(find_recipe("detectors-chest-xray"), out=out, tiny=True, changes={"attack": ["bim", "cw_linf"]})
    rows = {key(row): row["value"] for row in rows_of(out)}
    lines = pyarrow.csv.read_csv(out / "matrix.csv").to_pylist()
    assert {line["detector"] for line in lines} == {"MAHA", "LID", "SVM", "DNN"}
    crossed = {(line["learned"], line["attack"]) for line in lines}
    assert len(crossed) == 4
    assert len(lines) == 4 * 4 * 2 * 3  # detectors, pairs of attacks, ways of hiding, metrics
    same = [line for line in lines if line["learned"] == line["attack"]]
    assert all(line["value"] == rows[key(line)] for line in same)
    other = [line["value"] - rows[key(line)] for line in lines if line["learned"] != line["attack"]]
    assert any(other)
    layers = pyarrow.csv.read_csv(out / "layers.csv").to_pylist()
    assert {"AUC of KD", "AUC of MAHA", "AUC of LID"} <= {line["measure"] for line in layers}
    page = (out / "report.html").read_text()
    assert "learned from CW-Linf" in page
    assert "Non-adaptive for KD, MAHA, LID, SVM, DNN, BU." in page


def test_white_box(out: Path) -> None:
    """An attack that follows a detector gets past this one at least as often as one that follows nothing."""
    run_recipe(find_recipe("white-box-chest-xray"), out=out, tiny=True)
    rows = {key(row): row["value"] for row in rows_of(out)}
    for name in ("KD", "MAHA", "LID", "SVM", "DNN", "BU"):
        found = [rows["PGD", "8/256", way, name, "undetected"] for way in ("without", f"white-box {name}")]
        assert found[1] >= found[0]
        assert found[1] > 0
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["followed"] == ["KD", "MAHA", "LID", "SVM", "DNN", "BU"]
    assert {c["name"]: c["passed"] for c in manifest["checks"]}["An attack follows each detector"] is True
    page = (out / "report.html").read_text()
    assert "Non-adaptive" not in page
    assert "White-box attacks on each detector" in page
    assert "white-box KD (an attacker who knows KD in full): undetected" in text_table(out)


def test_several_seeds(out: Path) -> None:
    """The table is the mean over seeds, its intervals hold every seed's own, and each seed is an experiment alone."""
    recipe = find_recipe("seeds-chest-xray")
    run_recipe(recipe, out=out, tiny=True)
    rows = {key(row): row for row in rows_of(out)}
    lines = pyarrow.csv.read_csv(out / "seeds.csv").to_pylist()
    assert {line["seed"] for line in lines} == {0, 1}
    for place, row in rows.items():
        own = [line for line in lines if key(line) == place and line["n"]]
        if own:
            assert row["value"] == pytest.approx(sum(line["value"] for line in own) / len(own))
            assert row["ci_low"] == min(line["ci_low"] for line in own)
            assert row["n"] == sum(line["n"] for line in own)
    clean = [line["value"] for line in lines if line["metric"] == "clean AUC"]
    assert clean[0] != clean[1]  # another split and another training
    page = (out / "report.html").read_text()
    assert "Seed by seed" in page
    assert "the table has another value" not in page
    assert run_recipe(recipe, out=out, tiny=True).computed == 0


@pytest.mark.parametrize(
    ("name", "second"),
    [
        ("defence-layers", "Medical Aegis (jpeg:80), paper, tap 1"),
        ("defence-cushions", "Medical Aegis (jpeg:90), paper"),
    ],
)
def test_parts_of_a_defence(name: str, second: str, out: Path) -> None:
    """Two defences each, with the paper's figures of both."""
    run_recipe(find_recipe(name), out=out, tiny=True)
    rows = rows_of(out)
    assert list(dict.fromkeys(row["detector"] for row in rows))[1] == second
    shown = [row["detector"] for row in rows if row["metric"] == "AUC" and row["published"] is not None]
    assert set(shown) == {row["detector"] for row in rows}
    assert all(row["attack"] == "PGD" for row in rows if row["metric"] == "AUC" and row["published"] is not None)


def test_defences(out: Path) -> None:
    """On phantoms: both defences, the worst case at both budgets, and a page that begins with it."""
    recipe = find_recipe("defence-fundus")
    run_recipe(recipe, out=out, tiny=True)
    rows = rows_of(out)
    worst = [row for row in rows if row["attack"] == "Worst case" and row["metric"] == "undetected"]
    assert [row["eps"] for row in worst] == ["4/256", "16/256"] * 2
    for row in worst:
        same = (row["detector"], row["eps"], row["metric"])
        alone = [r["value"] for r in rows if (r["detector"], r["eps"], r["metric"]) == same and r["attack"]]
        assert row["value"] == max(alone)
    lines = text_table(out).splitlines()
    assert [line.split(", against 4 attackers")[0] for line in lines[:2]] == [row["detector"] for row in worst[::2]]
    page = (out / "report.html").read_text()
    assert "some attacker fools the classifier" in page
    assert "How the Shields learned" in page
    assert run_recipe(recipe, out=out, tiny=True).computed == 0
