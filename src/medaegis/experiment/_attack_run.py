"""`medaegis attack`: one attack on a network and images of the user's own, chunk after chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medaegis._errors import DataError, require
from medaegis.data import detect_source, list_cases
from medaegis.data._source_phantom import PHANTOM_CLASSES
from medaegis.experiment._attack_checks import Probes
from medaegis.experiment._content import Content
from medaegis.experiment._context import Context
from medaegis.experiment._named_attack import NamedAttack
from medaegis.experiment._own_settings import OwnSettings, clean_pass
from medaegis.experiment._recipe import Recipe
from medaegis.experiment._run import Finished, run_recipe
from medaegis.experiment._stage import Stage
from medaegis.experiment._stages_own import AttackedChunk, CleanPass, attacked_rows
from medaegis.experiment._weakness import CASES
from medaegis.models import load_factory, own_hash

CHUNK = 64  # most cases of a chunk
CHUNK_VALUES = 2**25  # most pixel values of a chunk: 128 MiB of float32


class AttackSettings(OwnSettings):
    """What `medaegis attack` is told; the manifest holds it.

    Example:
        >>> AttackSettings(data="phantom-chest", model="small-resnet", attack="pgd", eps="1/256").target
        'next'
    """

    attack: str = Field(description="name of a preset")
    eps: str | None = Field(None, description="budget, 1/256")
    options: dict[str, Any] = Field(default_factory=dict[str, Any], description="further settings of the preset")
    target: str = Field("next", description="next, none or a class")
    checks: int = Field(CASES, ge=0, description="cases of the checks of the attack's strength")
    substitute: str | None = Field(None, description="package.module:factory of a substitute network")


@dataclass(frozen=True)
class AttackPlan:
    """The stages of one attack; see `attack_plan`.

    Args:
        settings: what it was made from.
        clean: network and images.
        attack: what is done.
        target: "next", "none" or a class as number.
        substitute_hash: hash of the substitute, "" without one.
    """

    settings: AttackSettings
    clean: CleanPass
    attack: NamedAttack
    target: str
    substitute_hash: str = ""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What must be computed before the attacked cases are known."""
        return (self.clean,)

    def rows(self, context: Context) -> NDArray[np.int64]:
        """Positions of the cases that are attacked.

        Raises:
            DataError: there is none.
        """
        labels = self.clean.images.dataset(context).labels
        found = attacked_rows(context.get(self.clean).tensors["logits"], labels, self.target)
        if len(found) == 0:
            raise DataError(
                f"There is no case to attack: {self.settings.model} gets none of the {len(labels)} images right, or "
                "all that it gets right are of the target class. Check its weights, --size, and that its classes are "
                f"in the data's order: {', '.join(self.clean.images.dataset(context).class_names)}."
            )
        return found

    def chunks(self, context: Context) -> list[AttackedChunk]:
        """The attack, cut into stages."""
        return chunks_of(self.clean, self.attack, self.rows(context), self.target, self.settings.seed, context)

    def probes(self, context: Context) -> Probes:
        """The extra runs of the checks."""
        settings = self.settings
        labels = self.clean.images.dataset(context).labels
        return Probes(
            AttackedChunk(self.clean, self.attack, (), self.target, settings.seed, probe=True),
            self.rows(context),
            labels,
            settings.checks,
            settings.substitute or "",
            self.substitute_hash,
        )

    def further(self, context: Context) -> Iterator[Stage]:
        """The chunks, then the extra runs of the checks."""
        yield from self.chunks(context)
        yield from self.probes(context).stages(context)

    def collect(self, context: Context) -> Content:
        """Table, cases, pictures and files from stored results."""
        from medaegis.experiment._attack_content import attack_content

        return attack_content(self, context)


def attack_plan(settings: AttackSettings) -> AttackPlan:
    """Plan an attack: everything that can be wrong is looked at here, before any long work.

    Raises:
        InputError: a setting breaks a rule.
        DataError: data or weights cannot be used.

    Example:
        >>> settings = AttackSettings(data="phantom-chest", model="small-resnet", attack="pgd", eps="1/256", size=32)
        >>> attack_plan(settings).attack.title
        'PGD 1/256'
    """
    attack = NamedAttack(settings.attack, settings.eps).changed(**settings.options)
    attack.build()
    target = _target(settings)
    clean, _ = clean_pass(settings)
    substitute = "" if settings.substitute is None else own_hash(load_factory(settings.substitute), clean.images.shape)
    return AttackPlan(settings, clean, attack, target, substitute)


def chunks_of(
    clean: CleanPass, attack: NamedAttack, rows: NDArray[np.int64], target: str, seed: int, context: Context
) -> list[AttackedChunk]:
    """An attack on the cases at `rows`, cut into stages of bounded memory."""
    values = int(np.prod(clean.images.dataset(context).images.shape[1:]))
    size = max(1, min(CHUNK, CHUNK_VALUES // values))
    parts = [(start, rows[start : start + size]) for start in range(0, len(rows), size)]
    return [AttackedChunk(clean, attack, tuple(part.tolist()), target, seed, start) for start, part in parts]


def _target(settings: AttackSettings) -> str:
    """The target as the stages take it: "next", "none" or a number."""
    if settings.target in ("next", "none"):
        return settings.target
    if settings.data in PHANTOM_CLASSES:
        classes = PHANTOM_CLASSES[settings.data]
    else:
        name = settings.source or detect_source(settings.data, volumes=settings.depth is not None)
        classes = list_cases(settings.data, source=name, labels=settings.labels).class_names
    if settings.target in classes:
        return str(classes.index(settings.target))
    numbers = [str(i) for i in range(len(classes))]
    rule = f"next, none, one of the classes {', '.join(classes)}, or its number from 0"
    require(settings.target in numbers, "target", "attack", rule, settings.target)
    return settings.target


def run_attack_command(
    settings: dict[str, Any],
    *,
    out: str | Path,
    device: str = "cpu",
    batch_size: int = 32,
    progress: bool = False,
    say: Callable[[str], None] = lambda _line: None,
) -> Finished:
    """Run `medaegis attack`, or finish it if it was stopped.

    Args:
        settings: fields of `AttackSettings` by name.
        out: the run's folder: empty, not there yet, or one of an earlier run.
        device: torch's name of the device.
        batch_size: cases that go through the network together; changes speed and memory only.
        progress: show progress bars.
        say: takes one line for each step.

    Returns:
        Where the files are, and how much was computed.

    Raises:
        MedaegisError: data, model or settings cannot be used.
    """
    folder = Path(out)
    free = not folder.exists() or (folder.is_dir() and (not any(folder.iterdir()) or (folder / "stages").is_dir()))
    fix = "Files of an earlier run are replaced there, so it must not hold others."
    require(free, "out", "attack", "a new folder, an empty one, or one of an earlier run", str(folder), fix)
    named = f"{str(settings.get('attack', '')).upper()} at {settings.get('eps') or 'no limit'}"
    recipe = Recipe(
        name="attack",
        title=f"{named} on {settings.get('model', 'a network')}",
        question="How often does this attack change the network's decision, and what is left of it after storage?",
        settings=AttackSettings.model_construct(),
        plan=attack_plan,
        tiny={},
    )
    return run_recipe(
        recipe, out=folder, changes=settings, device=device, batch_size=batch_size, progress=progress, say=say
    )
