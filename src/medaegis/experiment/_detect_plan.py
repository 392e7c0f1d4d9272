"""What `medaegis detect fit` computes: settings, checks before any work, and the stages from images to detectors."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field
from torch import nn

from medaegis._errors import DataError, InputError, require
from medaegis.detect import Detector, detector_class
from medaegis.experiment._attack_run import chunks_of
from medaegis.experiment._context import Context
from medaegis.experiment._detect_files import Fitted
from medaegis.experiment._facts import data_facts
from medaegis.experiment._named_attack import NamedAttack
from medaegis.experiment._network_settings import Names
from medaegis.experiment._own_settings import OwnSettings, clean_pass
from medaegis.experiment._stage import Stage
from medaegis.experiment._stages_detect import DetectorChoice, parts_of
from medaegis.experiment._stages_own import CleanPass
from medaegis.experiment._stages_own_detect import (
    CALIBRATION,
    FIT,
    LEARN,
    ChunkFeatures,
    DetectorParts,
    FittedDetector,
    PartFeatures,
    check_enough,
)
from medaegis.experiment._volume_settings import refuse_volumes
from medaegis.models import PENULTIMATE, Taps, answers_to_noise, network_hash

DEFAULT = ("KD", "MAHA", "LID")


class DetectSettings(OwnSettings):
    """What `medaegis detect fit` is told; detectors.json holds it.

    Example:
        >>> DetectSettings(data="phantom-chest", model="small-resnet").detectors
        ('KD', 'MAHA', 'LID')
    """

    detectors: Names = Field(DEFAULT, description="names, KIND@relu, KIND:logistic or KIND:mean")
    attack: str | None = Field(None, description="name of a preset, for detectors that learn from attacks")
    eps: str | None = Field(None, description="budget of the attack, 1/256")
    options: dict[str, Any] = Field(default_factory=dict[str, Any], description="of the attack, or DETECTOR.name")
    tnr: float = Field(0.90, gt=0, lt=1, description="share of clean images that each detector lets pass")


class LastStages(NamedTuple):
    """Stages of a fit that depend on the network's layers and on who is in which part.

    Attributes:
        known: features of the fit part, at every layer that some detector reads.
        held: the same of the calibration part.
        chunks: the attacked cases; none where nothing is learned.
        fitted: the detectors, in the order in which they were named.
    """

    known: PartFeatures
    held: PartFeatures
    chunks: tuple[ChunkFeatures, ...]
    fitted: tuple[FittedDetector, ...]


@dataclass(frozen=True)
class DetectPlan:
    """The stages of a fit; see `detect_plan`.

    Args:
        settings: what it was made from.
        clean: network and images.
        choices: the detectors.
        attack: what some of them learn from, or None.
    """

    settings: DetectSettings
    clean: CleanPass
    choices: tuple[DetectorChoice, ...]
    attack: NamedAttack | None = None

    @property
    def parts(self) -> DetectorParts:
        """Who fits, who is attacked, who sets thresholds."""
        return DetectorParts(self.clean, self.attack is not None, self.settings.seed)

    def further(self, context: Context) -> Iterator[Stage]:
        """All stages; cheap ones with checks come first, what learns from the attack last."""
        self._check_counts(context)
        yield from (self.clean, self.parts)
        self._check_calibration(context)
        last = self.last(context)
        yield last.known
        yield from (fitted for fitted in last.fitted if not fitted.examples)
        yield last.held
        for chunk in last.chunks:
            yield from (chunk.chunk, chunk)
        yield from (fitted for fitted in last.fitted if fitted.examples)

    def last(self, context: Context) -> LastStages:
        """The stages that are known once the network's layers and the parts are."""
        layers = self._layers(context)
        known, held = (PartFeatures(self.parts, part, _union(layers.values())) for part in (FIT, CALIBRATION))
        chunks = self._chunks(layers, context)
        fitted = tuple(
            FittedDetector(choice, known, layers[choice.label], chunks if choice.learns_attacks else ())
            for choice in self.choices
        )
        return LastStages(known, held, chunks, fitted)

    def _layers(self, context: Context) -> dict[str, tuple[str, ...]]:
        """By detector's label, the layers that it reads."""
        found = {choice.label: named_layers(choice.build()) for choice in self.choices}
        if all(found.values()):
            return {label: named for label, named in found.items() if named}
        first = self.clean.images.dataset(context).tensor([0])
        activations = Taps(self.clean.load(context)).names(first.to(context.device))
        return {label: named or activations for label, named in found.items()}

    def _chunks(self, layers: Mapping[str, tuple[str, ...]], context: Context) -> tuple[ChunkFeatures, ...]:
        if self.attack is None:
            return ()
        rows, seed = self.parts.parts(context)[LEARN], self.settings.seed
        read = _union(layers[choice.label] for choice in self.choices if choice.learns_attacks)
        cut = chunks_of(self.clean, self.attack, rows, "next", seed, context)
        return tuple(ChunkFeatures(chunk, read, seed) for chunk in cut)

    def collect(self, context: Context) -> Fitted:
        """The calibrated detectors and what detectors.json says of them."""
        last = self.last(context)
        tapped = last.held.tapped(context)
        predicted = tapped.logits.argmax(dim=1)
        detectors: dict[str, Detector] = {}
        anyone = np.zeros(len(predicted), dtype=bool)
        for fitted in last.fitted:
            detector = fitted.fitted(context)
            mine = detector.pick({name: tapped.features[name] for name in fitted.layers})
            detectors[fitted.choice.label] = detector.calibrate(mine, predicted, tnr=self.settings.tnr)
            anyone |= detector.flags(mine, predicted).detach().numpy()
        facts = self._facts(last.chunks, context) | {"flagged_by_any": float(anyone.mean())}
        kinds = {c.label: f"{c.kind}:{c.combined}" if c.combined else c.kind for c in self.choices}
        learned = {choice.label: choice.learns_attacks for choice in self.choices}
        return Fitted(detectors, kinds, learned, facts)

    def _facts(self, chunks: Sequence[ChunkFeatures], context: Context) -> dict[str, Any]:
        clean, settings = self.clean, self.settings
        data = clean.images.dataset(context)
        index = self.parts.parts(context)
        sizes, model = {part: len(rows) for part, rows in index.items()}, clean.load(context)
        by_class = {
            part: dict(zip(data.class_names, np.bincount(data.labels[rows]).tolist(), strict=True))
            for part, rows in index.items()
        }
        split = {"given": len(data), "dropped_wrong": context.get(self.parts).info["wrong"], **sizes}
        return {
            "model": {
                "name": clean.model,
                "weights": settings.weights,
                "seed": clean.seed,
                "network_hash": network_hash(model),
                "answers": answers_to_noise(model, clean.images.shape),
                "loaded": str(context.get(clean).info["loaded"]),
            },
            "class_names": list(data.class_names),
            "tnr": settings.tnr,
            "parts": by_class,
            "attack": None if self.attack is None else _attack_facts(self.attack, chunks, context),
            "data": data_facts(clean.images, data, split),
            "settings": settings.model_dump(mode="json"),
        }

    def _check_counts(self, context: Context) -> None:
        data = self.clean.images.dataset(context)
        counts = np.bincount(data.labels, minlength=len(data.class_names)).tolist()
        named = zip(data.class_names, counts, strict=True)
        check_enough({name: (n, f"of {name}") for name, n in named}, "to give every part its own")

    def _check_calibration(self, context: Context) -> None:
        n, least = len(self.parts.parts(context)[CALIBRATION]), math.ceil(1 / (1 - self.settings.tnr) - 1e-9)
        if n < least:
            raise DataError(
                f"A threshold at --tnr {self.settings.tnr:g} needs at least {least} clean images that set it, got {n} "
                "(a quarter of those that the network gets right). Give more images or a lower --tnr."
            )


def _attack_facts(attack: NamedAttack, chunks: Sequence[ChunkFeatures], context: Context) -> dict[str, Any]:
    stored = [context.get(chunk).info for chunk in chunks]
    named = {"words": attack.words, "preset": attack.preset, "eps": attack.eps, "options": dict(attack.options)}
    return named | {side: sum(len(info[side]) for info in stored) for side in ("negative", "positive")}


def named_layers(detector: Detector) -> tuple[str, ...] | None:
    """The layers that a detector names; None for all activations."""
    if detector.layers == PENULTIMATE:
        return (PENULTIMATE,)
    return None if isinstance(detector.layers, str) else tuple(detector.layers)


def _union(parts: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for part in parts for name in part))


def detect_plan(settings: DetectSettings) -> DetectPlan:
    """Plan a fit: detectors, attack, network and files are looked at here, before any long work.

    Raises:
        InputError: a setting breaks a rule, or a detector cannot read this network.
        DataError: data or weights cannot be used.

    Example:
        >>> plan = detect_plan(DetectSettings(data="phantom-chest", model="small-resnet", size=32))
        >>> [choice.label for choice in plan.choices]
        ['KD', 'MAHA', 'LID']
    """
    own = {name: value for name, value in settings.options.items() if "." in name}
    choices = _choices(settings.detectors, own)
    others = {name: value for name, value in settings.options.items() if name not in own}
    attack = _attack(settings, choices, others)
    refuse_volumes(settings.depth, "detect fit")
    clean, network = clean_pass(settings)
    for choice in choices:
        _check_readable(choice, network)
    return DetectPlan(settings, clean, choices, attack)


def _choices(names: Sequence[str], options: Mapping[str, Any]) -> tuple[DetectorChoice, ...]:
    found = tuple(_choice(name, options) for name in names)
    labels = [choice.label for choice in found]
    require(len(set(labels)) == len(labels) > 0, "detectors", "detect", "different kinds, at least one", list(names))
    for option in options:
        rule = f"DETECTOR.name=value of one of {labels}"
        require(option.partition(".")[0] in labels, "set", "detect", rule, option)
    return found


def _choice(name: str, options: Mapping[str, Any]) -> DetectorChoice:
    try:
        return DetectorChoice.parse(name, **_options_of(parts_of(name)[0], options))
    except TypeError as error:
        raise InputError(f"The detector {name} cannot be made from its name and --set: {error}.") from None


def _options_of(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of one detector, as values: JSON where it is JSON, "none" for None, else text."""
    mine = {name.partition(".")[2]: value for name, value in options.items() if name.partition(".")[0] == kind}
    if mine:
        known = sorted(inspect.signature(detector_class(kind)).parameters)
        wrong = [name for name in mine if name not in known]
        require(not wrong, "set", kind, f"one of its settings {known}", ", ".join(wrong))
    return {name: _value(value) for name, value in mine.items()}


def _value(given: Any) -> Any:
    if isinstance(given, list):
        return [_value(item) for item in given]  # pyright: ignore[reportUnknownVariableType]  # checked by the detector
    if not isinstance(given, str) or given == "none":
        return None if given == "none" else given
    try:
        return json.loads(given)
    except ValueError:
        return given


def _attack(
    settings: DetectSettings, choices: Sequence[DetectorChoice], options: Mapping[str, Any]
) -> NamedAttack | None:
    learn = [choice.label for choice in choices if choice.learns_attacks]
    if settings.attack is None:
        fix = "Name one, as in --attack bim --eps 1/256, or leave these detectors out."
        require(not learn, "attack", "detect", f"named, as {', '.join(learn)} learn from attacks", None, fix)
        unused = ({} if settings.eps is None else {"eps": settings.eps}) | dict(options)
        require(not unused, next(iter(unused), ""), "detect", "left out where there is no --attack", unused)
        return None
    fix = "Leave it out, or name a detector that does, as SVM, DNN or LID:logistic."
    require(bool(learn), "attack", "detect", "left out, as no detector learns from attacks", settings.attack, fix)
    attack = NamedAttack(settings.attack, settings.eps).changed(**options)
    attack.build()
    return attack


def _check_readable(choice: DetectorChoice, network: nn.Module) -> None:
    detector = choice.build()
    try:
        detector.prepare(network)
        Taps(network, named_layers(detector) or "relu")
    except InputError as error:
        raise InputError(f"The detector {choice.label} cannot read this network: {error}") from None
