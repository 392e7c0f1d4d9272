"""Settings of recipes, of every recipe that is installed."""

from __future__ import annotations

from medaegis import InputError
from medaegis.experiment import find_recipes, parse_changes

NEED_A_FOLDER = ("attack-curves", "chest-xray-small", "components")  # even when tiny


def test_an_empty_list_is_planned_or_refused_with_its_name() -> None:
    said: list[tuple[str, str]] = []
    for recipe in find_recipes().values():
        phantoms = {"source": "phantom-chest"} if recipe.name in NEED_A_FOLDER else {}
        for name, value in recipe.with_changes({}, tiny=True):
            if isinstance(value, tuple):
                try:
                    recipe.plan(recipe.with_changes(recipe.tiny | phantoms | parse_changes((f"{name}=",))))
                except InputError as error:
                    said.append((name, str(error)))
    assert {"attack", "attackers", "components", "eps", "sets"} <= {name for name, _ in said}
    assert all(f"`{name}`" in text and "()" in text for name, text in said)
