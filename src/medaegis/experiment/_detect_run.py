"""`medaegis detect fit`: detectors of a user's own network, fitted on a folder of images and saved."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field
from torch import nn

from medaegis._errors import DataError, InputError, require
from medaegis.detect import Detector, make_detector
from medaegis.experiment._attack_run import chunks_of
from medaegis.experiment._context import Context
from medaegis.experiment._detect_files import Fitted, write_detectors
from medaegis.experiment._facts import data_facts
from medaegis.experiment._named_attack import NamedAttack
from medaegis.experiment._network_settings import Names
from medaegis.experiment._outputs import environment
from medaegis.experiment._own_settings import OwnSettings, clean_pass
from medaegis.experiment._recipe import checked
from medaegis.experiment._run import compute_stages
from medaegis.experiment._stage import Stage
from medaegis.experiment._stages_detect import DetectorChoice
from medaegis.experiment._stages_model import network_hash
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
from medaegis.experiment._store import Store
from medaegis.models import PENULTIMATE, Taps

DEFAULT = ("KD", "MAHA", "LID")


class DetectSettings(OwnSettings):
    """What `medaegis detect fit` is told; detectors.json holds it.

    Example:
        >>> DetectSettings(data="phantom-chest", model="small-resnet").detectors
        ('KD', 'MAHA', 'LID')
    """

    detectors: Names = Field(DEFAULT, description="names, KIND:logistic or KIND:mean")
    attack: str | None = Field(None, description="name of a preset, for detectors that learn from attacks")
    eps: str | None = Field(None, description="budget of the attack, 1/256")
    options: dict[str, Any] = Field(default_factory=dict[str, Any], description="of the attack, or DETECTOR.name")
    tnr: float = Field(0.90, gt=0, lt=1, description="share of clean images that each detector lets pass")


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
        simple = [fitted for fitted in self.fitted(context) if not fitted.examples]
        learned = [fitted for fitted in self.fitted(context) if fitted.examples]
        yield from (self.features(FIT, context), *simple, self.features(CALIBRATION, context))
        for chunk in self.chunks(context):
            yield from (chunk.chunk, chunk)
        yield from learned

    def activations(self, context: Context) -> tuple[str, ...]:
        """Names of the network's activations; none where no detector reads them."""
        if all(_named(choice.build()) is not None for choice in self.choices):
            return ()
        model = self.clean.load(context)
        first = self.clean.images.dataset(context).tensor([0])
        return Taps(model).names(first.to(context.device))

    def layers(self, context: Context) -> dict[str, tuple[str, ...]]:
        """By detector's label, the layers that it reads."""
        activations = self.activations(context)
        found = {choice.label: _named(choice.build()) for choice in self.choices}
        return {label: activations if named is None else named for label, named in found.items()}

    def features(self, part: str, context: Context) -> PartFeatures:
        """Features of a part, at every layer that some detector reads."""
        return PartFeatures(self.parts, part, _union(self.layers(context).values()))

    def chunks(self, context: Context) -> tuple[ChunkFeatures, ...]:
        """The attacked cases and their features, cut into stages; none where nothing is learned."""
        if self.attack is None:
            return ()
        rows, seed = self.parts.parts(context)[LEARN], self.settings.seed
        layers = self.layers(context)
        read = _union(layers[choice.label] for choice in self.choices if choice.learns_attacks)
        cut = chunks_of(self.clean, self.attack, rows, "next", seed, context)
        return tuple(ChunkFeatures(chunk, read, seed) for chunk in cut)

    def fitted(self, context: Context) -> list[FittedDetector]:
        """The detectors, in the order in which they were named."""
        known, chunks, layers = self.features(FIT, context), self.chunks(context), self.layers(context)
        return [
            FittedDetector(choice, known, layers[choice.label], chunks if choice.learns_attacks else ())
            for choice in self.choices
        ]

    def collect(self, context: Context) -> Fitted:
        """The calibrated detectors and what detectors.json says of them."""
        held = self.features(CALIBRATION, context)
        tapped = held.tapped(context)
        predicted = tapped.logits.argmax(dim=1)
        detectors: dict[str, Detector] = {}
        anyone = np.zeros(len(predicted), dtype=bool)
        for fitted in self.fitted(context):
            detector = fitted.fitted(context)
            mine = detector.pick({name: tapped.features[name] for name in fitted.layers})
            detectors[fitted.choice.label] = detector.calibrate(mine, predicted, tnr=self.settings.tnr)
            anyone |= detector.flags(mine, predicted).detach().numpy()
        facts = self._facts(context) | {"flagged_by_any": float(anyone.mean())}
        kinds = {c.label: f"{c.kind}:{c.combined}" if c.combined else c.kind for c in self.choices}
        learned = {choice.label: choice.learns_attacks for choice in self.choices}
        return Fitted(detectors, kinds, learned, facts)

    def _facts(self, context: Context) -> dict[str, Any]:
        clean, settings = self.clean, self.settings
        data = clean.images.dataset(context)
        index = self.parts.parts(context)
        sizes = {part: len(rows) for part, rows in index.items()}
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
                "network_hash": network_hash(clean.load(context)),
                "loaded": str(context.get(clean).info["loaded"]),
            },
            "class_names": list(data.class_names),
            "tnr": settings.tnr,
            "parts": by_class,
            "attack": None if self.attack is None else self._attack_facts(context),
            "data": data_facts(clean.images, data, split),
            "settings": settings.model_dump(mode="json"),
        }

    def _attack_facts(self, context: Context) -> dict[str, Any]:
        assert self.attack is not None
        stored = [context.get(chunk).info for chunk in self.chunks(context)]
        counts = {side: sum(len(info[side]) for info in stored) for side in ("negative", "positive")}
        return {
            "words": self.attack.words,
            "preset": self.attack.preset,
            "eps": self.attack.eps,
            "options": dict(self.attack.options),
            **counts,
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


def _named(detector: Detector) -> tuple[str, ...] | None:
    """The layers that a detector names; None for all activations."""
    if detector.layers == PENULTIMATE:
        return (PENULTIMATE,)
    return None if isinstance(detector.layers, str) else tuple(detector.layers)


def _union(parts: Any) -> tuple[str, ...]:
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
    clean, network = clean_pass(settings)
    for choice in choices:
        _check_readable(choice, network)
    return DetectPlan(settings, clean, choices, attack)


def _choices(names: Sequence[str], options: Mapping[str, Any]) -> tuple[DetectorChoice, ...]:
    found = tuple(DetectorChoice.parse(name, **_options_of(name.partition(":")[0], options)) for name in names)
    labels = [choice.label for choice in found]
    require(len(set(labels)) == len(labels) > 0, "detectors", "detect", "different kinds, at least one", list(names))
    for option in options:
        rule = f"DETECTOR.name=value of one of {labels}"
        require(option.partition(".")[0] in labels, "set", "detect", rule, option)
    return found


def _options_of(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of one detector, as values: JSON where it is JSON, "none" for None, else text."""
    mine = {name.partition(".")[2]: value for name, value in options.items() if name.partition(".")[0] == kind}
    if mine:
        known = sorted(make_detector(kind).get_params(deep=False))
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
        Taps(network, _named(detector) or "relu")
    except InputError as error:
        raise InputError(f"The detector {choice.label} cannot read this network: {error}") from None


class DetectorsFitted(NamedTuple):
    """Finished detectors.

    Attributes:
        out: the folder.
        facts: what its detectors.json says.
        computed: stages that were computed.
        found: stages whose results were in the store.
    """

    out: Path
    facts: dict[str, Any]
    computed: int
    found: int


def run_detect_fit(
    settings: dict[str, Any],
    *,
    out: str | Path,
    device: str = "cpu",
    batch_size: int = 32,
    progress: bool = False,
    say: Callable[[str], None] = lambda _line: None,
) -> DetectorsFitted:
    """Run `medaegis detect fit`, or finish it if it was stopped.

    Args:
        settings: fields of `DetectSettings` by name.
        out: the folder: empty, not there yet, or one of an earlier run.
        device: torch's name of the device.
        batch_size: cases that go through the network together; changes speed and memory only.
        progress: show progress bars.
        say: takes one line for each step.

    Returns:
        What was fitted, and how much was computed.

    Raises:
        MedaegisError: data, model, settings or the folder cannot be used.
    """
    folder = Path(out)
    free = not folder.exists() or (folder.is_dir() and (not any(folder.iterdir()) or (folder / "stages").is_dir()))
    fix = "Files of an earlier run are replaced there, so it must not hold others."
    require(free, "out", "detect", "a new folder, an empty one, or one of an earlier run", str(folder), fix)
    plan = detect_plan(checked(DetectSettings, settings, "detect fit", kind="command"))
    _check_writable(folder)
    store = Store(folder / "stages")
    store.sweep()
    context = Context(store, device=device, batch_size=batch_size, progress=progress)
    compute_stages((plan.clean.images,), plan.further(context), context, say)
    facts = write_detectors(folder, plan.collect(context), plan.clean.images, environment(device))
    computed = sum(not entry.cached for entry in context.log.values())
    return DetectorsFitted(folder, facts, computed, len(context.log) - computed)


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataError(
            f"The folder {folder} cannot be written: {error.strerror or error}. Choose another --out."
        ) from None
