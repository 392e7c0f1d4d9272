"""Several recipes in one go: every stage once, nothing twice, and one that fails stops no other."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from medaegis import InputError
from medaegis.experiment import (
    Content,
    Context,
    Recipe,
    Result,
    Stage,
    StressSettings,
    _cost,
    find_recipes,
    run_recipes,
    stress_plan,
)
from medaegis.experiment._cost import Cost, Network, cost_of
from medaegis.experiment._stage import distinct
from medaegis.experiment._stress import StressPlan

SMALL = StressSettings(
    sets=("phantom-chest",), model="small-resnet", weights=None, size=32, cases=60, epochs=1, images=4, steps=2
)


def recipe(name: str, *eps: str) -> Recipe:
    return Recipe(name, name, "?", SMALL.model_copy(update={"eps": eps}), stress_plan, {"images": 4})


ONE, TWO = recipe("one", "1/256", "2/256", "4/256"), recipe("two", "2/256", "8/256")


@dataclass(frozen=True)
class Broken(Stage):
    """Never computed."""

    def compute(self, context: Context) -> Result:
        raise RuntimeError("the disk is on fire")


@dataclass(frozen=True)
class Later(Stage):
    """Known only once others are computed."""

    number: int

    def compute(self, context: Context) -> Result:
        return Result({}, {"number": self.number})


@dataclass(frozen=True)
class Growing:
    """A stress test with more stages than it says at first; with a broken one if wanted."""

    plan: StressPlan
    broken: bool = False

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (*self.plan.stages, *((Broken(),) if self.broken else ()))

    def further(self, context: Context) -> Iterator[Stage]:
        for number in range(2):
            yield Later(number)

    def collect(self, context: Context) -> Content:
        return self.plan.collect(context)


def count(*recipes: Recipe) -> int:
    stages = tuple(stage for one in recipes for stage in one.plan(one.settings).stages)
    return len(distinct(stages))


def test_every_stage_is_computed_once_and_a_second_run_computes_none(tmp_path: Path) -> None:
    said: list[str] = []
    done = run_recipes([ONE, TWO, ONE], out=tmp_path, say=said.append)
    assert done.failed == ()
    assert done.computed == done.distinct == count(ONE, TWO) == 3 + 4  # images, split, classifier; four budgets
    assert count(ONE) + count(TWO) == 11  # so that sharing is what makes the difference
    assert any("2 recipes: 11 stages, 7 distinct, 0 stored already, 7 to compute." in line for line in said)
    assert list(done.finished) == ["two", "one"]  # the one with fewer stages first
    for name in ("one", "two"):
        assert done.finished[name].report == tmp_path / name / "report.html"
        assert (tmp_path / name / "table.csv").is_file()
    tables = [(tmp_path / name / "table.csv").read_bytes() for name in ("one", "two")]
    again = run_recipes([ONE, TWO], out=tmp_path, say=said.append)
    assert (again.computed, again.distinct) == (0, 7)
    assert any("7 stored already, 0 to compute" in line for line in said)
    assert [(tmp_path / name / "table.csv").read_bytes() for name in ("one", "two")] == tables


@pytest.mark.parametrize("lines", [5, 8, 12])
def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path, lines: int) -> None:
    """Stopped by the user after some lines: what was finished is found, and nothing is computed twice."""
    said: list[str] = []

    def stop(line: str) -> None:
        said.append(line)
        if len(said) == lines:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_recipes([ONE, TWO], out=tmp_path, say=stop)
    kept = len(list((tmp_path / "stages").glob("*-*"))) if (tmp_path / "stages").is_dir() else 0
    assert kept < 7
    assert (kept > 0) == (lines > 6)
    done = run_recipes([ONE, TWO], out=tmp_path)
    assert done.computed == 7 - kept
    assert set(done.finished) == {"one", "two"}


def test_one_that_fails_stops_no_other(tmp_path: Path) -> None:
    broken = replace(recipe("broken", "1/256"), plan=lambda s: Growing(stress_plan(s), broken=True))
    unplanned = replace(ONE, name="unplanned", settings=SMALL.model_copy(update={"sets": ("nowhere",)}))
    done = run_recipes([broken, unplanned, TWO], out=tmp_path)
    assert [(name, text.split(":")[0]) for name, text in done.failed] == [
        ("unplanned", done.failed[0].text.split(":")[0]),
        ("broken", "RuntimeError"),
    ]
    assert "the disk is on fire" in done.failed[1].text
    assert "nowhere" in done.failed[0].text or "--data" in done.failed[0].text
    assert set(done.finished) == {"two"}
    again = run_recipes([broken, TWO], out=tmp_path)
    assert again.computed == 0  # what the broken one had computed was kept too


def test_stages_that_are_known_later_are_computed_once(tmp_path: Path) -> None:
    growing = replace(TWO, name="growing", plan=lambda s: Growing(stress_plan(s)))
    done = run_recipes([growing, TWO], out=tmp_path)
    assert done.computed == done.distinct + 2
    assert run_recipes([growing], out=tmp_path).computed == 0


def test_versions_have_folders_of_their_own(tmp_path: Path) -> None:
    run_recipes([TWO], out=tmp_path, tiny=True)
    manifest = json.loads((tmp_path / "two-tiny" / "manifest.json").read_text())
    assert (manifest["recipe"], manifest["scale"]) == ("two (tiny)", "tiny")


def test_nothing_to_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one recipe"):
        run_recipes([], out=tmp_path)


def test_cost_is_what_training_and_attacks_take() -> None:
    """By hand: one epoch on 72 % of 60 images; 4 images, 2 steps, 2 ways, 8 blocks at each of two budgets."""
    found = cost_of(distinct(TWO.plan(TWO.settings).stages), "cpu")
    assert found.passes == {Network("small-resnet", 32): round(0.72 * 60) + 2 * 4 * 2 * 2 * 8}
    assert found.seconds > 0
    assert str(Cost({}, 0.0)) == "no image passes"


def test_cost_is_of_the_images_that_a_network_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Volumes, halved volumes and middle slices are three shapes; a network without a time leaves the others theirs."""
    recipe = find_recipes()["vulnerability-3d"]
    stages = distinct(recipe.plan(recipe.settings).stages)
    shapes = {(n.model, n.size, n.channels, n.depth) for n in cost_of(stages, "cpu").passes}
    assert shapes == {
        ("small-resnet-3d", 48, 1, 24),
        ("small-resnet-3d", 24, 1, 12),
        ("small-resnet", 48, 3, None),
    }
    monkeypatch.setattr(_cost, "seconds_a_pass", lambda network, device: 0.01 if network.depth else math.nan)
    found = cost_of(stages, "cpu")
    assert found.seconds == pytest.approx(0.01 * sum(n for network, n in found.passes.items() if network.depth))
    assert "about 3 min without small-resnet at the speed" in str(found)
    monkeypatch.setattr(_cost, "seconds_a_pass", lambda network, device: math.nan)
    assert str(cost_of(stages, "cpu")).endswith("at an unknown speed")
