"""What a plan costs: image passes by what the stages say of themselves, and minutes by a short measurement."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from medaegis.data import list_cases
from medaegis.experiment._stage import Stage, distinct
from medaegis.experiment._stages_attack import AttackChoice, Attacked, Probe
from medaegis.experiment._stages_data import Images
from medaegis.experiment._stages_defence import Tried, Unaware
from medaegis.experiment._stages_model import Classifier
from medaegis.experiment._stages_shield import TrainedShield
from medaegis.experiment._stress import Stressed
from medaegis.models import build_model, frozen

TRAIN, TEST = 0.72, 0.2
"""Shares of the images; of Test, 30 % are attacked and 30 % of the rest, at most."""
ADVERSARIAL = 0.06
BLOCKS = 8
BATCH, LONG = 8, 2.0


class Network(NamedTuple):
    """What the time of a pass depends on."""

    model: str
    size: int
    channels: int = 3
    depth: int | None = None


class Cost(NamedTuple):
    """What stages take.

    Attributes:
        passes: image passes, forward and backward, by network.
        seconds: by the speed measured now.
        untimed: networks whose passes are not in the seconds, since they do not take a blank image.
    """

    passes: dict[Network, int]
    seconds: float
    untimed: tuple[Network, ...] = ()

    def __str__(self) -> str:
        """In words.

        Example:
            >>> str(Cost({Network("resnet18", 128): 12345}, 90.0))
            'about 12,000 image passes (resnet18 at 128 px), about 2 min at the speed measured just now'
        """
        if not self.passes:
            return "no image passes"
        told = [f"about {_rounded(n):,} image passes ({one.model} at {one.size} px)" for one, n in self.passes.items()]
        if len(self.untimed) == len(self.passes):
            return f"{', '.join(told)}, at an unknown speed"
        without = f" without {', '.join(one.model for one in self.untimed)}" if self.untimed else ""
        return f"{', '.join(told)}, about {_minutes(self.seconds)}{without} at the speed measured just now"


def cost_of(stages: Iterable[Stage], device: str) -> Cost:
    """Passes of training and attacks among the stages, and the time that they take on the device.

    Other work is not counted: fitting mixtures and detectors, reading images, further stages. Passes of trainings and
    attacks that end early are counted in full, so it errs in both directions; it is for planning an evening.

    Args:
        stages: that are missing.
        device: torch's name.

    Example:
        >>> cost_of((), "cpu")
        Cost(passes={}, seconds=0, untimed=())
    """
    passes: dict[Network, int] = {}
    counts: dict[Images, int] = {}
    for stage in stages:
        classifier = _classifier(stage)
        if classifier is not None:
            images = classifier.split.images
            channels, *slices, _, size = images.shape
            own = Network(classifier.model, size, channels, slices[0] if slices else None)
            counts.setdefault(images, _count(images))
            passes[own] = passes.get(own, 0) + round(_passes(stage, counts[images]))
    found = {network: n for network, n in passes.items() if n}
    times = {network: n * seconds_a_pass(network, device) for network, n in found.items()}
    untimed = tuple(network for network, seconds in times.items() if math.isnan(seconds))
    return Cost(found, sum(seconds for network, seconds in times.items() if network not in untimed), untimed)


def _classifier(stage: Stage) -> Classifier | None:
    """The stage's own classifier, or the one that it comes from."""
    return next((one for one in reversed(distinct((stage,))) if isinstance(one, Classifier)), None)


def _count(images: Images) -> int:
    """Phantoms, or images of a folder; of one file, its labels. `limit` is left aside."""
    if images.n:
        return images.n
    listed = list_cases(images.root, source=images.source, labels=images.labels)
    return len(listed.cases) or sum(_labels_in(table) for table in listed.tables if table.suffix == ".npz")


def _labels_in(file: Path) -> int:
    with np.load(file) as arrays:
        return sum(len(arrays[name]) for name in arrays.files if "label" in name)


def _passes(stage: Stage, n: int) -> float:
    if type(stage) is Classifier:
        attacked = 1 + stage.train_steps if stage.train_eps else 1
        return 0.0 if stage.train is None else stage.train.epochs * TRAIN * n * attacked
    if isinstance(stage, Attacked):
        share = 0.7 * (TEST - ADVERSARIAL) if stage.learning else ADVERSARIAL
        return share * n * _steps(stage.choice)
    if isinstance(stage, Probe):
        return stage.n * _steps(stage.attacked.choice)
    if isinstance(stage, Unaware) or (isinstance(stage, Tried) and stage.unaware is None):
        most = ADVERSARIAL * n
        return min(stage.n or most, most) * stage.steps
    if isinstance(stage, Stressed):
        return min(stage.n, TEST * n) * stage.steps * 2 * BLOCKS
    if isinstance(stage, TrainedShield):
        attacks = stage.training.attacks
        return stage.training.epochs * TRAIN * n * (1 + sum(one.steps for one in attacks) / len(attacks))
    return 0.0


def _steps(choice: AttackChoice) -> int:
    return choice.build().steps


def seconds_a_pass(network: Network, device: str) -> float:
    """Seconds that one image takes forward and backward; NaN where the network takes no images of that shape.

    Example:
        >>> seconds_a_pass(Network("small-resnet", 32), "cpu") > 0
        True
    """
    model = build_model(network.model, classes=2, channels=network.channels).model.to(device)
    room = (network.size, network.size) if network.depth is None else (network.depth, network.size, network.size)
    x = torch.zeros(BATCH, network.channels, *room, device=device)
    try:
        times = [_timed(model, x)]
    except RuntimeError:
        return math.nan
    if times[0] < LONG or device != "cpu":  # the first one warms a GPU up
        times += [_timed(model, x) for _ in range(3)]
    return min(times) / BATCH


def _timed(model: torch.nn.Module, x: torch.Tensor) -> float:
    with frozen(model):
        images = x.clone().requires_grad_()
        start = time.perf_counter()
        (gradient,) = torch.autograd.grad(model(images).sum(), images)
        gradient.sum().item()
    return time.perf_counter() - start


def _rounded(n: int) -> int:
    """Two digits.

    Example:
        >>> _rounded(123456)
        120000
    """
    digits = max(0, len(str(n)) - 2)
    return round(n, -digits)


def _minutes(seconds: float) -> str:
    if seconds < 90:
        return "a minute" if seconds > 30 else f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"
