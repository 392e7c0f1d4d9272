"""What the command line does with recipes by name: list them, run one, or run several."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import click

from medaegis._errors import InputError
from medaegis.experiment import (
    Finished,
    Recipe,
    Several,
    find_recipe,
    find_recipes,
    of_papers,
    parse_changes,
    run_recipe,
    run_recipes,
)
from medaegis.experiment._run_all import PAPERS
from medaegis.report import render_index, text_table

ALL = "all"
"""The name that stands for every table and figure of the papers."""


def run_named(
    names: tuple[str, ...],
    data: str | None,
    model: str | None,
    *,
    changes: tuple[str, ...],
    more: tuple[str, ...],
    say: Callable[[str], None],
    **how: Any,
) -> bool:
    """Run the named recipes and print what came out; whether all of them finished.

    Args:
        names: of recipes, or "all".
        data: folder of images.
        model: a network, in place of the recipe's.
        changes: `key=value` texts.
        more: further ones, and further names.
        say: takes one line for each step.
        how: as `run_recipe` takes it.

    Raises:
        MedaegisError: of one recipe, data or settings cannot be used; or a name is unknown.
    """
    settings = parse_changes(changes + tuple(word for word in more if "=" in word))
    settings |= {} if model is None else {"model": model}
    if model is not None and ":" in model and "epochs" not in settings:
        settings["epochs"] = 0
        say(f"{model} is taken as trained; --set epochs=N trains it.")
    given = (*names, *(word for word in more if "=" not in word))
    if len(given) == 1 and given[0] != ALL:
        done = run_recipe(find_recipe(given[0]), data=data, changes=settings, say=say, **how)
        _print(finished_lines(done))
        return True
    recipes = [recipe for name in given for recipe in (of_papers() if name == ALL else (_further(name),))]
    several = run_recipes(recipes, data=data, changes=settings, say=say, **how)
    _print(several_lines(several))
    if several.finished:
        click.echo(f"Index: {render_index(several.store.parent)}")
    return not several.failed


def _further(name: str) -> Recipe:
    try:
        return find_recipe(name)
    except InputError as error:
        raise InputError(f"{error}\nA setting, in turn, is key=value, as in eps=1/256.") from None


def _print(lines: Iterator[str]) -> None:
    for line in lines:
        click.echo(line)


def finished_lines(done: Finished) -> Iterator[str]:
    """What a finished run has to say."""
    yield f"{done.computed} stages computed, {done.found} found in the store."
    yield text_table(done.out)
    yield f"Report: {done.report}"


def several_lines(several: Several) -> Iterator[str]:
    """What several runs have to say: each one's report, those that failed, and how much was computed."""
    yield ""
    for name, done in several.finished.items():
        yield f"{name:<20} {done.report}"
    for name, text in several.failed:
        yield f"{name:<20} FAILED: {text}"
    again = "a second run computes none" if not several.failed else "the same command tries those that failed again"
    yield f"Computed {several.computed} stages of {several.distinct} distinct ones; {again}."


def listed() -> Iterator[str]:
    """The recipes: the papers' tables and figures by paper, with their other names, then those by subject."""
    found = find_recipes()
    for start, paper in PAPERS.items():
        yield f"{paper}"
        for name in found:
            if name.partition("-")[0] == start:
                yield _line(name, found[name])
        yield ""
    yield "By subject"
    for name, recipe in found.items():
        if name.partition("-")[0] not in PAPERS:
            yield _line(name, recipe)


def _line(name: str, recipe: Recipe) -> str:
    if name != recipe.name:
        return f"  {name:<28} the same as {recipe.name}"
    return f"  {name:<28} {recipe.paper or '':<40} {recipe.title}"


def settings_of(name: str) -> Iterator[str]:
    """The settings of one recipe, with their values at each scale where they differ."""
    recipe = find_recipe(name)
    for field, info in type(recipe.settings).model_fields.items():
        yield f"{field:<14} {getattr(recipe.settings, field)!s:<32} {info.description or ''}"
    for title, changes in (("--tiny", recipe.tiny), ("--scale paper", recipe.paper_scale)):
        told = ", ".join(f"{key}={value}" for key, value in changes.items())
        yield f"{title}: {told or 'there is no such version'}"
