"""`medaegis aegis fit`: a guard around a user's own network, fitted on a folder of images and saved as one file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from medaegis.defend import Aegis
from medaegis.experiment._aegis_plan import AegisSettings, aegis_plan
from medaegis.experiment._context import Context
from medaegis.experiment._own_folder import check_free, check_writable
from medaegis.experiment._recipe import checked
from medaegis.experiment._run import compute_stages
from medaegis.experiment._store import Store

GUARD = "guard.safetensors"


class GuardFitted(NamedTuple):
    """A finished guard.

    Attributes:
        path: its file.
        sha256: of the file's content; kept elsewhere, it tells a forged one.
        guard: itself.
        computed: stages that were computed.
        found: stages whose results were in the store.
    """

    path: Path
    sha256: str
    guard: Aegis
    computed: int
    found: int


def run_aegis_fit(
    settings: dict[str, Any],
    *,
    out: str | Path,
    device: str = "cpu",
    batch_size: int = 32,
    progress: bool = False,
    say: Callable[[str], None] = lambda _line: None,
) -> GuardFitted:
    """Run `medaegis aegis fit`, or finish it if it was stopped.

    Args:
        settings: fields of `AegisSettings` by name.
        out: the folder: empty, not there yet, or one of an earlier run.
        device: torch's name of the device.
        batch_size: cases that go through the network together before training; changes speed and memory only.
        progress: show progress bars.
        say: takes one line for each step.

    Returns:
        The guard, where it is, and how much was computed.

    Raises:
        MedaegisError: data, model, settings or the folder cannot be used.
    """
    folder = Path(out)
    check_free(folder, "aegis fit", "The guard of an earlier run is replaced there, so it must not hold other work.")
    plan = aegis_plan(checked(AegisSettings, settings, "aegis fit", kind="command"))
    check_writable(folder)
    for line in plan.taps.summary().splitlines():
        say(line)
    store = Store(folder / "stages")
    store.sweep()
    context = Context(store, device=device, batch_size=batch_size, progress=progress)
    compute_stages((plan.fitted,), iter(()), context, say)
    guard = plan.guard(context)
    digest = guard.save(folder / GUARD)
    computed = sum(not entry.cached for entry in context.log.values())
    return GuardFitted(folder / GUARD, digest, guard, computed, len(context.log) - computed)
