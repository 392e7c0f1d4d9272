"""`--set reference=hfc-2021` on phantoms: rows beside our own, which stay as they are."""

from __future__ import annotations

import math
from pathlib import Path

import pyarrow.csv
import pytest

from medaegis import InputError
from medaegis.experiment import Context, Store, find_recipe, run_recipe
from medaegis.experiment._stages_released import ReleasedScores

METRICS = {"AUC, hfc-2021", "TPR@90, hfc-2021"}


def rows_of(out: Path) -> list[dict]:
    return pyarrow.csv.read_csv(out / "table.csv").to_pylist()


def test_six_detectors(out: Path) -> None:
    recipe = find_recipe("detectors-chest-xray")
    run_recipe(recipe, out=out, tiny=True)
    ours = rows_of(out)
    done = run_recipe(recipe, out=out, tiny=True, changes={"reference": "hfc-2021"})
    assert done.computed == 6  # scores of two variants, and four sets of distances: nothing of ours is made again
    both = rows_of(out)
    assert [row for row in both if row["metric"] not in METRICS] == ours
    added = [row for row in both if row["metric"] in METRICS]
    detectors = {"KD", "MAHA", "LID", "SVM", "DNN", "BU"}
    for hfc in ("without", "with"):
        assert {(r["detector"], r["metric"]) for r in added if r["hfc"] == hfc} == {
            (d, m) for d in detectors for m in METRICS
        }
    known = {(r["hfc"], r["detector"], r["metric"]): r for r in both}
    for row in added:
        own = known[row["hfc"], row["detector"], row["metric"].removesuffix(", hfc-2021")]
        assert row["published"] == own["published"]
        assert math.isnan(row["value"]) or row["ci_low"] - 1e-9 <= row["value"] <= row["ci_high"] + 1e-9
    # an attack that hides is judged on its successful examples alone
    fooled = round(known["with", "", "Adv. Acc"]["value"] * known["with", "", "Adv. Acc"]["n"] / 100)
    assert {row["n"] for row in added if row["hfc"] == "with"} == {fooled}
    assert "hfc-2021" in (out / "report.html").read_text()
    assert run_recipe(recipe, out=out, tiny=True, changes={"reference": "hfc-2021"}).computed == 0
    # the threshold stands at the scores of the very clean cases that are scored
    plan = recipe.plan(recipe.with_changes({"reference": "hfc-2021"}, tiny=True))
    stages = {stage.attacked.hides: stage for stage in plan.stages if isinstance(stage, ReleasedScores)}
    tensors = Context(Store(out / "stages")).get(stages["without"]).tensors
    for kind in detectors:
        clean, adversarial = tensors[f"clean.{kind}"], tensors[f"adversarial.{kind}"]
        by_hand = 100 * float((adversarial > clean.quantile(0.9)).double().mean())
        assert known["without", kind, "TPR@90, hfc-2021"]["value"] == pytest.approx(by_hand)


def test_mode_off_is_the_default_and_adds_no_stage() -> None:
    recipe = find_recipe("detectors-chest-xray")
    off, on = (recipe.plan(recipe.with_changes(changes, tiny=True)) for changes in ({}, {"reference": "hfc-2021"}))
    keys = [[stage.key for stage in plan.stages if not isinstance(stage, ReleasedScores)] for plan in (off, on)]
    assert keys[0] == keys[1]
    assert len(off.stages) == len(keys[0])


def test_detectors_that_the_released_code_lacks_have_no_such_row(out: Path) -> None:
    changes = {"reference": "hfc-2021", "detectors": ["KNN", "KD"]}
    run_recipe(find_recipe("hiding-chest-xray"), out=out, tiny=True, changes={**changes, "attack": "bim"})
    assert {row["detector"] for row in rows_of(out) if row["metric"] in METRICS} == {"KD"}


def test_only_one_mode_is_known() -> None:
    recipe = find_recipe("detectors-chest-xray")
    assert recipe.with_changes({"reference": "none"}).reference is None  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(InputError, match="reference"):
        recipe.with_changes({"reference": "hfc-2023"})
