"""Stages of `medaegis attack`: a user's network on all images, then the attack on one chunk of cases after another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medaegis.attack import DEPTHS, AttackResult, l2_size, requantise, run_attack, transfer
from medaegis.experiment._context import Context
from medaegis.experiment._named_attack import NamedAttack
from medaegis.experiment._stage import Result, Stage, unkeyed
from medaegis.experiment._stages_data import Images, cases_at
from medaegis.experiment._stages_model import check_network, clean_figures, predict
from medaegis.models import build_model, load_factory

PASS = 256  # images that are float32 at a time


@dataclass(frozen=True)
class CleanPass(Stage):
    """Logits of a network, taken as it is, on every image.

    Args:
        images: the data.
        model: as `build_model` takes it.
        weights_hash: hash of the weights' file, "imagenet", or "".
        network_hash: `own_hash` of the user's own network, "" for a named one.
        seed: of what a network draws when it is built.
        weights: path of the weights, "imagenet", or None.
    """

    images: Images
    model: str
    weights_hash: str = ""
    network_hash: str = ""
    seed: int = 0
    weights: str | None = unkeyed(None)

    def compute(self, context: Context) -> Result:
        """One pass, and the clean figures."""
        data = self.images.dataset(context)
        built = build_model(
            self.model,
            classes=len(data.class_names),
            weights=self.weights,
            seed=self.seed,
            channels=self.images.channels,
        )
        model = built.model.to(context.device)
        check_network(model, data, self.model, context)
        parts = [predict(model, data.tensor(slice(i, i + PASS)), context) for i in range(0, len(data), PASS)]
        logits = torch.cat(parts)
        report = built.report
        info = {
            "figures": clean_figures(logits, data, np.arange(len(data))),
            "loaded": report.summary() if report else "no weights file",
            "untrained": [] if report is None else [*report.missing, *report.reshaped],
        }
        return Result({"logits": logits}, info)

    def load(self, context: Context) -> nn.Module:
        """The network in evaluation mode on the context's device."""
        classes = context.get(self).tensors["logits"].shape[1]
        built = build_model(
            self.model, classes=classes, weights=self.weights, seed=self.seed, channels=self.images.channels
        )
        return built.model.to(context.device).eval()


def targets(labels: Tensor, classes: int, target: str) -> Tensor | None:
    """Wanted classes (n,): "next" the one after the true class, "none" no target, a number this class.

    Example:
        >>> targets(torch.tensor([0, 1]), 2, "next")
        tensor([1, 0])
    """
    if target == "none":
        return None
    return (labels + 1) % classes if target == "next" else torch.full_like(labels, int(target))


@dataclass(frozen=True)
class AttackedChunk(Stage):
    """Adversarial images of some cases, judged as they are and after storage at 8, 12 and 16 bits.

    Args:
        clean: network and images.
        attack: what is done.
        rows: positions of the cases among the images.
        target: see `targets`.
        seed: of random starts.
        start: number of attacked cases before these; a case's draws do not depend on how cases are cut into chunks.
        probe: an extra run, of which only the outcome is kept.
        substitute: `package.module:factory` of a network that makes the images in the attacked one's place, or "".
        substitute_hash: its `own_hash`.
    """

    clean: CleanPass
    attack: NamedAttack
    rows: tuple[int, ...]
    target: str = "next"
    seed: int = 0
    start: int = 0
    probe: bool = False
    substitute: str = ""
    substitute_hash: str = ""

    @property
    def title(self) -> str:
        """What lines on the terminal call it."""
        on = " made on the substitute" if self.substitute else ""
        many = "check on " if self.probe else ""
        return f"{many}{len(self.rows)} cases, {self.attack.words}{on}"

    def compute(self, context: Context) -> Result:
        """Attack, then store and judge again."""
        data = self.clean.images.dataset(context)
        x, y = cases_at(data, np.array(self.rows, dtype=np.int64))
        target = targets(y, len(data.class_names), self.target)
        model, attack = self.clean.load(context), self.attack.build()
        if self.substitute:
            attack = transfer(load_factory(self.substitute).to(context.device), attack)
        made = run_attack(
            attack,
            model,
            x,
            y,
            target=target,
            generator=self._generator(),
            batch_size=context.batch_size,
            progress=context.progress,
        )
        outcome = {"fooled": made.fooled, "stuck": made.stuck, "steps": made.steps}
        return Result(outcome if self.probe else _whole(made, model, x, y, target, context), {})

    def _generator(self) -> torch.Generator:
        generator = torch.Generator().manual_seed(self.seed)
        if self.start:
            torch.randint(2**62, (self.start,), generator=generator)  # the seeds of the cases before these
        return generator


def _whole(
    made: AttackResult, model: nn.Module, x: Tensor, y: Tensor, target: Tensor | None, context: Context
) -> dict[str, Tensor]:
    moved = made.x.double() - x.double()
    tensors = {**made._asdict(), "linf": moved.abs().flatten(1).amax(dim=1)}
    tensors |= {"rms": l2_size(moved), "l2": l2_size(moved, "l2")}
    for bits in DEPTHS:
        stored = requantise(made, model, y, bits=bits, target=target, batch_size=context.batch_size)
        tensors[f"fooled_{bits}_bits"] = stored.fooled
    return tensors


def attacked_rows(logits: Tensor, labels: NDArray[np.int64], target: str) -> NDArray[np.int64]:
    """Positions of the cases that are attacked: classified correctly, and not of the target class already.

    Example:
        >>> logits = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> attacked_rows(logits, np.array([0, 1, 1]), "1")
        array([0])
    """
    right = logits.argmax(dim=1).numpy() == labels
    if target not in ("next", "none"):
        right &= labels != int(target)
    return np.flatnonzero(right)
