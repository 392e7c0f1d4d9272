"""Adversarial training of Shields in feature space, on a classifier that never changes; resumable after every epoch."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from medaegis._errors import DataError, is_a, require
from medaegis._late import settled
from medaegis._progress import progress_bar
from medaegis._types import Images
from medaegis.data import split_adversarial
from medaegis.defend._shield_epoch import Epoch, ShieldBench, few, learn, validate
from medaegis.defend._shield_net import Shields
from medaegis.defend._shield_plan import TapPlan, tap_plan
from medaegis.defend._shield_probe import probe
from medaegis.defend._shield_settings import ShieldSettings
from medaegis.defend._shield_stuck import Stuck
from medaegis.defend._shield_system import Shielded
from medaegis.models import Cases, accelerate, frozen, read_checkpoint, repeatable, write_checkpoint

_STATISTICS_CASES = 512


class TrainedShields(NamedTuple):
    """What training gives.

    Attributes:
        shields: with the weights (or their running mean) of the best validation, on the classifier's device.
        history: one dictionary an epoch: `epoch` from 1, `eps`, `clean_loss`, `adversarial_loss` (each log 2 at
            chance), `attack_success` (share of training attacks whose logit ends above 0), `validation_loss`,
            `validation_auc` (the worst over Shields and training attacks, at the full budget), and `loss_y` of each
            class y.
        train: positions of the cases that were learned from.
        validation: positions of the cases held out; calibrate on others or on these.
        probe_auc: the worst AUC, over Shields, of attacks of 40 steps that the training did not use, at the full
            budget, on a few cases held out; NaN where `probe_cases` is 0.
    """

    shields: Shields
    history: tuple[dict[str, float], ...]
    train: Tensor
    validation: Tensor
    probe_auc: float = math.nan


def train_shields(
    classifier: nn.Module,
    cases: Cases,
    groups: Sequence[str] | None = None,
    *,
    plan: TapPlan | None = None,
    settings: ShieldSettings | None = None,
    seed: int,
    preprocess: Callable[[Images], Images] | None = None,
    start: Shields | None = None,
    checkpoint: Path | None = None,
    progress: bool = False,
) -> TrainedShields:
    """Train one Shield for each class against an attacker who raises its logit.

    For each clean image x of class y the attacker takes a class t other than y, drawn anew in every epoch, and raises
    S_t within the epoch's budget (`run_attack` with `shield_logit`), through the frozen classifier. The loss is that
    of eq. 3 with its sign turned, since it is minimised: -log sigma(S_y[f(x)]) - log(1 - sigma(S_t[f(x*)])), in which
    each Shield's clean and adversarial cases weigh alike. With `preprocess`, every image passes through it (eq. 4).

    Args:
        classifier: images in [0, 1] to logits (n, k). Never changed: parameters, buffers and mode stay as they are.
        cases: clean images and their true classes; those that the classifier gets right, usually.
        groups: (n,) the patient of each case, none of whom is divided between training and validation; None takes
            each case for a patient of its own.
        plan: the taps; None chooses them with `tap_plan`.
        settings: None for `ShieldSettings.paper()`.
        seed: of weights, split and every epoch's draws, so that a resumed training equals an undisturbed one; the
            global random state is left alone.
        preprocess: what every image goes through before the classifier, differentiable, such as a Cushion with BPDA.
        start: Shields to go on from, of the same taps, classes and width; None for new ones. They are not changed.
        checkpoint: a folder for the state after each epoch; training resumes from what it finds there, if that has the
            same settings, seed, taps, cases, classifier and start. Use another folder for another `preprocess`.
        progress: show a bar.

    Returns:
        `TrainedShields`.

    Raises:
        InputError: labels are not classes of the classifier, `start` does not fit, or an argument has the wrong shape
            or type.
        DataError: a class has too few cases, or too few patients, for both parts.
        NumericsError: maps or a loss are not finite.

    Warns:
        DefenceWarning: a Shield has stopped learning, or stronger attacks get past what rejects the training's own.

    Source: Aegis section 3, eq. 3 and 4, and section 4.1.

    Example:
        >>> x, y = torch.rand(16, 1, 8, 8), torch.arange(16) % 2
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> quick = ShieldSettings(epochs=1, growing=1)
        >>> len(train_shields(net, Cases(lambda index: x[index], y), settings=quick, seed=0).history)
        1
    """
    settings = settings or ShieldSettings.paper()
    require(start is None or is_a(start, Shields), "start", "train_shields", "Shields, or None", type(start))
    if settings.then is not None:
        how: dict[str, Any] = {"plan": plan, "seed": seed, "preprocess": preprocess, "progress": progress}
        one = replace(settings, then=None, probe_cases=0)
        begun = train_shields(classifier, cases, groups, settings=one, start=start, checkpoint=checkpoint, **how)
        beside, how["start"] = None if checkpoint is None else checkpoint / "then", begun.shields
        ended = train_shields(classifier, cases, groups, settings=settings.then, checkpoint=beside, **how)
        return ended._replace(history=continued(begun.history, ended.history))
    first = cases.images(torch.zeros(1, dtype=torch.int64)) if len(cases.labels) else torch.zeros(0)
    classes = _class_count(classifier, first, cases)
    chosen = plan or tap_plan(classifier, first)
    parts = _split(cases, groups, classes, settings, seed)
    with frozen(classifier), torch.enable_grad(), repeatable():
        session = _Session(classifier, preprocess, first, chosen, classes, settings, seed)
        bench = ShieldBench(session.system, session.layout, cases, settings, *parts, mean=session.mean)
        session.start(
            bench, checkpoint, start, origin=_origin(classifier, cases, groups, chosen, settings, seed, start)
        )
        bar = progress_bar(settings.epochs * len(bench.train), "Shields", unit="image", show=progress)
        with bar as advance:
            advance(session.epoch * len(bench.train))
            while session.epoch < settings.epochs and session.stale < settings.stop_after:
                session.run_epoch(bench, advance)
                session.save(checkpoint)
        session.shields.load_state_dict(session.best)
        stronger = probe(bench, seed, session.best_rank[0])
    return TrainedShields(session.shields, tuple(session.history), *parts, probe_auc=stronger)


def continued(first: Sequence[dict[str, float]], then: Sequence[dict[str, float]]) -> tuple[dict[str, float], ...]:
    """The histories of two trainings that follow each other, with epochs counted on.

    Example:
        >>> [epoch["epoch"] for epoch in continued([{"epoch": 1}, {"epoch": 2}], [{"epoch": 1}])]
        [1, 2, 3]
    """
    return (*first, *({**epoch, "epoch": len(first) + epoch["epoch"]} for epoch in then))


class _Session:
    """Everything that changes during training, in one place that can be saved and restored."""

    def __init__(
        self,
        classifier: nn.Module,
        preprocess: Callable[[Tensor], Tensor] | None,
        first: Tensor,
        plan: TapPlan,
        classes: int,
        settings: ShieldSettings,
        seed: int,
    ) -> None:
        device = next((parameter.device for parameter in classifier.parameters()), first.device)
        fast = accelerate(classifier, first.to(device), layers=plan.names)
        self.layout = fast.memory_format
        self.shields = Shields(plan, classes, width=settings.width, seed=seed).to(device)
        self.system = Shielded(fast.model, self.shields, preprocess)
        self.settings, self.seed, self.origin = settings, seed, ""
        self.mean: AveragedModel | None = None
        if settings.average > 0:
            self.mean = AveragedModel(self.shields, multi_avg_fn=get_ema_multi_avg_fn(settings.average))
        self.optimiser = torch.optim.Adam(
            self.shields.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.stuck = Stuck([0] * classes)
        self.epoch, self.stale = 0, 0
        self.best_rank = (-1.0, 0.0)
        self.best: dict[str, Tensor] = self._weights()
        self.history: list[dict[str, float]] = []

    def start(self, bench: ShieldBench, folder: Path | None, shields: Shields | None, *, origin: str) -> None:
        """Go on from the checkpoint of the same origin, or from Shields; else learn the channels' statistics."""
        self.origin = origin
        if self._resume(folder):
            return
        if shields is not None:
            told, wanted = _form(shields), _form(self.shields)
            rule = f"Shields of the taps, their channels, the number of classes and the width {wanted}"
            require(told == wanted, "start", "train_shields", rule, told)
            self.shields.load_state_dict(shields.state_dict())
        else:
            few = bench.train[torch.linspace(0, len(bench.train) - 1, min(len(bench.train), _STATISTICS_CASES)).long()]
            self.shields.standardise(bench.maps(index) for index in few.split(self.settings.batch_size))
        if self.mean is not None:
            self.mean.module.load_state_dict(self.shields.state_dict())
        self.best = self._weights()

    def run_epoch(self, bench: ShieldBench, advance: Callable[[int], None]) -> None:
        """Learn, validate, keep the best weights, extend the history."""
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        found = learn(bench, self.optimiser, self.settings.budget(self.epoch), generator, advance)
        scores = validate(bench._replace(system=self._judged(bench.system)), self.seed)
        rank = (scores["validation_auc"], -scores["validation_loss"])
        self.stale += 1 if self.settings.full(self.epoch) else 0
        if rank > self.best_rank:
            self.best_rank, self.best, self.stale = rank, self._weights(), 0
        self.epoch += 1
        self.history.append(self._entry(found, scores))
        self.stuck = self.stuck.after(found.by_class, self.settings.stuck_after, self.history[-1])

    def _entry(self, found: Epoch, scores: dict[str, float]) -> dict[str, float]:
        by_class = {f"loss_{c}": loss for c, loss in enumerate(found.by_class)}
        figures = {"clean_loss": found.clean, "adversarial_loss": found.adversarial, "attack_success": found.success}
        return {"epoch": self.epoch, "eps": found.eps, **figures, **scores, **by_class}

    def _judged(self, system: Shielded) -> Shielded:
        """The system with the weights that are validated and kept."""
        return Shielded(system.classifier, self._kept(), system.preprocess)

    def _kept(self) -> Shields:
        return self.shields if self.mean is None else cast(Shields, self.mean.module)

    def _weights(self) -> dict[str, Tensor]:
        return {key: value.detach().cpu().clone() for key, value in self._kept().state_dict().items()}

    def save(self, folder: Path | None) -> None:
        """Write the checkpoint."""
        progress = [self.epoch, self.stale, self.best_rank, self.history, self.stuck.epochs]
        state = {"shields": self.shields.state_dict(), "optimiser": self.optimiser.state_dict(), "best": self.best}
        if self.mean is not None:
            state["mean"] = self.mean.state_dict()
        write_checkpoint(folder, {**state, "progress": json.dumps(progress), "origin": self.origin})

    def _resume(self, folder: Path | None) -> bool:
        state = read_checkpoint(folder)
        if state is None or state["origin"] != self.origin:
            return False
        self.epoch, self.stale, best_rank, self.history, stuck = json.loads(state["progress"])
        self.best_rank, self.stuck, self.best = (best_rank[0], best_rank[1]), Stuck(stuck), state["best"]
        self.shields.load_state_dict(state["shields"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.mean is not None:
            self.mean.load_state_dict(state["mean"])
        return True


def _form(shields: Shields) -> tuple[object, ...]:
    """What Shields must have alike for one to take the other's weights."""
    return (shields.plan.names, tuple(size[0] for size in shields.plan.sizes), shields.classes, shields.width)


def _class_count(classifier: nn.Module, first: Tensor, cases: Cases) -> int:
    owner, labels = "train_shields", cases.labels
    require(len(labels) > 0, "cases", owner, "at least one case", len(labels))
    device = next((parameter.device for parameter in classifier.parameters()), first.device)
    with frozen(classifier), torch.no_grad():
        logits = classifier(first.clone().to(device))
    shape = tuple(logits.shape)
    good = len(shape) == 2 and shape[1] >= 2
    require(good, "classifier", owner, "a network that gives logits (n, k), k >= 2", shape)
    whole = labels.dim() == 1 and not labels.is_floating_point()
    ends = (int(labels.min()), int(labels.max()))
    rule = f"labelled (n,) from 0 to {shape[1] - 1}, since the classifier has {shape[1]} logits"
    require(whole and ends[0] >= 0 and ends[1] < shape[1], "cases", owner, rule, f"labels from {ends[0]} to {ends[1]}")
    return shape[1]


def _split(
    cases: Cases, groups: Sequence[str] | None, classes: int, settings: ShieldSettings, seed: int
) -> tuple[Tensor, Tensor]:
    """Positions for training and for validation, no patient divided."""
    labels = cases.labels.cpu()
    counts = labels.bincount(minlength=classes).tolist()
    if min(counts) < 2:
        raise DataError(
            f"Class {counts.index(min(counts))} has {min(counts)} cases; each Shield needs at least 2 of its class, "
            "one to learn from and one for validation. Add images of it, or merge classes."
        )
    names = [str(i) for i in range(len(labels))] if groups is None else groups
    share = 1 - settings.validation_share
    parts = split_adversarial(range(len(labels)), labels.numpy(), names, train_share=share, seed=seed)
    return torch.from_numpy(parts.train), few(torch.from_numpy(parts.test), labels, settings.validation_cases)


def _origin(
    classifier: nn.Module,
    cases: Cases,
    groups: Sequence[str] | None,
    plan: TapPlan,
    settings: ShieldSettings,
    seed: int,
    start: Shields | None,
) -> str:
    """A hash of all that a training depends on but the images themselves and `preprocess`."""
    facts: list[Any] = [settled(settings), seed, plan.names, plan.sizes, cases.labels.tolist(), list(groups or ())]
    digest = hashlib.sha256(json.dumps(facts).encode())
    for module in (classifier, *(() if start is None else (start,))):
        for name, value in module.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
