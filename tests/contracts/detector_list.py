"""The one list of all detectors, and the cases on which their laws are tested."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from medaegis.detect import BU, DNN, KD, KNN, LID, MAHA, MVG, SVM, Combined, Detector, Examples, HFCScore

MAKERS: dict[str, Callable[[], Detector]] = {
    "KD": KD,
    "KD median": lambda: KD("median"),
    "KD 1.0": lambda: KD(1.0),
    "KD centred": lambda: KD(centred=True),
    "MAHA": MAHA,
    "MAHA seed 1": lambda: MAHA(seed=1),
    "MAHA magnitude": lambda: MAHA(magnitude=1 / 256),
    "HFC": HFCScore,
    "HFC seed 1": lambda: HFCScore(seed=1),
    "LID 5": lambda: LID(5),  # some laws have six cases
    "LID 5 of 30": lambda: LID(5, minibatch=30, seed=1),
    "KNN 2": lambda: KNN(2),  # some laws have two cases a class
    "KNN 1": lambda: KNN(1),
    "KNN among all": lambda: KNN(5, by_class=False),
    "MVG": MVG,
    "MVG by class": lambda: MVG(by_class=True, seed=1),
    "SVM": SVM,
    "SVM penalty": lambda: SVM(10),
    "DNN": lambda: DNN(8, epochs=15, learning_rate=0.01),  # short, as training is slow
    "DNN seed": lambda: DNN(4, epochs=10, patience=4, learning_rate=0.03, batch_size=7, seed=1),
    "DNN maps": lambda: DNN(6, maps=2, epochs=15, learning_rate=0.02),
    "BU": BU,
    "BU exact": lambda: BU(None),
    "BU seed": lambda: BU(9, dropout=0.5, seed=1),
    "Combined MAHA": lambda: Combined(MAHA()),
    "Combined MAHA magnitude": lambda: Combined(MAHA(magnitude=1 / 256)),
    "Combined LID": lambda: Combined(LID(5)),
    "Combined KD": lambda: Combined(KD()),
    "Combined KD mean": lambda: Combined(KD(), how="mean"),
    "Combined DNN maps": lambda: Combined(DNN(4, maps=2, epochs=15, learning_rate=0.02)),
    "Combined SVM": lambda: Combined(SVM()),
}
CLASSES = (2, 10, 3)
"""Three classes that are no ranks, two of which sort differently as text."""

AnyFeatures = Tensor | dict[str, Tensor]
Wrap = Callable[[Tensor], Any]


def innermost(detector: Detector) -> Detector:
    return innermost(detector.detector) if isinstance(detector, Combined) else detector


def first_of_each_class() -> dict[type[Detector], Callable[[], Detector]]:
    """One maker for each class of detector: the first of the list."""
    return {type(make()): make for make in reversed(MAKERS.values())}


def reads_predicted(detector: Detector) -> bool:
    read = innermost(detector)
    return read.by_class if isinstance(read, KNN | MVG) else isinstance(read, KD | HFCScore)


def head(d: int) -> nn.Linear:
    """A last dense layer of d channels and three classes, for BU."""
    layer = nn.utils.skip_init(nn.Linear, d, 3)
    layer.weight.data = normal(3, d, seed=9)
    layer.bias.data = torch.zeros(3)
    return layer


def ready(detector: Detector) -> Detector:
    """The detector, whose `fit` makes what it is not given: examples from the features, and for BU a head."""
    fit = detector.fit

    def complete(features: AnyFeatures, labels: Tensor, *, examples: Examples | None = None) -> Detector:
        read = innermost(detector)
        if isinstance(read, BU) and read.head_ is None:
            read.prepare(head(tensors_of(features)[0].shape[1]))
        given = examples_of(features, labels) if examples is None and detector.learns_attacks else examples
        return fit(features, labels, examples=given)

    detector.fit = complete  # type: ignore[method-assign]
    return detector


def examples_of(features: AnyFeatures, labels: Tensor) -> Examples:
    """Negatives near the features, and positives beyond all classes."""

    def near(z: Tensor) -> Tensor:
        return z.double() + 0.5 * normal(*z.shape, seed=9).to(z.device)

    if isinstance(features, Tensor):
        return Examples(near(features), near(features) + 25, labels, labels)
    parts = {name: near(z) for name, z in features.items()}
    return Examples(parts, {name: z + 25 for name, z in parts.items()}, labels, labels)


def one_layer(z: Tensor) -> Tensor:
    return z


def named_layer(z: Tensor) -> dict[str, Tensor]:
    return {"deep|relu#2": z}


def two_layers(z: Tensor) -> dict[str, Tensor]:
    return {"deep|relu#2": z, "a": torch.cat([z[:, :2] * 3, z[:, 1:]], dim=1)}


def shaped(detector: Detector, wrap: Wrap) -> Wrap:
    """`wrap` of features (n, d), or of maps with these means where the detector takes maps."""
    side = detector.map_side
    if side is None:
        return wrap
    weights = torch.ones(side, side)
    weights[0, 0], weights[-1, -1] = 0.5, 1.5

    return lambda z: wrap(z.reshape(*z.shape, 1, 1) * weights.to(z))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cases(n: int = 60, d: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features (n, d) and labels of three classes, in turn."""
    place = torch.arange(n) % 3
    return normal(n, d, seed=seed) + 6 * place[:, None], torch.tensor(CLASSES)[place]


def picked(features: AnyFeatures, rows: Tensor | slice) -> AnyFeatures:
    if isinstance(features, Tensor):
        return features[rows]
    return {name: z[rows] for name, z in features.items()}


def tensors_of(features: AnyFeatures) -> list[Tensor]:
    return [features] if isinstance(features, Tensor) else list(features.values())
