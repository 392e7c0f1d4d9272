"""Settings are checked by name and value before anything runs; recipes are found by name."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch

from medaegis import InputError, MedaegisError
from medaegis.attack import Margin
from medaegis.experiment import HidingSettings, Recipe, _recipe, find_recipe, find_recipes, hiding_plan, parse_changes
from medaegis.experiment._context import Context
from medaegis.experiment._hiding import budget_facts
from medaegis.experiment._recipe import RecipeWarning
from medaegis.experiment._stage import distinct

RECIPE = Recipe("r", "t", "q", HidingSettings(), lambda settings: hiding_plan(settings, dataset="d"), {"epochs": 2})


def test_installed_recipes_are_found() -> None:
    assert {"demo", "chest-xray-small"} <= set(find_recipes())


def test_a_broken_recipe_of_another_package_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("broken", "medaegis_recipes.demo:there_is_no_such_recipe", "medaegis.recipes")
    good = EntryPoint("demo", "medaegis_recipes.demo:recipe", "medaegis.recipes")
    monkeypatch.setattr(_recipe, "entry_points", lambda group: [broken, good])
    assert find_recipe("demo").name == "demo"
    with pytest.warns(RecipeWarning, match=r"recipe broken \(.*cannot be loaded"):
        assert list(find_recipes()) == ["demo"]
    with pytest.raises(MedaegisError, match="recipe broken"):
        find_recipe("broken")


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean chest-xray-small"):
        find_recipe("chest-xray-smal")


def test_set_parses_lists_and_refuses_other_text() -> None:
    assert parse_changes(("eps=1/256,2/256", "model=a:b")) == {"eps": ["1/256", "2/256"], "model": "a:b"}
    with pytest.raises(InputError, match="key=value"):
        parse_changes(("eps",))


def test_none_is_no_value_where_there_may_be_none() -> None:
    changes = parse_changes(("steps=none", "kappa=none", "limit=none"))
    settings = RECIPE.with_changes(changes).model_dump()
    assert (settings["steps"], settings["kappa"], settings["limit"]) == (None, None, None)


def test_changes_come_after_tiny() -> None:
    settings = RECIPE.with_changes({"seed": "3"}, tiny=True)
    assert (settings.epochs, settings.seed) == (2, 3)  # pyright: ignore[reportAttributeAccessIssue]
    assert RECIPE.with_changes({"epochs": "5"}, tiny=True).epochs == 5  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"epoch": "3"}, "no setting 'epoch'.*did you mean epochs"),
        ({"epochs": "many"}, "`epochs` of r got 'many'"),
        ({"eps": "8"}, "8/256"),
        ({"eps": ["1/256", "x"]}, "fraction"),
        ({"split": "case"}, "`split`"),
        ({"components": "0"}, "`components`"),
    ],
)
def test_bad_settings_are_named(change: dict[str, object], text: str) -> None:
    with pytest.raises(InputError, match=text):
        RECIPE.with_changes(change)


def test_the_same_budget_twice_is_refused() -> None:
    settings = HidingSettings(source="phantom-chest", model="small-resnet", eps=("1/256", "1/256"))
    with pytest.raises(InputError, match="`eps` of recipe must be different values"):
        hiding_plan(settings, dataset="d")


def test_variants_share_everything_but_the_attack() -> None:
    settings = HidingSettings(source="phantom-chest", model="small-resnet", eps=("1/256", "2/256", "4/256"))
    plan = hiding_plan(settings, dataset="d")
    names = [stage.name for stage in distinct(plan.stages)]
    assert names.count("Attacked") == 6
    assert all(names.count(name) == 1 for name in ("Images", "SplitCases", "Classifier", "TrainFeatures", "Bank"))


def test_seed_and_budget_change_keys_and_workers_do_not() -> None:
    def keys(**changes: object) -> list[str]:
        plan = hiding_plan(HidingSettings(source="phantom-chest", model="small-resnet", **changes), dataset="d")  # pyright: ignore[reportArgumentType]
        return [stage.key for stage in plan.stages]

    assert keys() == keys()
    assert not set(keys(seed=1)) & set(keys())
    assert keys(eps="2/256")[0] == keys()[0]
    assert keys(eps="2/256")[1] != keys()[1]


def test_another_network_from_the_same_factory_is_another_classifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "import torch\ndef make():\n    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 2))\n"
    (tmp_path / "own_net.py").write_text(
        source + "    with torch.no_grad(): net[1].bias.fill_(SHIFT)\n    return net\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import own_net  # pyright: ignore[reportMissingImports]

    def key(shift: float) -> str:
        own_net.SHIFT = shift
        settings = HidingSettings(source="phantom-chest", model="own_net:make", size=32, weights=None)
        return hiding_plan(settings, dataset="d").classifier.key

    assert key(0.0) == key(0.0)
    assert key(0.0) != key(1.0)


def test_an_attack_may_bring_its_own_number_of_steps() -> None:
    settings = HidingSettings(source="phantom-chest", model="small-resnet", attack=("bim", "bim@40", "apgd@7"), steps=9)
    choices = [v.attacked.choice for v in hiding_plan(settings, dataset="d").variants[::2]]
    assert [(c.shown, c.build().steps) for c in choices] == [("BIM", 9), ("BIM, 40 steps", 40), ("APGD, 7 steps", 7)]
    facts = budget_facts(settings)
    assert facts == {
        "BIM 1/256": "9 steps of 0.222222/256",
        "BIM, 40 steps 1/256": "40 steps of 0.05/256",
        "APGD, 7 steps 1/256": "7 steps of at first 2/256",
    }


def test_kappa_is_for_cw_alone_and_a_number_reaches_the_attack() -> None:
    settings = HidingSettings(source="phantom-chest", model="small-resnet", attack=("bim", "cw_linf"), kappa=3.0)
    bim, cw = [v.attacked.choice for v in hiding_plan(settings, dataset="d").variants[::2]]
    assert (bim.kappa, cw.kappa, cw.build().objective) == (None, 3.0, Margin(3.0))


def test_kappa_by_the_gap_is_that_of_test() -> None:
    settings = HidingSettings(source="phantom-chest", model="small-resnet", attack=("cw_linf",))
    cw = hiding_plan(settings, dataset="d").variants[0].attacked
    stored = SimpleNamespace(tensors={"test_logits": torch.tensor([[3.0, 1.0], [-1.0, 4.0]])})
    built = cw.attack(cw.choice.named, cast(Context, SimpleNamespace(get=lambda stage: stored)))
    assert built.objective == Margin(3.5)


@pytest.mark.parametrize("attack", ["bim@", "bim@0", "bim@many", "nope@5"])
def test_a_bad_number_of_steps_is_named(attack: str) -> None:
    settings = HidingSettings(source="phantom-chest", model="small-resnet", attack=(attack,))
    with pytest.raises(InputError, match="attack"):
        hiding_plan(settings, dataset="d")
