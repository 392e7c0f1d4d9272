"""`medaegis detect fit`: detectors of a user's own network, fitted on a folder of images and saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from medaegis.experiment._context import Context
from medaegis.experiment._detect_files import write_detectors
from medaegis.experiment._detect_plan import DetectSettings, detect_plan
from medaegis.experiment._outputs import environment
from medaegis.experiment._own_folder import check_free, check_writable
from medaegis.experiment._recipe import checked
from medaegis.experiment._run import compute_stages
from medaegis.experiment._store import Store


class DetectorsFitted(NamedTuple):
    """Finished detectors.

    Attributes:
        out: the folder.
        facts: what its detectors.json says.
        computed: stages that were computed.
        found: stages whose results were in the store.
    """

    out: Path
    facts: dict[str, Any]
    computed: int
    found: int


def run_detect_fit(
    settings: dict[str, Any],
    *,
    out: str | Path,
    device: str = "cpu",
    batch_size: int = 32,
    progress: bool = False,
    say: Callable[[str], None] = lambda _line: None,
) -> DetectorsFitted:
    """Run `medaegis detect fit`, or finish it if it was stopped.

    Args:
        settings: fields of `DetectSettings` by name.
        out: the folder: empty, not there yet, or one of an earlier run.
        device: torch's name of the device.
        batch_size: cases that go through the network together; changes speed and memory only.
        progress: show progress bars.
        say: takes one line for each step.

    Returns:
        What was fitted, and how much was computed.

    Raises:
        MedaegisError: data, model, settings or the folder cannot be used.
    """
    folder = Path(out)
    check_free(folder, "detect", "Detectors of an earlier run are replaced there, so it must not hold other work.")
    plan = detect_plan(checked(DetectSettings, settings, "detect fit", kind="command"))
    check_writable(folder)
    store = Store(folder / "stages")
    store.sweep()
    context = Context(store, device=device, batch_size=batch_size, progress=progress)
    compute_stages((plan.clean.images,), plan.further(context), context, say)
    facts = write_detectors(folder, plan.collect(context), plan.clean.images, environment(device))
    computed = sum(not entry.cached for entry in context.log.values())
    return DetectorsFitted(folder, facts, computed, len(context.log) - computed)
