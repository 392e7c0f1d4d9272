"""One epoch of a Shield's training: learn against an attacker, then validate against all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus
from torch.optim.swa_utils import AveragedModel

from medaegis._errors import NumericsError
from medaegis._types import Images, Labels
from medaegis.attack import Attack
from medaegis.attack._run import craft
from medaegis.data import spread
from medaegis.defend._shield_settings import ShieldSettings, TrainingAttack
from medaegis.defend._shield_system import Shielded, ShieldsAlone
from medaegis.measure import auc
from medaegis.models import Cases, Taps, augment, frozen

CHANCE = math.log(2)
"""Either half of the loss for a Shield that gives every case the logit 0."""


class ShieldBench(NamedTuple):
    """Where Shields are trained.

    Attributes:
        system: a frozen fast copy of the classifier with the Shields that learn.
        layout: memory format of its images.
        cases: clean images and classes.
        settings: how.
        train: positions to learn from.
        validation: positions held out.
        mean: the running mean of the Shields' weights, or None.
    """

    system: Shielded
    layout: torch.memory_format
    cases: Cases
    settings: ShieldSettings
    train: Tensor
    validation: Tensor
    mean: AveragedModel | None = None

    def images(self, index: Tensor) -> Images:
        """Clean images on the system's device."""
        return self.cases.images(index).to(self.device)

    def classes(self, index: Tensor) -> Labels:
        """True classes of cases, on the system's device."""
        return self.cases.labels[index.to(self.cases.labels.device)].long().to(self.device)

    def maps(self, index: Tensor) -> dict[str, Tensor]:
        """Maps of clean images, without graph."""
        return self.maps_of(self.images(index))

    def maps_of(self, x: Images) -> dict[str, Tensor]:
        """Maps of images, without graph."""
        with torch.no_grad():
            return self.system.maps(x.contiguous(memory_format=self.layout))

    @property
    def device(self) -> torch.device:
        """Where the Shields lie."""
        return next(self.system.shields.parameters()).device


class Epoch(NamedTuple):
    """What one epoch of learning gave: means over the cases, as seen while it learned.

    Attributes:
        eps: the budget.
        clean: loss on clean cases; log 2 at chance.
        adversarial: loss on adversarial cases; log 2 at chance.
        success: share of adversarial cases whose logit ended above 0.
        by_class: mean of both losses for each class's Shield.
    """

    eps: float
    clean: float
    adversarial: float
    success: float
    by_class: tuple[float, ...]


class _Seen(NamedTuple):
    """Logits of one batch: S_y of clean images and S_t of attacked ones, with y and t, all (b,)."""

    clean: Tensor
    label: Tensor
    adversarial: Tensor
    target: Tensor


def learn(
    bench: ShieldBench,
    optimiser: torch.optim.Optimizer,
    eps: float,
    generator: torch.Generator,
    advance: Callable[[int], None],
) -> Epoch:
    """One pass over the training cases at the budget `eps`; all draws come from `generator`, on the CPU."""
    weights = _weights(bench)
    order = bench.train[torch.randperm(len(bench.train), generator=generator)]
    seen: list[_Seen] = []
    for index in order.split(bench.settings.batch_size):
        attack = _drawn(bench.settings, eps, generator)
        batch = _attacked(bench, index, attack, generator, learning=True)
        loss = _weighted(batch, weights)
        if not math.isfinite(loss.item()):
            raise NumericsError(
                f"The training loss of a Shield became {loss.item()} at the budget {eps * 256:.3g}/256. Lower the "
                "learning rate, or check images and classifier for NaN."
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        if bench.mean is not None:
            bench.mean.update_parameters(bench.system.shields)
        seen.append(_Seen(*(part.detach() for part in batch)))
        advance(len(index))
    return _summary(_joined(seen), bench.system.shields.classes, eps)


def validate(bench: ShieldBench, seed: int, attacks: Sequence[TrainingAttack] | None = None) -> dict[str, float]:
    """Loss and AUC on the held-out cases at the full budget: of all Shields and attacks, the worst AUC.

    Attacks are the training's unless told. Their draws are the same in every epoch, so that epochs compare.
    """
    classes, losses, areas = bench.system.shields.classes, list[float](), list[float]()
    for attack in bench.settings.attacks if attacks is None else attacks:
        generator = torch.Generator().manual_seed(seed)
        parts = bench.validation.split(bench.settings.batch_size)
        with torch.no_grad():
            seen = _joined([_attacked(bench, index, attack.at(bench.settings.last_eps), generator) for index in parts])
        losses.append(sum(_summary(seen, classes, 0.0).by_class) / classes)
        areas += [_area(seen, c) for c in range(classes)]
    return {"validation_loss": max(losses), "validation_auc": min(area for area in areas if area == area)}


def few(index: Tensor, labels: Tensor, most: int | None) -> Tensor:
    """At most so many of these positions, from the classes in turn.

    Example:
        >>> few(torch.arange(6), torch.tensor([0, 0, 0, 0, 1, 1]), 3)
        tensor([0, 1, 4])
    """
    if most is None or most >= len(index):
        return index
    return index[torch.from_numpy(spread(labels[index].long().numpy(), most))]


def _drawn(settings: ShieldSettings, eps: float, generator: torch.Generator) -> Attack:
    """One of the attacks, at a budget drawn from its range."""
    place = int(torch.randint(len(settings.attacks), (), generator=generator))
    chosen, share = settings.attacks[place], torch.rand((), generator=generator, dtype=torch.float64).item()
    return chosen.at(eps * (chosen.smallest + (1 - chosen.smallest) * share))


def _attacked(
    bench: ShieldBench, index: Tensor, attack: Attack, generator: torch.Generator, *, learning: bool = False
) -> _Seen:
    """Clean and attacked logits of a batch; each case's target is any other class."""
    shields, x, y = bench.system.shields, bench.images(index), bench.classes(index)
    if learning:
        x = augment(x, flip=bench.settings.flip, shift=bench.settings.shift, generator=generator)
    shift = torch.randint(1, shields.classes, (len(index),), generator=generator).to(y.device)
    target = (y + shift) % shields.classes
    taps = Taps(ShieldsAlone(bench.system), attack.layers or "none")
    with frozen(bench.system):
        made = craft(attack, taps, x, y, target=target, generator=generator, layout=bench.layout)
    clean, adversarial = shields(bench.maps_of(x)), shields(bench.maps_of(made))
    return _Seen(clean.gather(1, y[:, None])[:, 0], y, adversarial.gather(1, target[:, None])[:, 0], target)


def _weights(bench: ShieldBench) -> tuple[Tensor, Tensor]:
    """By class, the weight of a clean and of an attacked case, so that every Shield's two halves weigh alike."""
    k = bench.system.shields.classes
    counts = bench.classes(bench.train).bincount(minlength=k).double()
    n = counts.sum()
    clean, attacked = n / (k * counts), n * (k - 1) / (k * (n - counts))
    return clean.float(), attacked.float()


def _weighted(seen: _Seen, weights: tuple[Tensor, Tensor]) -> Tensor:
    clean = softplus(-seen.clean) * weights[0][seen.label]
    adversarial = softplus(seen.adversarial) * weights[1][seen.target]
    return clean.mean() + adversarial.mean()


def _joined(seen: list[_Seen]) -> _Seen:
    return _Seen(*(torch.cat(column) for column in zip(*seen, strict=True)))


def _summary(seen: _Seen, classes: int, eps: float) -> Epoch:
    clean, adversarial = softplus(-seen.clean), softplus(seen.adversarial)
    by_class: list[float] = []
    for c in range(classes):
        halves = [part for part in (clean[seen.label == c], adversarial[seen.target == c]) if len(part)]
        by_class.append(torch.stack([part.mean() for part in halves]).mean().item() if halves else CHANCE)
    success = (seen.adversarial > 0).float().mean().item()
    return Epoch(eps, clean.mean().item(), adversarial.mean().item(), success, tuple(by_class))


def _area(seen: _Seen, c: int) -> float:
    """AUC of the Shield of class c: its own clean cases against what was attacked towards it; NaN of no case."""
    negative = -seen.clean[seen.label == c].cpu().double().numpy()
    positive = -seen.adversarial[seen.target == c].cpu().double().numpy()
    return auc(negative, positive, draws=1).value
