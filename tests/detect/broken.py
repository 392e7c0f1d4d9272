"""Detectors that break one law each, by the name of the check that must catch them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from detect import broken_fit as fit
from detect.plain import Plain
from medaegis import DataError
from medaegis.detect import by_layer


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
        detector.threshold_, detector.threshold_spread_ = values["threshold_"], values["threshold_spread_"]
        return detector


BROKEN: dict[type[Plain], str] = {
    fit.ChangesItsParameter: "parameters_are_kept",
    fit.ReturnsNothing: "fit_returns_self",
    fit.ChangesItsFeatures: "fit_leaves_inputs_alone",
    fit.ChangesItsLabels: "fit_leaves_inputs_alone",
    fit.KeepsItsFeatures: "fit_keeps_copies",
    fit.KeepsTheGraph: "fit_keeps_no_graph",
    fit.Remembers: "fit_twice_is_fit_anew",
    fit.ScoresUnfitted: "unfitted_raises",
    fit.FlagsUncalibrated: "unfitted_raises",
    fit.SeedsGlobally: "global_random_state",
    fit.DrawsFromNumpy: "global_random_state",
    fit.ReadsTheGlobalState: "global_random_state",
    fit.NeedsNoExamples: "examples_where_needed",
    fit.LearnsNothingFromExamples: "examples_where_needed",
    fit.LearnsAttacksInSecret: "examples_where_needed",
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
