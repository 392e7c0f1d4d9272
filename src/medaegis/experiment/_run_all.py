"""Run several recipes: one plan and one store for all, every stage computed once, and a failure stops no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from medaegis._errors import MedaegisError, require
from medaegis.experiment._context import Context
from medaegis.experiment._cost import cost_of
from medaegis.experiment._recipe import Recipe, find_recipes
from medaegis.experiment._run import Finished, Planned, finish, planned
from medaegis.experiment._stage import Stage
from medaegis.experiment._store import Store

PAPERS = {"hfc21": "HFC-21", "hfc23": "HFC-23", "aegis": "Medical Aegis"}
"""The papers by the beginning of their recipes' names."""


class Failed(NamedTuple):
    """A recipe that did not finish, and why."""

    name: str
    text: str


@dataclass(frozen=True)
class Several:
    """Recipes that were run together.

    Args:
        finished: by name of the recipe.
        failed: those that could not be planned, then those that broke off.
        distinct: different stages of all plans.
        computed: stages computed now.
        store: folder of the results.
    """

    finished: dict[str, Finished]
    failed: tuple[Failed, ...]
    distinct: int
    computed: int
    store: Path


def of_papers() -> tuple[Recipe, ...]:
    """The recipes of the papers' tables and figures, each once, in the order of their names."""
    found = [recipe for name, recipe in find_recipes().items() if name == recipe.name]
    return tuple(recipe for recipe in found if recipe.name.partition("-")[0] in PAPERS)


def run_recipes(
    recipes: Sequence[Recipe],
    *,
    data: str | Path | None = None,
    out: str | Path | None = None,
    tiny: bool = False,
    scale: str = "small",
    changes: Mapping[str, Any] | None = None,
    device: str = "cpu",
    batch_size: int = 32,
    progress: bool = False,
    say: Callable[[str], None] = lambda _line: None,
) -> Several:
    """Run several recipes, or finish them if they were stopped: every stage that they need is computed once.

    The recipe with the fewest stages missing comes first each time, so that tables finish early.

    Args:
        recipes: what to run; one that comes twice is run once.
        data: folder of images that all of them take.
        out: folder of the runs, one folder a recipe, with the results of stages in `stages`; None takes `runs`.
        tiny: each recipe's small version.
        scale: small, or paper for the versions at the papers' scale.
        changes: settings by name that differ from the recipes'; each must fit all.
        device: torch's name of the device.
        batch_size: cases that go through a network together; changes speed and memory only.
        progress: show progress bars.
        say: takes one line for each step.

    Returns:
        What finished, what failed, and how much was computed.

    Raises:
        InputError: there is nothing to run.
    """
    chosen = tuple({recipe.name: recipe for recipe in recipes}.values())
    require(len(chosen) > 0, "recipes", "run_recipes", "at least one recipe", 0)
    folder = Path("runs") if out is None else Path(out)
    store = Store(folder / "stages")
    store.sweep()
    plans, failed = _planned(chosen, say, data=data, tiny=tiny, scale=scale, changes=changes)
    known = {stage.key: stage for plan in plans for stage in plan.stages}
    _tell_plan(plans, known, store, device, say)
    finished: dict[str, Finished] = {}
    computed = 0
    for plan in _in_turn(plans, store):
        say(f"\n== {plan.recipe.name}: {plan.recipe.title}")
        context = Context(store, device=device, batch_size=batch_size, progress=progress)
        try:
            finished[plan.recipe.name] = finish(plan, folder / plan.folder, context, say)
        except Exception as error:  # noqa: BLE001  # whatever one recipe raises stops no other; a stop by the user is no Exception
            failed.append(_failure(plan.recipe.name, error, say))
        computed += sum(not entry.cached for entry in context.log.values())
    return Several(finished, tuple(failed), len(known), computed, store.root)


def _planned(recipes: Sequence[Recipe], say: Callable[[str], None], **how: Any) -> tuple[list[Planned], list[Failed]]:
    plans, failed = list[Planned](), list[Failed]()
    for recipe in recipes:
        try:
            plans.append(planned(recipe, **how))
        except Exception as error:  # noqa: BLE001  # as in `run_recipes`
            failed.append(_failure(recipe.name, error, say))
    return plans, failed


def _failure(name: str, error: BaseException, say: Callable[[str], None]) -> Failed:
    kind = "" if isinstance(error, MedaegisError) else f"{type(error).__name__}: "
    say(f"{name} failed: {kind}{error}")
    return Failed(name, f"{kind}{error}")


def _tell_plan(
    plans: Sequence[Planned], known: Mapping[str, Stage], store: Store, device: str, say: Callable[[str], None]
) -> None:
    """The recipes, how many stages they need, how many are different, how many are stored, and what is left to do."""
    for plan in plans:
        missing = _missing(plan, store)
        say(f"{plan.recipe.name:<20} {len(plan.stages):>4} stages, {len(plan.stages) - missing:>4} stored")
    every, left = sum(len(plan.stages) for plan in plans), [stage for stage in known.values() if not store.has(stage)]
    stored = len(known) - len(left)
    say(
        f"{len(plans)} recipes: {every} stages, {len(known)} distinct, {stored} stored already, {len(left)} to compute."
    )
    say(f"Training and attacks to do: {cost_of(left, device)}. The rest is not counted.")


def _missing(plan: Planned, store: Store) -> int:
    return sum(not store.has(stage) for stage in plan.stages)


def _in_turn(plans: Sequence[Planned], store: Store) -> Iterator[Planned]:
    """Each plan once, next the one with the fewest stages missing by then."""
    left = list(plans)
    while left:
        chosen = min(left, key=lambda plan: _missing(plan, store))
        left.remove(chosen)
        yield chosen
