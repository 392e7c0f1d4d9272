"""Stages that fit detectors, also on attacks, and score them on clean, noisy and adversarial images."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medaegis._errors import InputError, require
from medaegis._late import late
from medaegis.attack import matched_noise
from medaegis.detect import Combined, Detector, Examples, detector_class, make_detector, score_tapped
from medaegis.experiment._context import Context
from medaegis.experiment._stage import Result, Stage
from medaegis.experiment._stages_attack import Attacked
from medaegis.experiment._stages_data import cases_at
from medaegis.experiment._stages_model import AdversarialCases, TrainFeatures, features_of
from medaegis.models import PENULTIMATE

Combination = Literal["", "logistic", "mean"]
COMBINATIONS: dict[str, Combination] = {"": "", "logistic": "logistic", "mean": "mean"}

LAYERS = ("", "relu", PENULTIMATE)
FEW = 10  # fooled cases, below which a larger budget is the likely remedy
MORE = "Take a larger budget (--set eps=4/256) or more steps."


def parts_of(text: str) -> tuple[str, str, str]:
    """A detector's name in settings as kind, layers and combination, "" where it says none.

    Example:
        >>> parts_of("KD@relu:logistic"), parts_of("KD")
        (('KD', 'relu', 'logistic'), ('KD', '', ''))
    """
    head, _, how = text.partition(":")
    kind, _, layers = head.partition("@")
    return kind, layers, how


@dataclass(frozen=True)
class DetectorChoice:
    """A detector by name and settings, as a recipe states it.

    Args:
        kind: a name that `medaegis.detect.make_detector` knows.
        options: its settings.
        title: what tables call it; the kind by default.
        combined: how its layers' scores become one, where not in its own way; see `medaegis.detect.Combined`.
    """

    kind: str
    options: tuple[tuple[str, Any], ...] = ()
    title: str = ""
    combined: Combination = late("")

    @staticmethod
    def parse(text: str, **options: Any) -> DetectorChoice:
        """A kind, one that reads every activation: "KD@relu", or one whose layers are combined: "LID:logistic".

        Raises:
            InputError: no such detector, layers or combination, or one that needs more of an image than features.

        Example:
            >>> DetectorChoice.parse("MAHA:logistic").combined
            'logistic'
            >>> DetectorChoice.parse("KD@relu").build().layers, DetectorChoice.parse("KD").build().layers
            ('relu', 'penultimate')
        """
        kind, layers, how = parts_of(text)
        good = how in COMBINATIONS and layers in LAYERS
        require(good, "detectors", "recipe", "KIND, KIND@relu, KIND:logistic or KIND:mean", text)
        if layers:
            takes = "layers" in inspect.signature(detector_class(kind)).parameters
            require(takes, "detectors", "recipe", "left without @, as it has no choice of layers", text)
            options["layers"] = layers
        choice = DetectorChoice(kind, tuple(sorted(options.items())), combined=COMBINATIONS[how])
        fix = "Fit it in Python, by fit_images and calibrate_images."
        require(not choice.build().needs_images, "detectors", "recipe", "detectors that read features alone", text, fix)
        return choice

    @property
    def label(self) -> str:
        """What tables call it."""
        return self.title or self.kind

    @property
    def learns_attacks(self) -> bool:
        """Whether it must be fitted on adversarial examples."""
        return self.build().learns_attacks

    def build(self) -> Detector:
        """The detector, not fitted."""
        made = make_detector(self.kind, **dict(self.options))
        return Combined(made, how=self.combined) if self.combined else made


DETECTORS = (DetectorChoice("KD"), DetectorChoice("MAHA"))


@dataclass(frozen=True)
class Learned(Stage):
    """Detectors fitted on Train features and on an attack on their own part of AdvTrain.

    Negatives are that part's clean images and noise of the perturbations' size, positives its successful adversarial
    examples. Scalers, bandwidths and references come from these cases and Train alone.

    Args:
        features: on Train.
        attacked: the attack, without HFC, on `learning`.
        detectors: which.
        seed: of the noise.
    """

    features: TrainFeatures
    attacked: Attacked
    detectors: tuple[DetectorChoice, ...]
    seed: int = 0
    version: ClassVar[int] = 2  # 2: states of MAHA and DNN hold more settings

    def compute(self, context: Context) -> Result:
        """Fit all, keep their states."""
        layers, labels = self.features.features(context)
        model = self.attacked.cases.classifier.load(context)
        parts = self._examples(model, context)
        tensors: dict[str, Tensor] = {}
        info: dict[str, Any] = {}
        for choice in self.detectors:
            detector = choice.build().prepare(model)
            try:
                detector.fit(detector.pick(layers), labels, examples=_picked(detector, parts))
            except InputError as error:
                fooled = len(parts.positive_groups or ())
                told = f"{choice.label} cannot learn from {self.attacked.title}, which fools {fooled} cases: {error}"
                raise InputError(f"{told} {MORE}" if fooled < FEW else told) from error
            state, info[choice.label] = detector.state()
            tensors |= {f"{choice.label}/{name}": tensor for name, tensor in state.items()}
        return Result(tensors, info)

    def _examples(self, model: nn.Module, context: Context) -> Examples:
        """Features of all layers; the groups are patients."""
        cases, index = self.attacked.cases, self.attacked.index(context)
        data = cases.classifier.split.images.dataset(context)
        clean, _ = cases_at(data, index)
        made = context.get(self.attacked).tensors
        noisy = matched_noise(clean, made["x"], generator=torch.Generator().manual_seed(self.seed))
        fooled = made["fooled"]
        if not bool(fooled.any()):
            raise InputError(
                f"{self.attacked.title} fools none of the {len(index)} cases that detectors learn from: they have "
                f"nothing to learn. {MORE}"
            )
        patients = [data.groups[i] for i in index]
        low = features_of(model, torch.cat([clean, noisy]), context)
        high = features_of(model, made["x"][fooled], context)
        chosen = [patient for patient, good in zip(patients, fooled.tolist(), strict=True) if good]
        predicted = (low.logits.argmax(dim=1), high.logits.argmax(dim=1))
        return Examples(low.features, high.features, *predicted, patients * 2, chosen)

    def fitted(self, context: Context) -> dict[str, Detector]:
        """The detectors by label."""
        tensors, info = context.get(self)
        found: dict[str, Detector] = {}
        for choice in self.detectors:
            lead = f"{choice.label}/"
            own = {name.removeprefix(lead): tensor for name, tensor in tensors.items() if name.startswith(lead)}
            found[choice.label] = type(choice.build()).restore(own, info[choice.label])
        return found


def _picked(detector: Detector, parts: Examples) -> Examples:
    assert not isinstance(parts.negative, Tensor)  # made above, by layer
    assert not isinstance(parts.positive, Tensor)
    return parts._replace(negative=detector.pick(parts.negative), positive=detector.pick(parts.positive))


@dataclass(frozen=True)
class CleanScores(Stage):
    """Scores of clean cases that set thresholds and of AdvTest, by detectors fitted on Train features.

    Args:
        features: on Train.
        cases: AdvTrain, all of which sets thresholds, and AdvTest.
        detectors: which, where none is learned.
        learned: detectors that learned from a part of AdvTrain: the rest of it sets thresholds.
    """

    features: TrainFeatures
    cases: AdversarialCases
    detectors: tuple[DetectorChoice, ...] = field(default=DETECTORS)
    learned: Learned | None = None

    def compute(self, context: Context) -> Result:
        """Score what no detector has seen."""
        model, fitted = self.ready(context)
        images = self.features.classifier.split.images.dataset(context)
        tensors: dict[str, Tensor] = {}
        for part, index in (("calibration", self._calibration(context)), ("clean", self.cases.split(context).test)):
            tensors |= _scored(part, model, images.tensor(index), fitted, context)
        return Result(tensors, {})

    def ready(self, context: Context) -> tuple[nn.Module, dict[str, Detector]]:
        """The network and the fitted detectors by label."""
        return _ready(self, self.cases, context)

    def _calibration(self, context: Context) -> NDArray[np.int64]:
        learning = None if self.learned is None else self.learned.attacked.learning
        return self.cases.split(context).train if learning is None else learning.split(context).test


@dataclass(frozen=True)
class AttackScores(Stage):
    """Scores of adversarial images and of noise that has each perturbation's size."""

    features: TrainFeatures
    attacked: Attacked
    detectors: tuple[DetectorChoice, ...] = field(default=DETECTORS)
    seed: int = 0
    learned: Learned | None = None

    def compute(self, context: Context) -> Result:
        """Score the attack's images and their noisy twins."""
        cases = self.attacked.cases
        clean, _ = cases_at(cases.classifier.split.images.dataset(context), self.attacked.index(context))
        made = context.get(self.attacked).tensors["x"]
        noisy = matched_noise(clean, made, generator=torch.Generator().manual_seed(self.seed))
        model, fitted = _ready(self, cases, context)
        tensors: dict[str, Tensor] = {}
        for part, images in (("adversarial", made), ("noise", noisy)):
            tensors |= _scored(part, model, images, fitted, context)
        return Result(tensors, {})


def _ready(
    stage: CleanScores | AttackScores, cases: AdversarialCases, context: Context
) -> tuple[nn.Module, dict[str, Detector]]:
    model = cases.classifier.load(context)
    if stage.learned is not None:
        return model, stage.learned.fitted(context)
    layers, labels = stage.features.features(context)
    made = [(choice.label, choice.build().prepare(model)) for choice in stage.detectors]
    return model, {label: detector.fit(detector.pick(layers), labels) for label, detector in made}


def _scored(
    part: str, model: nn.Module, images: Tensor, fitted: dict[str, Detector], context: Context
) -> dict[str, Tensor]:
    tapped = features_of(model, images, context)
    with torch.no_grad():
        scores = {f"{part}.{label}": score for label, score in score_tapped(fitted, tapped).items()}
    return scores | {f"{part}.logits": tapped.logits, f"{part}.penultimate": tapped.features[PENULTIMATE]}


@dataclass(frozen=True)
class Embedding(Stage):
    """A 2-D t-SNE of penultimate features, clean and adversarial, as HFC-21 Fig. 3(a)."""

    clean: CleanScores
    attacks: tuple[AttackScores, ...]
    seed: int = 0

    def compute(self, context: Context) -> Result:
        """Embed all cases of AdvTest, clean first, then each attack's."""
        from sklearn.manifold import TSNE

        parts = [context.get(self.clean).tensors["clean.penultimate"]]
        parts += [context.get(scores).tensors["adversarial.penultimate"] for scores in self.attacks]
        points = torch.cat(parts).double().numpy()
        perplexity = min(30.0, max(2.0, (len(points) - 1) / 4))
        found = TSNE(perplexity=perplexity, init="pca", random_state=self.seed, n_jobs=1).fit_transform(points)
        return Result({"points": torch.from_numpy(found)}, {"sizes": [len(part) for part in parts]})


def parse_detectors(names: Sequence[str], bandwidth: Any) -> tuple[DetectorChoice, ...]:
    """The detectors of settings; KD takes the bandwidth.

    Raises:
        InputError: an unknown name, or the same label twice.

    Example:
        >>> [choice.label for choice in parse_detectors(["KD", "LID:logistic"], "median")]
        ['KD', 'LID']
    """
    found = tuple(
        DetectorChoice.parse(name, **({"bandwidth": bandwidth} if parts_of(name)[0] == "KD" else {})) for name in names
    )
    labels = [choice.label for choice in found]
    require(len(set(labels)) == len(labels) > 0, "detectors", "recipe", "different kinds, at least one", names)
    return found
