"""Stages of `medaegis detect fit`: parts by patient, features of each, and one fitted detector after another."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medaegis._errors import DataError, InputError
from medaegis._types import LayerFeatures, Tapped
from medaegis.attack import matched_noise
from medaegis.data import AdversarialSplit, check_no_leak, split_adversarial, split_from_json, split_to_json
from medaegis.detect import AnyFeatures, Detector, Examples
from medaegis.experiment._context import Context
from medaegis.experiment._stage import Result, Stage
from medaegis.experiment._stages_data import cases_at
from medaegis.experiment._stages_detect import DetectorChoice
from medaegis.experiment._stages_model import features_of
from medaegis.experiment._stages_own import PASS, AttackedChunk, CleanPass, attacked_rows

Index = NDArray[np.int64]
FIT, LEARN, CALIBRATION = "fit", "learn", "calibration"
LEAST = {FIT: 10, LEARN: 5, CALIBRATION: 5}
"""Fewest cases of a class in each part."""
LEAST_OF_CLASS = 20
"""Fewest images of a class that can give every part its own."""
LEAST_EXAMPLES = 4
"""Fewest successful adversarial examples that a detector learns from."""


@dataclass(frozen=True)
class DetectorParts(Stage):
    """The cases that a network gets right, in parts that share no patient.

    A quarter sets the thresholds, the same quarter whatever is fitted. A third of the rest is what detectors learn
    attacks from, where one does.

    Args:
        clean: network and images.
        learns: whether a detector learns from attacks.
        seed: of the draw.
    """

    clean: CleanPass
    learns: bool = False
    seed: int = 0

    def compute(self, context: Context) -> Result:
        """Drop wrong predictions, split the rest by the rules of AdvTrain and AdvTest."""
        data = self.clean.images.dataset(context)
        right = attacked_rows(context.get(self.clean).tensors["logits"], data.labels, "next")
        whole = np.bincount(data.labels, minlength=len(data.class_names)).tolist()
        good = np.bincount(data.labels[right], minlength=len(data.class_names)).tolist()
        counts = zip(data.class_names, good, whole, strict=True)
        check_enough({name: (n, f"of {all_} {name}") for name, n, all_ in counts}, "that the network gets right")
        outer = split_adversarial(right, data.labels, data.groups, train_share=0.75, seed=self.seed)
        info = {"outer": json.loads(split_to_json(outer, data.names)), "wrong": len(data) - len(right)}
        if self.learns:
            inner = split_adversarial(outer.train, data.labels, data.groups, train_share=2 / 3, seed=self.seed)
            info["inner"] = json.loads(split_to_json(inner, data.names))
        return Result({}, info)

    def parts(self, context: Context) -> dict[str, Index]:
        """Positions of the cases of each part, checked again for leaks.

        Raises:
            LeakError: a case or patient stands on two sides.
            DataError: a part has too few cases of a class.
        """
        data, info = self.clean.images.dataset(context), context.get(self).info
        outer, *inner = (
            split_from_json(json.dumps(info[name]), data.names, AdversarialSplit)
            for name in ("outer", "inner")
            if name in info
        )
        found = {FIT: outer.train, CALIBRATION: outer.test}
        if inner:
            found = {FIT: inner[0].train, LEARN: inner[0].test, CALIBRATION: outer.test}
        check_no_leak(found, data.groups, names=data.names)
        for part, index in found.items():
            counts = np.bincount(data.labels[index], minlength=len(data.class_names)).tolist()
            poor = {n: c for n, c in zip(data.class_names, counts, strict=True) if c < LEAST[part]}
            if poor:
                raise DataError(
                    f"The {part} part must have at least {LEAST[part]} cases of each class, got {poor}. Patients stay "
                    "in one part: give images of more of them, or leave the class out."
                )
        return found


def check_enough(counts: dict[str, tuple[int, str]], which: str) -> None:
    """Raise `DataError` where a class has too few images for all parts; by class, how many, and how to say of what."""
    poor = [f"{n} {of}" for n, of in counts.values() if n < LEAST_OF_CLASS]
    if poor:
        raise DataError(
            f"Detectors need at least {LEAST_OF_CLASS} images of each class {which}, got {', '.join(poor)}. "
            "Give more images or a larger --limit; check the weights, --size, and that the network's classes are in "
            f"the data's order: {', '.join(counts)}."
        )


@dataclass(frozen=True)
class PartFeatures(Stage):
    """Logits, labels and features of the clean images of one part.

    Args:
        parts: of the cases.
        part: which.
        layers: names of the layers.
    """

    parts: DetectorParts
    part: str
    layers: tuple[str, ...]

    @property
    def title(self) -> str:
        """What lines on the terminal call it."""
        return f"({self.part})"

    def compute(self, context: Context) -> Result:
        """One pass, a bounded number of float32 images at a time."""
        clean = self.parts.clean
        data, index = clean.images.dataset(context), self.parts.parts(context)[self.part]
        model = clean.load(context)
        pieces = [
            features_of(model, data.tensor(index[i : i + PASS]), context, self.layers)
            for i in range(0, len(index), PASS)
        ]
        return Result(_stored(_joined(pieces)) | {"labels": torch.as_tensor(data.labels[index])}, {})

    def tapped(self, context: Context) -> Tapped:
        """Logits (n, k) and features by layer, as named."""
        return _restored(context.get(self).tensors, self.layers, "")


@dataclass(frozen=True)
class ChunkFeatures(Stage):
    """Features of one chunk of the learn part: clean, with noise of the perturbations' size, and where it was fooled.

    Args:
        chunk: the attacked cases.
        layers: names of the layers.
        seed: of the noise.
    """

    chunk: AttackedChunk
    layers: tuple[str, ...]
    seed: int = 0

    def compute(self, context: Context) -> Result:
        """Negatives are clean images, then noisy ones; positives those that fool the network."""
        data, index = self.chunk.clean.images.dataset(context), np.array(self.chunk.rows, dtype=np.int64)
        clean, _ = cases_at(data, index)
        made = context.get(self.chunk).tensors
        generator = torch.Generator().manual_seed(self.seed + self.chunk.start)
        noisy = matched_noise(clean, made["x"], generator=generator)
        model, fooled = self.chunk.clean.load(context), made["fooled"]
        low = features_of(model, torch.cat([clean, noisy]), context, self.layers)
        tensors = _stored(low, "negative.")
        if bool(fooled.any()):
            tensors |= _stored(features_of(model, made["x"][fooled], context, self.layers), "positive.")
        patients = [data.groups[i] for i in index]
        chosen = [patient for patient, good in zip(patients, fooled.tolist(), strict=True) if good]
        return Result(tensors, {"negative": patients * 2, "positive": chosen})


def examples_of(chunks: Sequence[ChunkFeatures], context: Context) -> Examples:
    """All chunks' examples; groups are patients.

    Raises:
        InputError: too few fool the network.
    """
    sides: dict[str, Tapped] = {}
    groups: dict[str, list[str]] = {}
    for side in ("negative", "positive"):
        stored = [(context.get(chunk), chunk) for chunk in chunks]
        pieces = [_restored(r.tensors, c.layers, f"{side}.") for r, c in stored if f"{side}.logits" in r.tensors]
        groups[side] = [patient for result, _ in stored for patient in result.info[side]]
        if len(groups[side]) < LEAST_EXAMPLES:
            raise InputError(
                f"{chunks[0].chunk.attack.title} fools {len(groups[side])} of the {len(groups['negative']) // 2} cases "
                f"that detectors learn from, and they need at least {LEAST_EXAMPLES}. Take a larger --eps or more "
                "--steps."
            )
        sides[side] = _joined(pieces)
    low, high = sides["negative"], sides["positive"]
    predicted = (low.logits.argmax(dim=1), high.logits.argmax(dim=1))
    return Examples(low.features, high.features, *predicted, groups["negative"], groups["positive"])


@dataclass(frozen=True)
class FittedDetector(Stage):
    """One detector's state.

    Args:
        choice: which.
        features: of the fit part.
        layers: names of the layers that it reads.
        examples: of the learn part, for a detector that learns from attacks.
    """

    choice: DetectorChoice
    features: PartFeatures
    layers: tuple[str, ...]
    examples: tuple[ChunkFeatures, ...] = ()

    @property
    def title(self) -> str:
        """What lines on the terminal call it."""
        return self.choice.label

    def compute(self, context: Context) -> Result:
        """Fit it on the CPU."""
        model = self.features.parts.clean.load(context)
        detector = self.choice.build().prepare(model.cpu())
        labels = context.get(self.features).tensors["labels"]
        examples = self._examples(detector, context) if self.examples else None
        detector.fit(self._picked(detector, self.features.tapped(context).features), labels, examples=examples)
        return Result(*detector.state())

    def _examples(self, detector: Detector, context: Context) -> Examples:
        both = examples_of(self.examples, context)
        assert not isinstance(both.negative, Tensor)  # by layer
        assert not isinstance(both.positive, Tensor)
        negative, positive = (self._picked(detector, side) for side in (both.negative, both.positive))
        return both._replace(negative=negative, positive=positive)

    def _picked(self, detector: Detector, features: LayerFeatures) -> AnyFeatures:
        return detector.pick({name: features[name] for name in self.layers})

    def fitted(self, context: Context) -> Detector:
        """The detector, without a threshold."""
        return type(self.choice.build()).restore(*context.get(self))


def _joined(pieces: Sequence[Tapped]) -> Tapped:
    names = pieces[0].features
    layers = {name: torch.cat([piece.features[name] for piece in pieces]) for name in names}
    return Tapped(torch.cat([piece.logits for piece in pieces]), layers)


def _stored(tapped: Tapped, lead: str = "") -> dict[str, Tensor]:
    layers = {f"{lead}layer.{name}": z for name, z in tapped.features.items()}
    return {f"{lead}logits": tapped.logits, **layers}


def _restored(tensors: dict[str, Tensor], layers: Sequence[str], lead: str) -> Tapped:
    return Tapped(tensors[f"{lead}logits"], {name: tensors[f"{lead}layer.{name}"] for name in layers})
