"""What the data does not allow is an error before anything long is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from medaegis import InputError
from medaegis.experiment import HidingSettings, LesionSettings, Recipe, hiding_plan, lesion_plan, run_recipe
from medaegis.experiment._context import Context
from medaegis.experiment._stage import distinct
from medaegis.experiment._stages_model import Bank
from medaegis.experiment._store import Store

CASES = {"cases": 40, "size": 32, "model": "small-resnet", "weights": None, "epochs": 1}


def hiding() -> Recipe:
    settings = HidingSettings.model_validate({**CASES, "source": "phantom-chest", "components": (1, 2, 64)})
    return Recipe("hiding", "r", "?", settings, lambda s: hiding_plan(s, dataset="phantoms"), {})


def lesions() -> Recipe:
    settings = LesionSettings.model_validate({**CASES, "source": "phantom-fundus", "components": 64})
    return Recipe("lesions", "r", "?", settings, lambda s: lesion_plan(s, dataset="phantoms", published={}), {})


@pytest.mark.parametrize("recipe", [hiding, lesions])
def test_more_components_than_train_cases_allow(recipe: Callable[[], Recipe], tmp_path: Path) -> None:
    said = list[str]()
    rule = r"at most \d+: two Train cases of each class a component, and [\w ]+ has \d+, got 64"
    with pytest.raises(InputError, match=rule):
        run_recipe(recipe(), out=tmp_path, say=said.append)
    assert [line.split()[1] for line in said] == ["Images", "SplitCases"]
    assert sorted(path.name.partition("-")[0] for path in (tmp_path / "stages").iterdir()) == ["Images", "SplitCases"]


def test_the_largest_allowed_number_is_allowed(tmp_path: Path) -> None:
    """By the split itself: half of the smaller class's Train cases."""
    context = Context(Store(tmp_path))
    recipe = hiding()
    (bank, *_) = [stage for stage in distinct(recipe.plan(recipe.settings).stages) if isinstance(stage, Bank)]
    split = bank.features.classifier.split
    labels = split.images.dataset(context).labels[split.split(context).train]
    most = min((labels == c).sum() for c in (0, 1)) // 2
    replace(bank, components=int(most)).check(context)
    with pytest.raises(InputError, match=f"at most {most}:"):
        replace(bank, components=int(most) + 1).check(context)
