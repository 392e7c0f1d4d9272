"""Detectors that break one law each, by the name of the check that must catch them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detect.plain import Plain
from medaegis import DataError
from medaegis.detect import by_layer


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


class OneScoreForNoCase(Plain):
    def score(self, features, predicted=None):
        scores = super().score(features)
        return scores if len(scores) else torch.zeros(1)


class ComparesWithTheBatch(Plain):
    def score(self, features, predicted=None):
        scores = super().score(features)
        return scores - scores.mean() if len(scores) else scores


class ComparesWithTheCaseBefore(Plain):
    def score(self, features, predicted=None):
        scores = super().score(features)
        return scores + 1e-6 * scores.roll(1)


class PointsTheOtherWay(Plain):
    def score(self, features, predicted=None):
        return -super().score(features)


class LosesTheGradient(Plain):
    def score(self, features, predicted=None):
        return super().score(features).detach()


class HalvesTheGradient(Plain):
    def score(self, features, predicted=None):
        scores = super().score(features)
        return scores / 2 + scores.detach() / 2


class ClaimsNoGradient(Plain):
    differentiable = False


class DoublesSinglePrecision(Plain):
    def score(self, features, predicted=None):
        single = isinstance(features, Tensor) and features.dtype == torch.float32
        return super().score(features) * (2 if single else 1)


class TellsLayersByPlace(Plain):
    def score(self, features, predicted=None):
        if isinstance(features, Mapping):
            wanted = [z for z in features.values() if z.shape[1] > 1]
            features = dict(zip(self.fitted_layers(), wanted, strict=True)) if len(wanted) > 1 else features
        return super().score(features)


class FlagsTooMany(Plain):
    def calibrate(self, clean, predicted=None, *, tnr=0.9):
        return super().calibrate(clean, predicted, tnr=tnr / 2)


class FlagsTheOtherSide(Plain):
    def flags(self, features, predicted=None):
        return ~super().flags(features, predicted)


class LetsNaNPass(Plain):
    def fit(self, features, labels, *, examples=None):
        return super().fit(clean(features), labels)

    def score(self, features, predicted=None):
        scores = super().score(clean(features))
        for z in features.values() if isinstance(features, Mapping) else [features]:
            scores = torch.where(z.isfinite().all(dim=1), scores, torch.nan)
        return scores


def clean(features: Any) -> Any:
    if isinstance(features, Mapping):
        return {name: clean(z) for name, z in features.items()}
    return features.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


class DividesByZero(Plain):
    def fit(self, features, labels, *, examples=None):
        super().fit(features, labels)
        self.spreads_ = {name: spread - self.strength for name, spread in self.spreads_.items()}
        self.spreads_ = {name: spread.where(spread > 1e-9, 0.0) for name, spread in self.spreads_.items()}
        return self


class SqueezesOneFeature(Plain):
    def fit(self, features, labels, *, examples=None):
        if isinstance(features, Tensor):
            features.squeeze().sum(dim=1)
        return super().fit(features, labels)


class SpreadOfEachClass(Plain):
    def fit(self, features, labels, *, examples=None):
        super().fit(features, labels)
        each = [z[labels == c].std(dim=0) for c in labels.unique() for z in by_layer(features, "").values()]
        if any(bool(spread.isnan().any()) for spread in each):
            self.means_ = {name: mean * torch.nan for name, mean in self.means_.items()}
        return self


class ForgetsThePrediction(Plain):
    """Needs the predicted classes, and its own door of images does not hand them on."""

    def score(self, features, predicted=None):
        return super().score(features) + (0 if predicted is None else 1)

    def score_images(self, model, images, *, batch_size=64):
        return self.score(self._read(model, images, batch_size)[0])


class LosesTheGradientOfLayers(Plain):
    def score(self, features, predicted=None):
        scores = super().score(features)
        return scores.detach() if isinstance(features, Mapping) else scores


class LosesItsSpread(Plain):
    @classmethod
    def restore(cls, tensors, values):
        detector = super().restore(tensors, values)
        detector.spreads_ = {name: torch.ones_like(spread) for name, spread in detector.spreads_.items()}
        return detector


class LosesItsThreshold(Plain):
    @classmethod
    def load(cls, path):
        detector = super().load(path)
        detector.threshold_ = None
        return detector


class LosesAParameter(Plain):
    @classmethod
    def restore(cls, tensors, values):
        return super().restore(tensors, values | {"strength": 0.5})


class LoadsAnything(Plain):
    @classmethod
    def load(cls, path):
        import json

        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                values = json.loads(file.metadata()["medaegis"])
                detector = cls.restore({key: file.get_tensor(key) for key in file.keys()}, values)  # noqa: SIM118
        except SafetensorError as error:
            raise DataError("damaged") from error
        detector.threshold_ = values["threshold_"]
        return detector


BROKEN: dict[type[Plain], str] = {
    ChangesItsParameter: "parameters_are_kept",
    ReturnsNothing: "fit_returns_self",
    ChangesItsFeatures: "fit_leaves_inputs_alone",
    ChangesItsLabels: "fit_leaves_inputs_alone",
    KeepsItsFeatures: "fit_keeps_copies",
    KeepsTheGraph: "fit_keeps_no_graph",
    Remembers: "fit_twice_is_fit_anew",
    ScoresUnfitted: "unfitted_raises",
    FlagsUncalibrated: "unfitted_raises",
    SeedsGlobally: "global_random_state",
    DrawsFromNumpy: "global_random_state",
    ReadsTheGlobalState: "global_random_state",
    NeedsNoExamples: "examples_where_needed",
    LearnsNothingFromExamples: "examples_where_needed",
    LearnsAttacksInSecret: "examples_where_needed",
    OneScoreForNoCase: "one_score_a_case",
    ComparesWithTheBatch: "order_and_batch_size",
    ComparesWithTheCaseBefore: "order_and_batch_size",
    PointsTheOtherWay: "far_above_near",
    LosesTheGradient: "gradient",
    HalvesTheGradient: "gradient",
    ClaimsNoGradient: "gradient",
    LosesTheGradientOfLayers: "gradient",
    DoublesSinglePrecision: "single_precision",
    TellsLayersByPlace: "one_layer_or_a_mapping",
    FlagsTooMany: "calibration",
    FlagsTheOtherSide: "calibration",
    LetsNaNPass: "not_finite",
    DividesByZero: "constant_feature",
    SqueezesOneFeature: "one_feature",
    SpreadOfEachClass: "one_case_a_class",
    ForgetsThePrediction: "images_door",
    LosesItsSpread: "save_and_load",
    LosesItsThreshold: "save_and_load",
    LosesAParameter: "save_and_load",
    LoadsAnything: "other_files_are_refused",
}
