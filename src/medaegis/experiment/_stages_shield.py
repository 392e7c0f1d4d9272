"""Stages that train a classifier's Shields and calibrate them on clean cases that neither has seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from medaegis._types import Images
from medaegis.attack import BPDA
from medaegis.defend import (
    Shielded,
    ShieldedPass,
    Shields,
    ShieldSettings,
    TapPlan,
    shield_logits,
    shield_thresholds,
    tap_plan,
    train_shields,
)
from medaegis.defend._shield_train import continued
from medaegis.experiment._context import Context
from medaegis.experiment._stage import Result, Stage
from medaegis.experiment._stages_cushion import Cushioned, own_layer
from medaegis.experiment._stages_data import cases_at
from medaegis.experiment._stages_model import AdversarialCases, Classifier, TrainFeatures, predict
from medaegis.models import PENULTIMATE, Cases

TNR = 0.90


class Parts(NamedTuple):
    """A classifier in two: the network, and what every image goes through before it, or None."""

    network: nn.Module
    step: BPDA | None


def in_two(classifier: Classifier, context: Context) -> Parts:
    """The network and the Cushion's step of a classifier."""
    if isinstance(classifier, Cushioned):
        return Parts(classifier.base.load(context), classifier.step.bpda(classifier.backward))
    return Parts(classifier.load(context), None)


@dataclass(frozen=True)
class TrainedShield(Stage):
    """Shields trained on those cases of Train and validation that the classifier gets right behind its Cushion.

    Args:
        classifier: frozen; behind a Cushion for Medical Aegis.
        training: how.
        taps: numbers of the taps of `tap_plan`, from 1; () for all.
        seed: of weights, split and draws.
        start: the Shields to go on from.
    """

    classifier: Classifier
    training: ShieldSettings
    taps: tuple[int, ...] = ()
    seed: int = 0
    start: TrainedShield | None = None

    def compute(self, context: Context) -> Result:
        """Train, going on from what a killed run left."""
        split, (network, step) = self.classifier.split, in_two(self.classifier, context)
        data, known = split.images.dataset(context), split.split(context)
        index = np.concatenate([known.train, known.validation])
        predicted = predict(self.classifier.load(context), data.tensor(index), context).argmax(dim=1).numpy()
        right = index[predicted == data.labels[index]]

        def images(rows: Tensor) -> Images:
            return data.tensor(right[rows.cpu().numpy()]).to(context.device)

        trained = train_shields(
            network,
            Cases(images, torch.as_tensor(data.labels[right])),
            [data.groups[i] for i in right],
            plan=self._plan(network, data.tensor(right[:1]).to(context.device)),
            settings=self.training,
            seed=self.seed,
            preprocess=step,
            start=None if self.start is None else self.start.system(context).shields,
            checkpoint=context.store.scratch(self),
            progress=context.progress,
        )
        before = () if self.start is None else context.get(self.start).info["history"]
        info: dict[str, Any] = {
            "plan": trained.shields.plan._asdict(),
            "history": list(continued(before, trained.history)),
            "classes": trained.shields.classes,
            "counts": {"train": len(trained.train), "validation": len(trained.validation)},
            "probe_auc": trained.probe_auc if math.isfinite(trained.probe_auc) else None,
        }
        tensors = {name: value.detach().cpu().contiguous() for name, value in trained.shields.state_dict().items()}
        return Result(tensors, info)

    def _plan(self, network: nn.Module, example: Tensor) -> TapPlan:
        whole = tap_plan(network, example)
        if not self.taps:
            return whole
        wanted = [whole.names[number - 1] for number in self.taps]
        return tap_plan(network, example, layers=wanted)

    def system(self, context: Context) -> Shielded:
        """Cushion, classifier and Shields as one network, which attacks can differentiate."""
        stored, (network, step) = context.get(self), in_two(self.classifier, context)
        told = stored.info["plan"]
        plan = TapPlan(tuple(told["names"]), tuple(tuple(size) for size in told["sizes"]), told["rule"])
        shields = Shields(plan, stored.info["classes"], width=self.training.width)
        shields.load_state_dict(stored.tensors)
        return Shielded(network, shields.to(context.device), step).eval()


@dataclass(frozen=True)
class ShieldScores(Stage):
    """Thresholds from AdvTrain, and what classifier and Shields say of clean Test cases.

    Args:
        shield: the Shields.
        cases: AdvTrain, whose cases neither classifier nor Shields have seen, and AdvTest.
        tnr: share of AdvTrain that each class's threshold lets pass.
    """

    shield: TrainedShield
    cases: AdversarialCases
    tnr: float = TNR

    def compute(self, context: Context) -> Result:
        """Pass AdvTrain and all of Test."""
        system, split = self.shield.system(context), self.cases.split(context)
        data, test = self.shield.classifier.split.images.dataset(context), self.shield.classifier.split.split(context)
        held = passes(system, cases_at(data, split.train)[0], context)
        whole = passes(system, cases_at(data, test.test)[0], context)
        thresholds = shield_thresholds(held.shields, held.logits.argmax(dim=1), tnr=self.tnr)
        place = {int(case): i for i, case in enumerate(test.test)}
        rows = torch.tensor([place[int(case)] for case in split.test])
        parts = {"held": held, "test": whole, "clean": ShieldedPass(whole.logits[rows], whole.shields[rows])}
        tensors = {f"{name}.{key}": value for name, one in parts.items() for key, value in one._asdict().items()}
        return Result(tensors | {"thresholds": thresholds}, {})

    def margins(self, part: str, context: Context) -> Tensor:
        """S of the predicted class less its threshold (n,), of one part: below 0 is rejected."""
        stored = context.get(self).tensors
        return margins(ShieldedPass(stored[f"{part}.logits"], stored[f"{part}.shields"]), stored["thresholds"])

    def other_margins(self, context: Context) -> Tensor:
        """Of AdvTest, unchanged: S of the next class less its threshold (n,), as if the classifier had said that."""
        stored = context.get(self).tensors
        claimed = stored["clean.logits"].roll(1, dims=1)  # what an attack on the classifier alone would make of them
        return margins(ShieldedPass(claimed, stored["clean.shields"]), stored["thresholds"])


def passes(system: Shielded, images: Tensor, context: Context) -> ShieldedPass:
    """Logits of classifier and Shields (n, k), on the CPU."""
    found = shield_logits(system, images.to(context.device), batch_size=context.batch_size)
    return ShieldedPass(found.logits.cpu(), found.shields.cpu())


def margins(seen: ShieldedPass, thresholds: Tensor) -> Tensor:
    """S of the predicted class less its threshold (n,); below 0 is rejected.

    Example:
        >>> margins(ShieldedPass(torch.tensor([[0.0, 1.0]]), torch.tensor([[5.0, 3.0]])), torch.tensor([1.0, 4.0]))
        tensor([-1.])
    """
    predicted = seen.logits.argmax(dim=1)
    return seen.shields.gather(1, predicted[:, None])[:, 0] - thresholds[predicted]


@dataclass(frozen=True)
class SystemFeatures(TrainFeatures):
    """Train features under the names that layers of the classifier have inside a `Shielded` network."""

    def features(self, context: Context) -> tuple[dict[str, Tensor], Tensor]:
        """Features by layer, and labels."""
        layers, labels = TrainFeatures.features(self, context)
        return {_inside(self.classifier, name): z for name, z in layers.items()}, labels


def _inside(classifier: Classifier, name: str) -> str:
    return name if name == PENULTIMATE else f"classifier.{own_layer(classifier, name)}"
