"""Training a classifier as the papers do: Adam, plateau schedule, best validation loss; resumable after every epoch."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from medaegis._errors import NumericsError, is_int, is_number, require
from medaegis._late import late, settled
from medaegis._progress import progress_bar
from medaegis._types import Images, Labels
from medaegis.models._checkpoint import read_checkpoint, write_checkpoint
from medaegis.models._frozen import frozen, ieee_float32, seeded
from medaegis.models._speed import use_fast_format


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
        crop: height and width of the patch that training sees of each image, at a random place and as deep as the
            volume, as in the paper's 30 x 128 x 128 of 30 x 270 x 270; None shows the whole image. Validation, and
            all that follows, always sees the whole.

    Raises:
        InputError: a setting is out of range.

    Example:
        >>> TrainSettings(epochs=0)
        Traceback (most recent call last):
        medaegis._errors.InputError: `epochs` of TrainSettings must be an int >= 1, got 0.
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
    crop: int | None = late(None)

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 2), ("patience", 0), ("stop_after", 1)):
            value = getattr(self, name)
            require(is_int(value) and value >= least, name, "TrainSettings", f"an int >= {least}", value)
        rate, shift, decay = self.learning_rate, self.shift, self.weight_decay
        require(is_number(rate) and rate > 0, "learning_rate", "TrainSettings", "a number > 0", rate)
        require(is_number(shift) and 0 <= shift < 1, "shift", "TrainSettings", "a share in [0, 1)", shift)
        require(is_number(decay) and decay >= 0, "weight_decay", "TrainSettings", "a number >= 0", decay)
        good = self.crop is None or (is_int(self.crop) and self.crop >= 1)
        require(good, "crop", "TrainSettings", "an int >= 1 or None", self.crop)


class Cases(NamedTuple):
    """Images as float32 in [0, 1], (n, c, *space), made on demand from an index, and their classes (n,)."""

    images: Callable[[Tensor], Images]
    labels: Labels


Adversary = Callable[[nn.Module, Images, Labels, torch.Generator], Images]
"""Makes images (n, c, *space) that the network, given as it is just now, takes for another class than theirs."""


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
    adversary: Adversary | None = None,
    checkpoint: Path | None = None,
    progress: bool = False,
) -> Trained:
    """Train `model` in place and return its best state.

    Args:
        model: images in [0, 1] to logits (n, k); trained where it is.
        train: cases to learn from.
        validation: cases that choose the epoch.
        settings: see `TrainSettings`.
        seed: seeds the order, the augmentation and the model's own draws (dropout) of every epoch, so that a resumed
            training equals an undisturbed one; the global random state is left alone.
        adversary: of adversarial training, which learns from what this makes of each batch (after augmentation) and
            chooses the epoch by what it makes of the validation cases, of the same draws in every epoch; it leaves the
            model as it came, as `run_attack` does. None learns from the images themselves.
        checkpoint: a folder for the state after each epoch; training resumes from what it finds there, if that has the
            same settings and seed (an adversary of the same kind is the caller's matter).
        progress: show a bar.

    Returns:
        The state dict with the smallest validation loss (on CPU) and the history. Losses and accuracies are those on
        what the adversary made, if there is one.

    Raises:
        InputError: there are no cases, the model gives no logits (n, k), or a label is not one of the k classes.
        NumericsError: a loss became NaN or infinite.

    Source: HFC-21 section 5.1 and its released code (Adam 3e-4, ReduceLROnPlateau, best validation loss); adversarial
    training is that of Madry et al. 2018, section 2, which no paper here uses.

    Example:
        >>> x, y = torch.rand(8, 1, 4, 4), torch.arange(8) % 2
        >>> cases = Cases(lambda index: x[index], y)
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
        >>> len(train_classifier(net, cases, cases, settings=TrainSettings(epochs=2), seed=0).history)
        2
    """
    one = _prepared(model, train, validation)
    session = _Session(model, settings, seed, _class_weights(train.labels, settings, one), adversary)
    session.resume(checkpoint)
    bar = progress_bar(settings.epochs * len(train.labels), "training", unit="image", show=progress)
    with ieee_float32(), bar as advance:
        advance(session.epoch * len(train.labels))
        while session.epoch < settings.epochs and session.stale < settings.stop_after:
            epoch_seed = seed * 100_003 + session.epoch
            with seeded(epoch_seed, one.device):
                train_loss = session.learn(train, torch.Generator().manual_seed(epoch_seed), advance)
                scores = _evaluate(model, validation, session.weights, adversary, seed)
            session.close_epoch(train_loss, scores)
            session.save(checkpoint)
    return Trained(session.best, tuple(session.history))


def _prepared(model: nn.Module, train: Cases, validation: Cases) -> Tensor:
    """The logits of one case, (1, k); raise `InputError` unless cases, labels and logits fit each other.

    The model is put into its fast memory format on the way, with the same case as the probe.
    """
    owner = "train_classifier"
    for name, cases in (("train", train), ("validation", validation)):
        require(len(cases.labels) > 0, name, owner, "at least one case", len(cases.labels))
    first = train.images(torch.zeros(1, dtype=torch.int64))
    with frozen(model), torch.no_grad():
        logits = model(first.clone())
    use_fast_format(model, first)
    shape = tuple(logits.shape)
    require(len(shape) == 2 and shape[1] >= 2, "model", owner, "a network that gives logits (n, k), k >= 2", shape)
    for name, cases in (("train", train), ("validation", validation)):
        ends = (int(cases.labels.min()), int(cases.labels.max()))
        inside = ends[0] >= 0 and ends[1] < shape[1]
        rule = f"labelled from 0 to {shape[1] - 1}, since the model has {shape[1]} logits"
        require(inside, name, owner, rule, f"labels from {ends[0]} to {ends[1]}")
    return logits


class _Session:
    """Everything that changes during training, in one place that can be saved and restored."""

    def __init__(
        self,
        model: nn.Module,
        settings: TrainSettings,
        seed: int,
        weights: Tensor | None,
        adversary: Adversary | None,
    ) -> None:
        self.model, self.settings, self.weights, self.adversary = model, settings, weights, adversary
        self.origin: dict[str, Any] = settled(settings) | {"seed": seed}
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
            x = train.images(index)
            x = augment(x, flip=self.settings.flip, shift=self.settings.shift, generator=generator)
            x = patches(x, self.settings.crop, generator=generator)
            if self.adversary is not None:
                x = self.adversary(self.model, x, train.labels[index], generator)
            loss = functional.cross_entropy(self.model(x), train.labels[index], weight=self.weights)
            self._check_loss(loss.item(), "training")
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.optimiser.step()
            total += loss.item() * len(index)
            advance(len(index))
        return total / len(order)

    def close_epoch(self, train_loss: float, scores: dict[str, float]) -> None:
        """Step the schedule, keep the best state, extend the history."""
        loss = scores["validation_loss"]
        self._check_loss(loss, "validation")
        self.schedule.step(loss)
        self.epoch, self.stale = self.epoch + 1, self.stale + 1
        if loss < self.best_loss:
            self.best_loss, self.stale = loss, 0
            self.best = {key: value.detach().cpu().clone() for key, value in self.model.state_dict().items()}
        rate = self.optimiser.param_groups[0]["lr"]
        self.history.append({"epoch": self.epoch, "train_loss": train_loss, "learning_rate": rate, **scores})

    def _check_loss(self, loss: float, part: str) -> None:
        if not math.isfinite(loss):
            raise NumericsError(
                f"The {part} loss became {loss} in epoch {self.epoch + 1}. Lower the learning rate or check the "
                "images for NaN."
            )

    def save(self, folder: Path | None) -> None:
        """Write the checkpoint."""
        state = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "best": self.best,
            "progress": json.dumps([self.epoch, self.stale, self.best_loss, self.history, self.origin]),
        }
        write_checkpoint(folder, state)

    def resume(self, folder: Path | None) -> None:
        """Go on from the checkpoint, if there is one of the same settings and seed."""
        state = read_checkpoint(folder)
        if state is None:
            return
        epoch, stale, best_loss, history, origin = json.loads(state["progress"])
        if origin != self.origin:
            return
        self.epoch, self.stale, self.best_loss, self.history = epoch, stale, best_loss, history
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.best = state["best"]


def augment(x: Images, *, flip: bool, shift: float, generator: torch.Generator) -> Images:
    """Random mirror images and shifts (edges repeated), drawn for each case.

    Args:
        x: images (n, c, *space).
        flip: mirror each left-right with probability 1/2.
        shift: largest shift along each axis, as a share of the image's length there.
        generator: of all draws, on the CPU.

    Example:
        >>> augment(torch.zeros(2, 1, 8, 8), flip=True, shift=0.1, generator=torch.Generator()).shape
        torch.Size([2, 1, 8, 8])
    """
    if flip:
        mirrored = (torch.rand(len(x), generator=generator) < 0.5).to(x.device)
        x = torch.where(mirrored.reshape(-1, *(1,) * (x.dim() - 1)), x.flip(-1), x)
    for axis in range(2, x.dim()):
        reach = int(shift * x.shape[axis])
        if reach == 0:
            continue
        moves = torch.randint(-reach, reach + 1, (len(x),), generator=generator)
        place = (torch.arange(x.shape[axis]) + moves[:, None]).clamp_(0, x.shape[axis] - 1)
        shape = [len(x), *(x.shape[a] if a == axis else 1 for a in range(1, x.dim()))]
        x = x.gather(axis, place.to(x.device).reshape(shape).expand(x.shape))
    return x


def patches(x: Images, side: int | None, *, generator: torch.Generator) -> Images:
    """A patch of each image at a place of its own, `side` high and wide and with every slice of a volume.

    Args:
        x: images (n, c, *space).
        side: height and width of the patch; None, or one that is no smaller than the image, leaves it whole.
        generator: of all draws, on the CPU.

    Returns:
        (n, c, *space) with the last two dimensions at most `side`.

    Source: HFC-23 section V-A ("We randomly crop patches with a size of 30 x 128 x 128").

    Example:
        >>> patches(torch.zeros(2, 1, 5, 8, 8), 4, generator=torch.Generator()).shape
        torch.Size([2, 1, 5, 4, 4])
    """
    for axis in (-2, -1) if side is not None else ():
        length = x.shape[axis]
        if side is not None and side < length:
            starts = torch.randint(0, length - side + 1, (len(x),), generator=generator).tolist()
            x = torch.cat([case.narrow(axis, start, side) for case, start in zip(x.split(1), starts, strict=True)])
    return x


def _batches(order: Tensor, size: int) -> list[Tensor]:
    """Batches of `size`; a last one of a single case joins the one before it, for BatchNorm's sake."""
    parts = list(order.split(size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def _class_weights(labels: Tensor, settings: TrainSettings, like: Tensor) -> Tensor | None:
    if not settings.class_weights:
        return None
    counts = labels.bincount(minlength=like.shape[1]).to(like)
    return counts.sum() / (len(counts) * counts.clamp_min(1))


def _evaluate(
    model: nn.Module, cases: Cases, weights: Tensor | None, adversary: Adversary | None, seed: int
) -> dict[str, float]:
    model.eval()
    parts, generator = list[Tensor](), torch.Generator().manual_seed(seed)
    for index in torch.arange(len(cases.labels)).split(64):
        x = cases.images(index)
        if adversary is not None:
            x = adversary(model, x, cases.labels[index], generator)
        with torch.no_grad():
            parts.append(model(x))
    logits = torch.cat(parts)
    loss = functional.cross_entropy(logits, cases.labels, weight=weights).item()
    accuracy = (logits.argmax(dim=1) == cases.labels).float().mean().item()
    return {"validation_loss": loss, "validation_accuracy": accuracy}
