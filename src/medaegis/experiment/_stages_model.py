"""Stages from images to a trained classifier, its features and the cases that attacks and detectors work on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medaegis._errors import DataError, InputError, require
from medaegis._types import Tapped
from medaegis.data import AdversarialSplit, Dataset, check_no_leak, split_adversarial, split_from_json, split_to_json
from medaegis.density import MixtureBank, fit_bank, fit_released_bank
from medaegis.detect import extract
from medaegis.experiment._adversarial_training import pgd_adversary
from medaegis.experiment._context import Context
from medaegis.experiment._stage import Result, Stage, unkeyed
from medaegis.experiment._stages_data import SplitCases, cases_at
from medaegis.measure import auc, share
from medaegis.models import KINETICS, PENULTIMATE, Cases, Taps, TrainSettings, build_model, frozen, train_classifier

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Classifier(Stage):
    """A classifier trained on Train, or the user's own, with its figures on Test.

    Args:
        split: the cases.
        model: as `build_model` takes it.
        weights_hash: hash of the weights' file, "imagenet", or "".
        network_hash: `own_hash` of the user's own network, "" for a named one.
        train: how to train; None takes the model as its factory returns it (with its weights, if any).
        seed: of initialisation, order and augmentation.
        train_eps: Linf budget of adversarial training, 0 for training on the images themselves.
        train_steps: of PGD in adversarial training.
        weights: path of the weights, "imagenet", or None.
    """

    split: SplitCases
    model: str = "resnet18"
    weights_hash: str = ""
    network_hash: str = ""
    train: TrainSettings | None = field(default_factory=TrainSettings)
    seed: int = 0
    train_eps: float = 0.0
    train_steps: int = 5
    weights: str | None = unkeyed(None)
    version: ClassVar[int] = 2  # 2: a weights file's own head is loaded where its classes fit

    def compute(self, context: Context) -> Result:
        """Train and judge."""
        data, split = self.split.images.dataset(context), self.split.split(context)
        built = build_model(self.model, classes=len(data.class_names), weights=self.weights, seed=self.seed)
        model = built.model.to(context.device)
        check_network(model, data, self.model, context)
        history: tuple[dict[str, float], ...] = ()
        if self.train is not None:
            scratch = context.store.scratch(self)
            parts = [_lazy_cases(data, split.train, context), _lazy_cases(data, split.validation, context)]
            trained = train_classifier(
                model,
                *parts,
                settings=self.train,
                seed=self.seed,
                adversary=pgd_adversary(self.train_eps, self.train_steps) if self.train_eps else None,
                checkpoint=scratch,
                progress=context.progress,
            )
            model.load_state_dict(trained.state)
            history = trained.history
        logits = predict(model, data.tensor(split.test), context)
        loaded = built.report.summary() if built.report else "no weights file"
        info = {"history": history, "loaded": loaded, "test": clean_figures(logits, data, split.test)}
        return Result({f"state.{k}": v for k, v in model.state_dict().items()} | {"test_logits": logits}, info)

    def load(self, context: Context) -> nn.Module:
        """The trained network in evaluation mode on the context's device."""
        stored = context.get(self)
        classes = stored.tensors["test_logits"].shape[1]
        model = build_model(self.model, classes=classes, seed=self.seed).model
        model.load_state_dict(
            {k.removeprefix("state."): v for k, v in stored.tensors.items() if k.startswith("state.")}
        )
        return model.to(context.device).eval()


def check_network(model: nn.Module, data: Dataset, name: str, context: Context) -> None:
    """Raise `InputError` before any long work if the network does not fit the images or the classes."""
    try:
        logits = predict(model, data.tensor(np.arange(1)), context)
    except RuntimeError as error:
        raise InputError(f"`model` {name} cannot take images of shape {data.images.shape[1:]}: {error}") from error
    wanted, got = f"logits of shape (n, {len(data.class_names)})", tuple(logits.shape)
    require(
        got == (1, len(data.class_names)),
        "model",
        name,
        f"a network with {wanted}",
        got,
        f"Classes: {data.class_names}.",
    )


def _lazy_cases(data: Dataset, index: Index, context: Context) -> Cases:
    places = torch.as_tensor(index)
    labels = torch.as_tensor(data.labels[index]).to(context.device)

    def images(rows: Tensor) -> Tensor:
        return data.tensor(places[rows].numpy()).to(context.device)

    return Cases(images, labels)


def clean_figures(logits: Tensor, data: Dataset, test: Index) -> dict[str, list[float]]:
    """Clean accuracy and (one class against the rest, averaged) AUC, in percent: value, low, high, n."""
    labels, groups = data.labels[test], [data.groups[i] for i in test]
    right = share(logits.argmax(dim=1).cpu().numpy() == labels, groups=groups)
    found = {"clean accuracy": [100 * right.value, 100 * right.low, 100 * right.high, right.n]}
    probability = logits.softmax(dim=1).cpu().double().numpy()
    areas = []
    for label in range(1 if probability.shape[1] == 2 else 0, probability.shape[1]):
        rest, own = labels != label, labels == label
        order = [*np.flatnonzero(rest), *np.flatnonzero(own)]
        patients = [groups[i] for i in order]
        areas.append(auc(probability[rest, label], probability[own, label], groups=patients))
    ends = [100 * float(np.mean([area[i] for area in areas])) for i in range(3)]
    return found | {"clean AUC": [*ends, len(test)]}


def predict(model: nn.Module, images: Tensor, context: Context) -> Tensor:
    """Logits (n, k) on CPU."""
    with frozen(model), torch.no_grad():
        parts = [model(batch.to(context.device)).cpu() for batch in images.split(context.batch_size)]
    return torch.cat(parts)


@dataclass(frozen=True)
class AdversarialCases(Stage):
    """AdvTrain and AdvTest: the test cases that the classifier gets right, split 70 : 30."""

    classifier: Classifier
    train_share: float = 0.7
    seed: int = 0

    def compute(self, context: Context) -> Result:
        """Drop wrong predictions, split the rest by the same rule as Train and Test."""
        cases = self.classifier.split
        data, split = cases.images.dataset(context), cases.split(context)
        right = right_cases(self.classifier, context)
        found = split_adversarial(
            right, data.labels, data.groups, train_share=self.train_share, by=cases.by, seed=self.seed
        )
        return Result(
            {}, {"split": json.loads(split_to_json(found, data.names)), "dropped": len(split.test) - len(right)}
        )

    def split(self, context: Context) -> AdversarialSplit:
        """The stored split, checked against Train for leaks.

        Raises:
            LeakError: a case or patient stands on two sides.
        """
        cases = self.classifier.split
        data = cases.images.dataset(context)
        found = split_from_json(json.dumps(context.get(self).info["split"]), data.names, AdversarialSplit)
        whole = cases.split(context)
        parts = {"Train": whole.train, "AdvTrain": found.train, "AdvTest": found.test}
        check_no_leak(parts, data.groups, by=cases.by)
        return found


@dataclass(frozen=True)
class DetectorCases(Stage):
    """AdvTrain in two, no patient divided: what detectors learn attacks from (train), what sets thresholds (test)."""

    cases: AdversarialCases
    learn_share: float = 0.7
    seed: int = 0

    def compute(self, context: Context) -> Result:
        """Split by the same rule as AdvTrain and AdvTest."""
        cases = self.cases.classifier.split
        data, candidates = cases.images.dataset(context), self.cases.split(context).train
        found = split_adversarial(
            candidates, data.labels, data.groups, train_share=self.learn_share, by=cases.by, seed=self.seed
        )
        return Result({}, {"split": json.loads(split_to_json(found, data.names))})

    def split(self, context: Context) -> AdversarialSplit:
        """The stored split, checked against Train and AdvTest for leaks.

        Raises:
            LeakError: a case or patient stands on two sides.
        """
        cases = self.cases.classifier.split
        data = cases.images.dataset(context)
        found = split_from_json(json.dumps(context.get(self).info["split"]), data.names, AdversarialSplit)
        parts = {"Train": cases.split(context).train, "AdvTest": self.cases.split(context).test}
        check_no_leak(parts | {"learning": found.train, "calibration": found.test}, data.groups, by=cases.by)
        return found


def right_cases(classifier: Classifier, context: Context) -> Index:
    """Positions of the test cases that the classifier gets right.

    Raises:
        DataError: they are too few of a class.
    """
    data, test = classifier.split.images.dataset(context), classifier.split.split(context).test
    predicted = context.get(classifier).tensors["test_logits"].argmax(dim=1).numpy()
    right = test[predicted == data.labels[test]]
    _check_right(right, test, data)
    return right


def _check_right(right: Index, test: Index, data: Dataset) -> None:
    """Raise `DataError` where the classifier gets too few cases of a class right to attack them and fit detectors."""
    classes = range(len(data.class_names))
    counts = {
        data.class_names[c]: (int((data.labels[right] == c).sum()), int((data.labels[test] == c).sum()))
        for c in classes
    }
    poor = ", ".join(f"{good} of {all_} of {name}" for name, (good, all_) in counts.items() if good < 2)
    if poor:
        raise DataError(
            f"The classifier must get at least two test cases of each class right, got {poor}. "
            "Train it longer (--set epochs=N), on more cases, or check its weights."
        )


@dataclass(frozen=True)
class TrainFeatures(Stage):
    """Logits and features of every activation and of the penultimate layer on Train.

    Args:
        classifier: whose features, on its own Train.
        penultimate: whether there is a penultimate layer; a network without a dense layer has none.
    """

    classifier: Classifier
    penultimate: bool = True

    def compute(self, context: Context) -> Result:
        """One pass over Train."""
        cases = self.classifier.split
        images, labels = cases_at(cases.images.dataset(context), cases.split(context).train)
        model = self.classifier.load(context)
        names = None if self.penultimate else Taps(model).names(images[:1].to(context.device))
        tapped = features_of(model, images, context, names)
        tensors = {f"layer.{name}": z for name, z in tapped.features.items()}
        return Result(tensors | {"logits": tapped.logits, "labels": labels}, {"layers": list(tapped.features)})

    def check_components(self, components: int, context: Context) -> None:
        """Raise `InputError` where a class has too few Train cases for so many components; only the split is needed."""
        cases = self.classifier.split
        data = cases.images.dataset(context)
        found, sizes = np.unique(data.labels[cases.split(context).train], return_counts=True)
        most, rare = int(sizes.min()) // 2, data.class_names[found[sizes.argmin()]]
        rule = f"at most {most}: two Train cases of each class a component, and {rare} has {sizes.min()}"
        require(components <= most, "components", "recipe", rule, components, "Take fewer with --set components=K.")

    def features(self, context: Context) -> tuple[dict[str, Tensor], Tensor]:
        """Features by layer, in the network's order, the penultimate one, if any, last; and labels."""
        tensors, info = context.get(self)
        return {name: tensors[f"layer.{name}"] for name in info["layers"]}, tensors["labels"]


def features_of(model: nn.Module, images: Tensor, context: Context, layers: Sequence[str] | None = None) -> Tapped:
    """Logits and features of images, on CPU: of the named layers, or every activation and then the penultimate one."""
    names = layers or [*Taps(model).names(images[:1].to(context.device)), PENULTIMATE]
    with torch.no_grad():
        parts = [extract(model, batch.to(context.device), names) for batch in images.split(context.batch_size)]
    found = {name: torch.cat([part.features[name].cpu() for part in parts]) for name in names}
    return Tapped(torch.cat([part.logits.cpu() for part in parts]), found)


@dataclass(frozen=True)
class Bank(Stage):
    """Gaussian mixtures of the Train features by layer and class; see `medaegis.density.fit_bank`.

    Args:
        features: on Train.
        components: K.
        seed: of starts and held-out cases.
        released: fit as the code released with HFC-21 does (`fit_released_bank`).
    """

    features: TrainFeatures
    components: int = 1
    seed: int = 0
    released: bool = False
    version: ClassVar[int] = 3  # 2: factored form, a component's prior chosen on held-out cases; 3: still channels

    def compute(self, context: Context) -> Result:
        """Fit by EM; the penultimate vector is left out where it repeats the last activation."""
        layers, labels = self.features.features(context)
        head, others = layers.get(PENULTIMATE), {name: z for name, z in layers.items() if name != PENULTIMATE}
        if head is not None and any(torch.equal(head, z) for z in others.values()):
            layers = others
        generator = torch.Generator().manual_seed(self.seed)
        fit = fit_released_bank if self.released else fit_bank
        bank = fit(layers, labels, components=self.components, generator=generator)
        return Result(bank.tensors(), {"layers": list(bank.layers)})

    @property
    def basis(self) -> tuple[Stage, ...]:
        """The split."""
        return (self.features.classifier.split,)

    def check(self, context: Context) -> None:
        """Each class needs two Train cases a component."""
        self.features.check_components(self.components, context)

    def bank(self, context: Context) -> MixtureBank:
        """The stored mixtures."""
        tensors, info = context.get(self)
        return MixtureBank.from_tensors(tensors, tuple(info["layers"]))


def file_hash(path: str | Path | None) -> str:
    """Hash of a weights file's content; "imagenet", "kinetics" and None stand for themselves.

    Raises:
        DataError: the file cannot be read.

    Example:
        >>> file_hash(None), file_hash("imagenet")
        ('', 'imagenet')
    """
    if path in (None, "imagenet", KINETICS):
        return str(path or "")
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise DataError(f"The weights file {path} cannot be read: {error.strerror}.") from error
