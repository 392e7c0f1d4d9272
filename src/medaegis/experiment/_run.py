"""Run a recipe: settings, plan, stages, files, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from medaegis.experiment._context import Context
from medaegis.experiment._outputs import environment, write_outputs
from medaegis.experiment._recipe import GrowingPlan, Recipe
from medaegis.experiment._stage import Stage, distinct
from medaegis.experiment._store import Store


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


def run_recipe(
    recipe: Recipe,
    *,
    data: str | Path | None = None,
    out: str | Path | None = None,
    tiny: bool = False,
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
    started, clock = datetime.now(UTC), time.monotonic()
    merged = dict(changes or {}) | ({} if data is None else {"data": str(data)})
    settings = recipe.with_changes(merged, tiny=tiny)
    folder = Path("runs") / (recipe.name + ("-tiny" if tiny else "")) if out is None else Path(out)
    store = Store(folder.parent / "stages" if out is None else folder / "stages")
    store.sweep()
    plan = recipe.plan(settings)
    context = Context(store, device=device, batch_size=batch_size, progress=progress)
    growing = plan.further(context) if isinstance(plan, GrowingPlan) else iter(())
    compute_stages(plan.stages, growing, context, say)
    content = plan.collect(context)
    log = list(context.log.values())
    manifest: dict[str, Any] = {
        "title": recipe.title,
        "recipe": recipe.name + (" (tiny)" if tiny else ""),
        "question": recipe.question,
        "paper": recipe.paper,
        **environment(device),
        "settings": settings.model_dump(mode="json"),
        "seed": getattr(settings, "seed", 0),
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": time.monotonic() - clock,
        "stages": [entry._asdict() for entry in log],
    }
    write_outputs(folder, content, manifest)
    from medaegis.report import render_report

    computed = sum(not entry.cached for entry in log)
    return Finished(folder, render_report(folder), computed, len(log) - computed)


def compute_stages(
    stages: tuple[Stage, ...], further: Iterator[Stage], context: Context, say: Callable[[str], None]
) -> None:
    """Compute stages and their inputs, or find them in the store, then further ones; one line for each."""
    known = distinct(stages)
    for number, stage in enumerate(known, start=1):
        _one(stage, f"{number}/{len(known)}", context, say)
    for number, stage in enumerate(further, start=len(known) + 1):
        _one(stage, str(number), context, say)


def _one(stage: Stage, number: str, context: Context, say: Callable[[str], None]) -> None:
    found, title = context.store.has(stage), getattr(stage, "title", "")
    say(f"[{number}] {stage.name}{' ' + title if title else ''}{' (found)' if found else ''}")
    context.get(stage)
