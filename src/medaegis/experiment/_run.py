"""Run a recipe: settings, plan, stages, files, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from medaegis.experiment._content import Content
from medaegis.experiment._context import Context
from medaegis.experiment._outputs import environment, write_outputs
from medaegis.experiment._recipe import GrowingPlan, Plan, Recipe, Settings
from medaegis.experiment._stage import Stage, distinct
from medaegis.experiment._store import Store

VERSIONS = {"tiny": "-tiny", "small": "", "paper": "-paper"}


class Finished(NamedTuple):
    """A finished run.

    Attributes:
        out: the run's folder.
        report: its report.html.
        computed: stages that were computed.
        found: stages whose results were in the store.
    """

    out: Path
    report: Path
    computed: int
    found: int


@dataclass(frozen=True)
class Planned:
    """A recipe whose settings are checked and whose stages are known; see `planned`.

    Args:
        recipe: what is run.
        version: tiny, small or paper.
        settings: as it is run.
        plan: from these settings.
    """

    recipe: Recipe
    version: str
    settings: Settings
    plan: Plan
    stages: tuple[Stage, ...] = field(repr=False)

    @property
    def folder(self) -> str:
        """What its run's folder is called by default."""
        return self.recipe.name + VERSIONS[self.version]


def planned(
    recipe: Recipe, *, data: str | Path | None, tiny: bool, scale: str, changes: Mapping[str, Any] | None
) -> Planned:
    """Check settings and data and plan the stages; nothing long is done. Arguments as `run_recipe` takes them.

    Raises:
        MedaegisError: data or settings cannot be used.
    """
    merged = dict(changes or {}) | ({} if data is None else {"data": str(data)})
    settings = recipe.with_changes(merged, tiny=tiny, scale=scale)
    plan = recipe.plan(settings)
    return Planned(recipe, "tiny" if tiny else scale, settings, plan, distinct(plan.stages))


def run_recipe(
    recipe: Recipe,
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
) -> Finished:
    """Run a recipe, or finish one that was stopped: results in the store are not computed again.

    Args:
        recipe: what to run.
        data: folder of images, for recipes that take one.
        out: the run's folder; None takes `runs/<recipe>`. Stages are kept in `stages` beside that default, or inside a
            folder that you name.
        tiny: the recipe's small version.
        scale: small, or paper for the recipe's version at the papers' scale.
        changes: settings by name that differ from the recipe's.
        device: torch's name of the device.
        batch_size: cases that go through the network together; changes speed and memory only.
        progress: show progress bars.
        say: takes one line for each step.

    Returns:
        Where the files are, and how much was computed.

    Raises:
        MedaegisError: data or settings cannot be used; nothing long has been done by then.
    """
    one = planned(recipe, data=data, tiny=tiny, scale=scale, changes=changes)
    folder = Path("runs") / one.folder if out is None else Path(out)
    store = Store(folder.parent / "stages" if out is None else folder / "stages")
    store.sweep()
    context = Context(store, device=device, batch_size=batch_size, progress=progress)
    return finish(one, folder, context, say)


def finish(one: Planned, folder: Path, context: Context, say: Callable[[str], None]) -> Finished:
    """Compute what is missing of a planned recipe, write its files and draw its report.

    Args:
        one: the recipe with its plan.
        folder: of the run.
        context: store and device; with an empty log.
        say: takes one line for each step.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    growing = one.plan.further(context) if isinstance(one.plan, GrowingPlan) else iter(())
    compute_stages(one.stages, growing, context, say)
    content = one.plan.collect(context)
    log = list(context.log.values())
    told = "" if one.version == "small" else f" ({'tiny' if one.version == 'tiny' else 'scale of the papers'})"
    manifest: dict[str, Any] = {
        "title": one.recipe.title,
        "recipe": one.recipe.name + told,
        "question": one.recipe.question,
        "paper": one.recipe.paper,
        "scale": one.version,
        **environment(context.device),
        "settings": one.settings.model_dump(mode="json"),
        "seed": getattr(one.settings, "seed", 0),
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": time.monotonic() - clock,
        "stages": [entry._asdict() for entry in log],
    }
    computed = sum(not entry.cached for entry in log)
    return Finished(folder, _written(folder, content, manifest), computed, len(log) - computed)


def _written(folder: Path, content: Content, manifest: Mapping[str, Any]) -> Path:
    """Write the files and the report, those of parts first."""
    from medaegis.report import render_report

    for part in content.parts:
        _written(folder / part.name, part.content, {**manifest, **part.manifest})
    write_outputs(folder, content, dict(manifest))
    return render_report(folder)


def compute_stages(
    stages: tuple[Stage, ...], further: Iterator[Stage], context: Context, say: Callable[[str], None]
) -> None:
    """Compute stages and their inputs, or find them in the store, then further ones; one line for each.

    What the checks of stages need comes first, then those checks: bad data is an error before anything long.
    """
    checked = [stage for stage in distinct(stages) if stage.basis and not context.store.has(stage)]
    quick = distinct(tuple(needed for stage in checked for needed in stage.basis))
    known = distinct((*quick, *stages))
    for number, stage in enumerate(known, start=1):
        _one(stage, f"{number}/{len(known)}", context, say)
        for one in checked if number == len(quick) else ():
            one.check(context)
    for number, stage in enumerate(further, start=len(known) + 1):
        _one(stage, str(number), context, say)


def _one(stage: Stage, number: str, context: Context, say: Callable[[str], None]) -> None:
    found, title = context.store.has(stage), getattr(stage, "title", "")
    say(f"[{number}] {stage.name}{' ' + title if title else ''}{' (found)' if found else ''}")
    context.get(stage)
