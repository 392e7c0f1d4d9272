"""Training a classifier as the papers do: Adam, plateau schedule, best validation loss; resumable after every epoch."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from medaegis._errors import NumericsError, require
from medaegis._progress import progress_bar
from medaegis._types import Images, Labels


@dataclass(frozen=True)
class TrainSettings:
    """How a classifier is trained; the defaults are SPEC section 2's.

    Args:
        epochs: most epochs, >= 1.
        batch_size: cases a step.
        learning_rate: of Adam.
        patience: epochs without a better validation loss before the learning rate is divided by 10.
        stop_after: epochs without a better validation loss before training stops.
        flip: mirror each training image left-right with probability 1/2.
        shift: largest random shift of a training image, as a share of its side; stands for the papers' random crop.
        class_weights: weight the loss by inverse class frequency.
        weight_decay: of Adam.
    """

    epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 3e-4
    patience: int = 3
    stop_after: int = 8
    flip: bool = True
    shift: float = 0.05
    class_weights: bool = True
    weight_decay: float = 0.0


class Cases(NamedTuple):
    """Images as float32 in [0, 1], (n, c, *space), made on demand from an index, and their classes (n,)."""

    images: Callable[[Tensor], Images]
    labels: Labels


class Trained(NamedTuple):
    """A state dict with the best validation loss, and the history, one dictionary an epoch."""

    state: dict[str, Tensor]
    history: tuple[dict[str, float], ...]


def train_classifier(
    model: nn.Module,
    train: Cases,
    validation: Cases,
    *,
    settings: TrainSettings,
    seed: int,
    checkpoint: Path | None = None,
    progress: bool = False,
) -> Trained:
    """Train `model` in place and return its best state.

    Args:
        model: images in [0, 1] to logits (n, k); trained where it is.
        train: cases to learn from.
        validation: cases that choose the epoch.
        settings: see `TrainSettings`.
        seed: seeds the order and the augmentation of every epoch, so that a resumed training equals an undisturbed one.
        checkpoint: a folder for the state after each epoch; training resumes from what it finds there.
        progress: show a bar.

    Returns:
        The state dict with the smallest validation loss (on CPU) and the history.

    Raises:
        InputError: a setting is out of range.
        NumericsError: the loss became NaN or infinite.

    Source: HFC-21 section 5.1 and its released code (Adam 3e-4, ReduceLROnPlateau, best validation loss).

    Example:
        >>> x, y = torch.rand(8, 1, 4, 4), torch.arange(8) % 2
        >>> cases = Cases(lambda index: x[index], y)
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
        >>> len(train_classifier(net, cases, cases, settings=TrainSettings(epochs=2), seed=0).history)
        2
    """
    require(settings.epochs >= 1, "epochs", "train_classifier", "an int >= 1", settings.epochs)
    require(settings.batch_size >= 2, "batch_size", "train_classifier", "an int >= 2", settings.batch_size)
    session = _Session(model, settings, _class_weights(train.labels, settings))
    session.resume(checkpoint)
    with progress_bar(settings.epochs * len(train.labels), "training", unit="image", show=progress) as advance:
        advance(session.epoch * len(train.labels))
        while session.epoch < settings.epochs and session.stale < settings.stop_after:
            generator = torch.Generator().manual_seed(seed * 100_003 + session.epoch)
            train_loss = session.learn(train, generator, advance)
            session.close_epoch(train_loss, _evaluate(model, validation, session.weights))
            session.save(checkpoint)
    return Trained(session.best, tuple(session.history))


class _Session:
    """Everything that changes during training, in one place that can be saved and restored."""

    def __init__(self, model: nn.Module, settings: TrainSettings, weights: Tensor | None) -> None:
        self.model, self.settings, self.weights = model, settings, weights
        self.optimiser = torch.optim.Adam(
            model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(self.optimiser, patience=settings.patience)
        self.epoch, self.stale, self.best_loss = 0, 0, math.inf
        self.best: dict[str, Tensor] = {}
        self.history: list[dict[str, float]] = []

    def learn(self, train: Cases, generator: torch.Generator, advance: Callable[[int], None]) -> float:
        """One pass over the training cases; the mean loss."""
        self.model.train()
        total, order = 0.0, torch.randperm(len(train.labels), generator=generator)
        for index in _batches(order, self.settings.batch_size):
            x = augment(train.images(index), self.settings, generator)
            loss = functional.cross_entropy(self.model(x), train.labels[index], weight=self.weights)
            if not math.isfinite(loss.item()):
                raise NumericsError(
                    f"The training loss became {loss.item()} in epoch {self.epoch + 1}. Lower the learning rate "
                    "or check the images for NaN."
                )
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.optimiser.step()
            total += loss.item() * len(index)
            advance(len(index))
        return total / len(order)

    def close_epoch(self, train_loss: float, scores: dict[str, float]) -> None:
        """Step the schedule, keep the best state, extend the history."""
        loss = scores["validation_loss"]
        self.schedule.step(loss)
        self.epoch, self.stale = self.epoch + 1, self.stale + 1
        if loss < self.best_loss:
            self.best_loss, self.stale = loss, 0
            self.best = {key: value.detach().cpu().clone() for key, value in self.model.state_dict().items()}
        rate = self.optimiser.param_groups[0]["lr"]
        self.history.append({"epoch": self.epoch, "train_loss": train_loss, "learning_rate": rate, **scores})

    def save(self, folder: Path | None) -> None:
        """Write the checkpoint under a temporary name, then rename it: a killed run finds the old or the new one."""
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "best": self.best,
            "progress": json.dumps([self.epoch, self.stale, self.best_loss, self.history, asdict(self.settings)]),
        }
        torch.save(state, folder / "checkpoint.tmp")
        os.replace(folder / "checkpoint.tmp", folder / "checkpoint.pt")

    def resume(self, folder: Path | None) -> None:
        """Go on from the checkpoint, if there is one of the same settings."""
        if folder is None or not (folder / "checkpoint.pt").is_file():
            return
        state: dict[str, Any] = torch.load(folder / "checkpoint.pt", weights_only=True)
        epoch, stale, best_loss, history, settings = json.loads(state["progress"])
        if settings != asdict(self.settings):
            return
        self.epoch, self.stale, self.best_loss, self.history = epoch, stale, best_loss, history
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.best = state["best"]


def augment(x: Images, settings: TrainSettings, generator: torch.Generator) -> Images:
    """Random mirror images and shifts (edges repeated), drawn for each case.

    Example:
        >>> augment(torch.zeros(2, 1, 8, 8), TrainSettings(), torch.Generator()).shape
        torch.Size([2, 1, 8, 8])
    """
    if settings.flip:
        mirrored = torch.rand(len(x), generator=generator) < 0.5
        x = torch.where(mirrored.reshape(-1, *(1,) * (x.dim() - 1)), x.flip(-1), x)
    reach = int(settings.shift * min(x.shape[2:]))
    if reach == 0:
        return x
    for axis in range(2, x.dim()):
        moves = torch.randint(-reach, reach + 1, (len(x),), generator=generator)
        place = (torch.arange(x.shape[axis]) + moves[:, None]).clamp_(0, x.shape[axis] - 1)
        shape = [len(x), *(x.shape[a] if a == axis else 1 for a in range(1, x.dim()))]
        x = x.gather(axis, place.reshape(shape).expand(x.shape))
    return x


def _batches(order: Tensor, size: int) -> list[Tensor]:
    """Batches of `size`; a last one of a single case joins the one before it, for BatchNorm's sake."""
    parts = list(order.split(size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def _class_weights(labels: Tensor, settings: TrainSettings) -> Tensor | None:
    if not settings.class_weights:
        return None
    counts = labels.bincount().float()
    return counts.sum() / (len(counts) * counts.clamp_min(1))


def _evaluate(model: nn.Module, cases: Cases, weights: Tensor | None) -> dict[str, float]:
    model.eval()
    with torch.no_grad():
        parts = [model(cases.images(index)) for index in torch.arange(len(cases.labels)).split(64)]
    logits = torch.cat(parts)
    loss = functional.cross_entropy(logits, cases.labels, weight=weights).item()
    accuracy = (logits.argmax(dim=1) == cases.labels).float().mean().item()
    return {"validation_loss": loss, "validation_accuracy": accuracy}
