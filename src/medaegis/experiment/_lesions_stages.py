"""Stages of the lesion experiment: the fitted score, its values on clean images, and on images with lesions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from medaegis.data import LesionSize, Within, add_lesions
from medaegis.detect import HFCScore, extract
from medaegis.experiment._context import Context
from medaegis.experiment._stage import Result, Stage
from medaegis.experiment._stages_data import cases_at
from medaegis.experiment._stages_model import Index, TrainFeatures, right_cases
from medaegis.models import PENULTIMATE

Layer = Literal["last", "all"]


@dataclass(frozen=True)
class HFCFit(Stage):
    """The HFC score fitted to the Train features; see `medaegis.detect.HFCScore`.

    Args:
        features: of every layer on Train.
        components: K, Gaussian components a class and layer.
        layer: "last", the penultimate features, or "all" activations, averaged.
        seed: of EM's starts.
    """

    features: TrainFeatures
    components: int = 1
    layer: Layer = "last"
    seed: int = 0
    version: ClassVar[int] = 2  # 2: still channels

    def compute(self, context: Context) -> Result:
        """Fit by EM."""
        layers, labels = self.features.features(context)
        chosen = PENULTIMATE if self.layer == "last" else "relu"
        detector = HFCScore(self.components, layers=chosen, seed=self.seed)
        return Result(*detector.fit(detector.pick(layers), labels).state())

    @property
    def basis(self) -> tuple[Stage, ...]:
        """The split."""
        return (self.features.classifier.split,)

    def check(self, context: Context) -> None:
        """Each class needs two Train cases a component."""
        self.features.check_components(self.components, context)

    def detector(self, context: Context) -> HFCScore:
        """The fitted score, good for both doors."""
        return HFCScore.restore(*context.get(self))


class Judged(NamedTuple):
    """What score and classifier say of images, each (n,): score, predicted class and its probability."""

    score: Tensor
    predicted: Tensor
    probability: Tensor


def judge(detector: HFCScore, model: nn.Module, images: Tensor, context: Context) -> Judged:
    """Score images by the class that the network predicts for them, on CPU."""
    names = [name or PENULTIMATE for name in detector.fitted_layers()]
    with torch.no_grad():
        tapped = extract(model, images.to(context.device), names, batch_size=context.batch_size)
        found = tapped.logits.softmax(dim=1).max(dim=1)
        score = detector.score(detector.pick(tapped.features), found.indices)
    return Judged(score.cpu(), found.indices.cpu(), found.values.cpu())


@dataclass(frozen=True)
class CleanAnomaly(Stage):
    """Scores of the test images that the classifier gets right, as they are."""

    fit: HFCFit

    def compute(self, context: Context) -> Result:
        """One pass over those images."""
        classifier = self.fit.features.classifier
        index = right_cases(classifier, context)
        data, model, detector = (
            classifier.split.images.dataset(context),
            classifier.load(context),
            self.fit.detector(context),
        )
        parts = [judge(detector, model, cases_at(data, rows)[0], context) for rows in _batches(index, context)]
        return Result({"index": torch.from_numpy(index), **_joined(parts)}, {})

    def index(self, context: Context) -> Index:
        """Positions of those images in the data."""
        return context.get(self).tensors["index"].numpy()


@dataclass(frozen=True)
class LesionAnomaly(Stage):
    """Scores of the same images with lesions, several draws of each; the images themselves are not kept.

    Args:
        clean: which images, and the score.
        size: of the lesions.
        quantity: lesions an image.
        draws: images with lesions made of each.
        contrast: factor of their difference from what they cover; see `medaegis.data.add_lesions`.
        within: where they may lie.
        seed: of all draws.
    """

    clean: CleanAnomaly
    size: LesionSize
    quantity: int
    draws: int = 10
    contrast: float = 1.0
    within: Within = "body"
    seed: int = 0

    @property
    def title(self) -> str:
        """What tables call it.

        Example:
            >>> LesionAnomaly.title.fget(type("Two", (), {"size": "small", "quantity": 2}))
            'small lesions x 2'
        """
        return f"{self.size} lesions x {self.quantity}"

    def images(self, index: Index, draw: int, context: Context) -> Tensor:
        """One draw of the images at `index`, (n, c, *space)."""
        data = self.clean.fit.features.classifier.split.images.dataset(context)
        seeds = [case_seed(data.names[i], self.size, self.quantity, draw, self.seed) for i in index]
        x = cases_at(data, index)[0]
        made = add_lesions(
            x, size=self.size, quantity=self.quantity, seeds=seeds, contrast=self.contrast, within=self.within
        )
        return made.images

    def compute(self, context: Context) -> Result:
        """Make and judge the draws, batch by batch: score, predicted and probability, each (draws, n)."""
        fit, index = self.clean.fit, self.clean.index(context)
        model, detector = fit.features.classifier.load(context), fit.detector(context)
        batches = _batches(index, context)
        work = [(draw, rows) for draw in range(self.draws) for rows in batches]
        bar = tqdm(work, desc=self.title, disable=not context.progress)
        parts = [judge(detector, model, self.images(rows, draw, context), context) for draw, rows in bar]
        return Result({name: x.reshape(self.draws, len(index)) for name, x in _joined(parts).items()}, {})


def case_seed(name: str, size: str, quantity: int, draw: int, seed: int) -> int:
    """The seed of one draw of one image: it depends on the image's name, not on its place among others.

    Example:
        >>> case_seed("a.png", "small", 2, 0, 0) == case_seed("a.png", "small", 2, 1, 0)
        False
    """
    text = json.dumps([name, size, quantity, draw, seed])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def _batches(index: Index, context: Context) -> list[Index]:
    return np.split(index, range(context.batch_size, len(index), context.batch_size))


def _joined(parts: Sequence[Judged]) -> dict[str, Tensor]:
    return {name: torch.cat([getattr(part, name) for part in parts]) for name in Judged._fields}
