"""Detectors whose `fit` breaks one law each."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detect.plain import Plain
from medaegis import DataError


class ChangesItsParameter(Plain):
    def __init__(self, *, layers: Any = "penultimate", strength: float = 1e-3) -> None:
        super().__init__(layers=layers, strength=2 * strength)

    @classmethod
    def restore(cls, tensors, values):
        return super().restore(tensors, values | {"strength": values["strength"] / 2})


class ReturnsNothing(Plain):
    def fit(self, *args, **options):
        super().fit(*args, **options)


class ChangesItsFeatures(Plain):
    def fit(self, features, labels, *, examples=None):
        super().fit(features, labels)
        for z in features.values() if isinstance(features, Mapping) else [features]:
            z.data.sub_(z.data.mean(dim=0))
        return self


class ChangesItsLabels(Plain):
    def fit(self, features, labels, *, examples=None):
        super().fit(features, labels)
        labels.zero_()
        return self


class KeepsItsFeatures(Plain):
    def fit(self, features, labels, *, examples=None):
        self.seen_ = features
        return super().fit(features, labels)

    def score(self, features, predicted=None):
        if hasattr(self, "seen_"):
            super().fit(self.seen_, None)
        return super().score(features)


class KeepsTheGraph(Plain):
    def centre(self, z):
        return z.double().mean(dim=0)

    def state(self):
        tensors, values = super().state()
        return {name: tensor.detach() for name, tensor in tensors.items()}, values


class Remembers(Plain):
    def fit(self, features, labels, *, examples=None):
        before = getattr(self, "means_", {})
        super().fit(features, labels)
        self.means_ = {name: (mean + before.get(name, mean)) / 2 for name, mean in self.means_.items()}
        return self


class ScoresUnfitted(Plain):
    def score(self, features, predicted=None):
        return super().score(features) if hasattr(self, "means_") else torch.zeros(len(features))


class FlagsUncalibrated(Plain):
    def flags(self, features, predicted=None):
        return self.score(features) > (self.threshold_ or 0)


class SeedsGlobally(Plain):
    def fit(self, features, labels, *, examples=None):
        torch.manual_seed(0)
        return super().fit(features, labels)


class DrawsFromNumpy(Plain):
    def fit(self, features, labels, *, examples=None):
        np.random.rand()  # noqa: NPY002  # the mistake
        return super().fit(features, labels)


class ReadsTheGlobalState(Plain):
    def fit(self, features, labels, *, examples=None):
        state = random.getstate()
        super().fit(features, labels)
        self.spreads_ = {name: spread + 1e-3 * random.random() for name, spread in self.spreads_.items()}
        random.setstate(state)
        return self


class NeedsNoExamples(Plain):
    learns_attacks = True

    def fit(self, features, labels, *, examples=None):
        super().fit(features, labels)
        if examples is not None:
            self.means_ = {name: mean + 1e-3 * lift(examples.negative) for name, mean in self.means_.items()}
        return self


class LearnsNothingFromExamples(Plain):
    learns_attacks = True

    def fit(self, features, labels, *, examples=None):
        if examples is None:
            raise DataError("no examples")
        return super().fit(features, labels)


class LearnsAttacksInSecret(NeedsNoExamples):
    learns_attacks = False


def lift(features: Tensor | Mapping[str, Tensor]) -> float:
    first = next(iter(features.values())) if isinstance(features, Mapping) else features
    return first.mean().item()
