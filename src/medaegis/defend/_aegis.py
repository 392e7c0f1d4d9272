"""Aegis: a classifier with its Cushion, its Shields and their thresholds as one guard."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from medaegis._errors import DataError, InputError, is_a, is_int, require
from medaegis._types import Images
from medaegis.defend._aegis_data import (
    AegisData,
    AegisParts,
    Given,
    aegis_data,
    aegis_parts,
    check_calibration,
    check_tnr,
)
from medaegis.defend._aegis_file import read_aegis, settings_from_json, settings_to_json, write_aegis
from medaegis.defend._aegis_onnx import OnnxCheck, write_onnx
from medaegis.defend._aegis_verdict import AegisVerdict, judge, passes
from medaegis.defend._chain import cushion_from_json
from medaegis.defend._cushion import Cushion, check_images
from medaegis.defend._jpeg import JPEG
from medaegis.defend._shield_net import Shields
from medaegis.defend._shield_plan import TapPlan, tap_plan
from medaegis.defend._shield_settings import ShieldSettings
from medaegis.defend._shield_system import Shielded
from medaegis.defend._shield_train import TrainedShields, train_shields
from medaegis.measure import threshold_at
from medaegis.models import answers_to_noise, network_hash, says_the_same

DEFAULT_CUSHION = JPEG(quality=80)


class AegisFacts(NamedTuple):
    """What a guard keeps of its fit.

    Attributes:
        network_hash: of the classifier, by `medaegis.models.network_hash`.
        class_names: one a class.
        image_shape: of one image, (c, *space).
        tnr: share of clean calibration cases that each class's threshold lets pass.
        seed: of parts, weights and draws.
        settings: of the Shields' training.
        counts: the cases of each class by part: `train`, `validation`, `calibration`, and `left out`, those that the
            classifier got wrong.
        calibration: by class, S of its calibration cases, from low to high.
        history: of the training, one dictionary an epoch; see `TrainedShields`.
        probe_auc: the worst AUC of stronger attacks than those of the training, on the Shields alone; None where
            none were tried.
        answers: of the classifier to noise, by `medaegis.models.answers_to_noise`; none in guards of before.
    """

    network_hash: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, ...]
    tnr: float
    seed: int
    settings: ShieldSettings
    counts: dict[str, dict[str, int]]
    calibration: tuple[tuple[float, ...], ...]
    history: tuple[dict[str, float], ...]
    probe_auc: float | None = None
    answers: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Aegis:
    """A guard: images to prediction, probability, accepted and score. Made by `Aegis.fit`.

    Args:
        classifier: images in [0, 1] to logits (n, k); never changed.
        shields: one for each class, on the classifier's maps.
        cushion: what every image goes through first, or None.
        thresholds: (k,) float32 of S; an image predicted as y is accepted where S_y reaches that of y.
        facts: of the fit.
        about: JSON values that its maker wants kept with it, such as how images are to be read.

    Raises:
        InputError: the parts do not fit together.

    Source: Medical Aegis, section 3.

    Example:
        >>> x, y = torch.rand(100, 1, 8, 8), torch.arange(100) % 2
        >>> x[:, :, :4] *= 0.2 + 0.6 * y[:, None, None, None]
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
        >>> for _ in range(60):
        ...     optimiser.zero_grad()
        ...     nn.functional.cross_entropy(net(x), y).backward()
        ...     optimiser.step()
        >>> guard = Aegis.fit(net, (x, y, None), settings=ShieldSettings(epochs=1, growing=1))
        >>> prediction, probability, accepted, score = guard(x)
        >>> prediction.shape, accepted.dtype
        (torch.Size([100]), torch.bool)
    """

    classifier: nn.Module
    shields: Shields
    cushion: Cushion | None
    thresholds: Tensor
    facts: AegisFacts
    about: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        k, names = self.shields.classes, self.facts.class_names
        good = self.thresholds.shape == (k,) and bool(self.thresholds.isfinite().all())
        require(good, "thresholds", "Aegis", f"({k},), finite, one for each Shield", self.thresholds)
        require(len(names) == k, "class_names", "Aegis", f"{k}, one for each Shield", names)

    @classmethod
    def fit(
        cls,
        model: nn.Module,
        data: Given,
        *,
        cushion: Cushion | None = DEFAULT_CUSHION,
        settings: ShieldSettings | None = None,
        layers: Sequence[str] | None = None,
        tnr: float = 0.90,
        seed: int = 0,
        checkpoint: Path | None = None,
        progress: bool = False,
    ) -> Aegis:
        """Train Shields behind the Cushion and set their thresholds on clean cases that they have never seen.

        Cases that the classifier gets wrong behind the Cushion are left out. A quarter of the rest, by patient,
        calibrates one threshold a class; of the others, `settings.validation_share` chooses the epoch, and the rest
        trains. Attacks in training go through the Cushion by BPDA with its surrogate.

        Args:
            model: images in [0, 1] to logits (n, k). Parameters, buffers and mode stay as they are.
            data: a `Dataset`, or images (n, c, *space) in [0, 1], classes (n,) and patients (n,); patients None takes
                each case for one of its own.
            cushion: None for the Shield alone.
            settings: of the training; None for `ShieldSettings.hardened()`.
            layers: the taps; None chooses them with `tap_plan`.
            tnr: share of clean calibration cases that each class's threshold lets pass.
            seed: of everything random; the global random state is left alone.
            checkpoint: a folder in which training is kept after each epoch; a stopped fit goes on from there where
                images, classes, patients, network, cushion and settings are the same.
            progress: show a bar.

        Raises:
            InputError: an argument breaks its rule, or model and data do not fit together.
            DataError: a class has too few cases or patients.
            NumericsError: maps or a loss are not finite.

        Warns:
            DefenceWarning: a Shield has stopped learning, or stronger attacks get past what rejects the training's own.
        """
        check_tnr(tnr)
        good = cushion is None or is_a(cushion, Cushion)
        require(good, "cushion", "Aegis.fit", "a Cushion, as JPEG(80), or None", cushion)
        chosen, cases = settings or ShieldSettings.hardened(), aegis_data(data)
        parts = aegis_parts(model, cushion, cases, tnr=tnr, batch_size=chosen.batch_size, seed=seed)
        first = cases.images(torch.zeros(1, dtype=torch.int64))
        trained = train_shields(
            model,
            cases.some(parts.learn),
            [cases.groups[i] for i in parts.learn.tolist()],
            plan=tap_plan(model, first, layers=layers),
            settings=chosen,
            seed=seed,
            preprocess=None if cushion is None else cushion.bpda("surrogate"),
            checkpoint=None if checkpoint is None else checkpoint / _checkpoint_name(cases, cushion),
            progress=progress,
        )
        step = None if cushion is None else cushion.bpda("surrogate")
        facts = AegisFacts(
            *(network_hash(model), cases.class_names, tuple(first.shape[1:]), float(tnr), seed, chosen),
            counts=_counts(cases, parts, trained),
            calibration=_calibration(Shielded(model, trained.shields, step), cases, parts, chosen.batch_size),
            history=trained.history,
            probe_auc=None if math.isnan(trained.probe_auc) else trained.probe_auc,
            answers=answers_to_noise(model, tuple(first.shape[1:])),
        )
        return cls(model, trained.shields, cushion, torch.zeros(trained.shields.classes), facts).at(tnr)

    def at(self, tnr: float) -> Aegis:
        """The same guard with thresholds for another true negative rate, from the calibration cases of the fit.

        Raises:
            InputError: `tnr` is no share.
            DataError: a class has too few calibration cases for it.
        """
        check_calibration({name: len(own) for name, own in self._calibrated().items()}, tnr)
        found = [-threshold_at([-value for value in own], tnr=tnr) for own in self.facts.calibration]
        thresholds = torch.tensor(found, dtype=torch.float32)
        return replace(self, thresholds=thresholds, facts=self.facts._replace(tnr=float(tnr)))

    def _calibrated(self) -> dict[str, tuple[float, ...]]:
        return dict(zip(self.facts.class_names, self.facts.calibration, strict=True))

    def __call__(self, images: Images, *, batch_size: int = 32) -> AegisVerdict:
        """Judge images, with one pass of the classifier for logits and maps.

        Prediction and acceptance do not depend on the batch an image comes in: where either is closer than rounding
        between batches could matter, the image is passed once more by itself. Probability and score may differ between
        batch sizes by rounding.

        Args:
            images: (n, c, *space) in [0, 1], of the shape that the guard was fitted on; of any floating type.
            batch_size: images a pass; changes speed and memory only.

        Returns:
            The verdict, on the images' device.

        Raises:
            InputError: images have another shape or type, hold NaN or pixels outside [0, 1], or there is none.
        """
        require(is_int(batch_size) and batch_size >= 1, "batch_size", "Aegis", "an int >= 1", batch_size)
        return judge(self.system(), self._checked(images), self.thresholds, batch_size=batch_size)

    def _checked(self, images: Images) -> Images:
        check_images(images, "Aegis")
        good = len(images) > 0 and tuple(images.shape[1:]) == self.facts.image_shape
        rule = f"(n, {', '.join(map(str, self.facts.image_shape))}), n >= 1"
        require(good, "images", "Aegis", rule, tuple(images.shape))
        return images.detach().clamp(0, 1)

    def save(self, path: str | Path) -> str:
        """Write one safetensors file: the Shields, and as JSON all else but the classifier, with a hash over both.

        The classifier's own numbers are not in it: `load` is given the network, and compares its hash.

        Args:
            path: of the file; one that is there is replaced.

        Returns:
            The SHA-256 over tensors and JSON. The file tells it too, so it shows damage and hasty changes, not those of
            somebody who writes a new one; keep it elsewhere and give it to `load` against that.

        Raises:
            DataError: the file cannot be written.
        """
        return write_aegis(path, *self.state())

    @classmethod
    def load(cls, path: str | Path, model: nn.Module, *, sha256: str | None = None) -> Aegis:
        """The guard that `save` wrote, around the network that it was fitted on. No code is stored, none runs.

        Args:
            path: of the file.
            model: the network of the fit, with the same numbers; the Shields come to its device.
            sha256: what `save` returned, to make sure that it is that very guard; None compares only with the file.

        Raises:
            DataError: the file is missing, damaged, changed, of another format, or another guard than `sha256` says.
            InputError: `model` is another network.
        """
        stored = read_aegis(path)
        if sha256 is not None and sha256.lower() != stored.sha256:
            raise DataError(f"The guard {path} is another one: its SHA-256 is {stored.sha256}, not {sha256}.")
        found, told = network_hash(model), stored.values.get("network_hash")
        if found != told:
            raise InputError(
                f"`model` of Aegis.load must be the network that {path} was fitted on, with hash {told}, got one with "
                f"{found}. Its decisions would mean nothing. Give that network, or fit a guard for this one."
            )
        answers, shape = stored.values.get("answers"), tuple(stored.values.get("image_shape", ()))
        if answers and not says_the_same(model, shape, answers):
            raise InputError(
                f"`model` of Aegis.load must compute what it did when {path} was fitted, and has the same numbers but "
                "answers the same images otherwise: its code has changed, or what it does before its first layer. "
                "Give that code, or fit a guard for this one."
            )
        try:
            return cls.restore(model, stored.tensors, stored.values)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise DataError(f"The guard {path} is not as `Aegis.save` writes it: {error!r}. Fit it again.") from error

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON values from which `restore` makes an equal guard around the same classifier."""
        facts, plan = self.facts, self.shields.plan
        values = {
            **facts._asdict(),
            "settings": settings_to_json(facts.settings),
            "cushion": None if self.cushion is None else self.cushion.to_json(),
            "taps": plan._asdict(),
            "thresholds": self.thresholds.tolist(),
            "about": self.about,
        }
        tensors = {name: value.detach().cpu() for name, value in self.shields.state_dict().items()}
        return tensors, json.loads(json.dumps(values))

    @classmethod
    def restore(cls, model: nn.Module, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> Aegis:
        """The guard that `state` described, around `model`, which is not checked."""
        settings, taps = settings_from_json(values["settings"]), values["taps"]
        plan = TapPlan(tuple(taps["names"]), tuple(tuple(size) for size in taps["sizes"]), taps["rule"])
        shields = Shields(plan, len(values["class_names"]), width=settings.width)
        shields.load_state_dict(dict(tensors))
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        cushion = None if values["cushion"] is None else cushion_from_json(values["cushion"])
        known = {name: values[name] for name in ("network_hash", "tnr", "seed", "counts")}
        facts = AegisFacts(
            **known,
            class_names=tuple(values["class_names"]),
            image_shape=tuple(values["image_shape"]),
            settings=settings,
            calibration=tuple(tuple(own) for own in values["calibration"]),
            history=tuple(values["history"]),
            probe_auc=values.get("probe_auc"),
            answers=tuple(values.get("answers", ())),
        )
        thresholds = torch.tensor(values["thresholds"], dtype=torch.float32)
        return cls(model, shields.to(device), cushion, thresholds, facts, dict(values["about"]))

    def export_onnx(self, path: str | Path, *, images: Images | None = None) -> OnnxCheck:
        """Write classifier, Shields and thresholds as one ONNX graph, and compare it with PyTorch in onnxruntime.

        The Cushion stays outside: give the graph what `cushion.apply` makes of an image, with the same codec. The
        graph takes `images`, any number n of the shape of the fit, and gives `prediction`, `probability`, `accepted`,
        `score`, `threshold` (of that score), `logits` and `shields`. Its metadata holds under `medaegis` what `save`
        writes as JSON. Unlike `save`, it contains the classifier.

        Its numbers agree with PyTorch's to `OnnxCheck.tolerance`, so a decision may differ where it is closer than
        that; unlike the guard, the graph does not judge such an image again by itself.

        Args:
            path: of the file; one that is there is replaced.
            images: what the graph is compared on, as the guard takes them; None for noise, which shows errors of the
                export but is no likely input.

        Raises:
            InputError: `images` are not as the guard takes them.
            MedaegisError: onnx, onnxscript or onnxruntime is not installed (`pip install medaegis[onnx]`), the network
                cannot be exported, or the file cannot be written.
            NumericsError: onnxruntime gives other numbers than PyTorch; no file is left.
        """
        shape = self.facts.image_shape
        given = torch.rand((5, *shape), generator=torch.Generator().manual_seed(0)) if images is None else images
        probes = self._checked(given).cpu().float()
        seen = probes if self.cushion is None else self.cushion.apply(probes)
        return write_onnx(Shielded(self.classifier, self.shields), self.thresholds, seen, path, self.state()[1])

    def system(self) -> Shielded:
        """Classifier and Shields behind the Cushion as one network, which attacks can differentiate (BPDA)."""
        step = None if self.cushion is None else self.cushion.bpda("surrogate")
        return Shielded(self.classifier, self.shields, step)


def _checkpoint_name(cases: AegisData, cushion: Cushion | None) -> str:
    """A folder's name that stands for what `train_shields` does not compare itself: images and Cushion."""
    told = json.dumps([cases.content, None if cushion is None else cushion.to_json()])
    return f"shields-{hashlib.blake2b(told.encode(), digest_size=8).hexdigest()}"


def _calibration(
    system: Shielded, cases: AegisData, parts: AegisParts, batch_size: int
) -> tuple[tuple[float, ...], ...]:
    """By class, S of its calibration cases, from low to high; each is predicted as what it is."""
    pieces = [passes(system, cases.images(index), batch_size).shields for index in parts.calibration.split(batch_size)]
    shields, labels = torch.cat(pieces).cpu(), cases.labels[parts.calibration]
    return tuple(tuple(shields[labels == c, c].sort().values.tolist()) for c in range(shields.shape[1]))


def _counts(cases: AegisData, parts: AegisParts, trained: TrainedShields) -> dict[str, dict[str, int]]:
    used = torch.cat([parts.learn, parts.calibration])
    whole, kept = cases.counts(torch.arange(len(cases))), cases.counts(used)
    return {
        "train": cases.counts(parts.learn[trained.train]),
        "validation": cases.counts(parts.learn[trained.validation]),
        "calibration": cases.counts(parts.calibration),
        "left out": {name: n - kept[name] for name, n in whole.items()},
    }
