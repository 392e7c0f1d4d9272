"""Stages of the reference mode `"hfc-2021"`: detectors by the choices of the code released with HFC-21."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medaegis import detect
from medaegis._types import Tapped
from medaegis.detect._released_maha import MAGNITUDE
from medaegis.experiment._context import Context
from medaegis.experiment._stage import Result, Stage
from medaegis.experiment._stages_attack import Attacked
from medaegis.experiment._stages_data import cases_at
from medaegis.experiment._stages_model import AdversarialCases, DetectorCases, TrainFeatures, features_of
from medaegis.measure import head_weight


@dataclass(frozen=True)
class SteppedDistances(Stage):
    """MAHA's distances by layer of one set of images, after the released input step.

    Args:
        features: on Train.
        cases: AdvTest.
        learning: what detectors learn from, in place of AdvTest.
        attacked: the conventional attack whose images are taken; None: the clean ones.
        magnitude: of the step, in units of [0, 1].
    """

    features: TrainFeatures
    cases: AdversarialCases
    learning: DetectorCases | None = None
    attacked: Attacked | None = None
    magnitude: float = MAGNITUDE

    def compute(self, context: Context) -> Result:
        """Fit on Train, then a step for every layer and image."""
        gaussians = detect.unshrunk_gaussians(*self.features.features(context))
        model = self.cases.classifier.load(context)
        parts = [
            detect.stepped_distances(model, batch.to(context.device), gaussians, magnitude=self.magnitude)
            for batch in self._images(context).split(context.batch_size)
        ]
        return Result({"distances": torch.cat(parts)}, {"layers": list(gaussians)})

    def _images(self, context: Context) -> Tensor:
        if self.attacked is not None:
            return context.get(self.attacked).tensors["x"]
        split = self.cases.split(context)
        index = split.test if self.learning is None else self.learning.split(context).train
        return cases_at(self.cases.classifier.split.images.dataset(context), index)[0]


@dataclass(frozen=True)
class ReleasedScores(Stage):
    """Scores of AdvTest, clean and adversarial, under the released code's choices.

    Args:
        features: on Train.
        teacher: the conventional attack on what detectors learn from.
        plain: the same attack on AdvTest, without anything that hides.
        attacked: the attack that is scored; `plain` itself where nothing hides.
        detectors: kinds among `medaegis.detect.RELEASED`.
        seed: of masks, batches and first weights.
        distances: of what `teacher` and then `plain` start from and end at, where MAHA is among the detectors.
    """

    features: TrainFeatures
    teacher: Attacked
    plain: Attacked
    attacked: Attacked
    detectors: tuple[str, ...]
    seed: int = 0
    distances: tuple[SteppedDistances, ...] = ()

    def compute(self, context: Context) -> Result:
        """Fit and score at once, as some of these detectors look at what they score."""
        data = self._data(context)
        tensors: dict[str, Tensor] = {}
        for kind in self.detectors:
            found = detect.released_scores(kind, data, generator=torch.Generator().manual_seed(self.seed))
            tensors |= {f"clean.{kind}": found.clean, f"adversarial.{kind}": found.adversarial}
        return Result(tensors, {})

    def _data(self, context: Context) -> detect.ReleasedData:
        model = self.attacked.cases.classifier.load(context)
        train, labels = self.features.features(context)

        def tapped(images: Tensor) -> Tapped:
            return features_of(model, images, context)

        hides = self.attacked != self.plain
        tables = [context.get(stage).tensors["distances"] for stage in self.distances]
        sets = [
            images
            for attacked in (self.teacher, self.plain)
            for images in (_clean_images(attacked, context), context.get(attacked).tensors["x"])
        ]
        return detect.ReleasedData(
            train,
            labels,
            *(tapped(images) for images in sets),
            hidden=tapped(context.get(self.attacked).tensors["x"]) if hides else None,
            weight=head_weight(model),
            distances=detect.LayerScores(*tables) if tables else None,
        )


def stepped(features: TrainFeatures, teacher: Attacked, plain: Attacked) -> tuple[SteppedDistances, ...]:
    """The four sets of distances in the order of `medaegis.detect.LayerScores`."""
    return tuple(
        SteppedDistances(features, attack.cases, attack.learning, own)
        for attack in (teacher, plain)
        for own in (None, attack)
    )


def _clean_images(attacked: Attacked, context: Context) -> Tensor:
    data = attacked.cases.classifier.split.images.dataset(context)
    return cases_at(data, attacked.index(context))[0]
