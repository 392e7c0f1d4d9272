"""The detectors that need examples or the network's head, and cases for their laws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from medaegis.detect import BU, DNN, SVM, Detector, Examples

HEAD = nn.Linear(4, 3)
HEAD.weight.data = torch.randn(3, 4, generator=torch.Generator().manual_seed(9))

MAKERS: dict[str, Callable[[], Detector]] = {
    "SVM": SVM,
    "SVM penalty": lambda: SVM(10),
    "DNN": lambda: DNN(8, epochs=15, learning_rate=0.01),
    "DNN seed": lambda: DNN(4, epochs=5, patience=2, batch_size=7, seed=1),
    "BU": BU,
    "BU exact": lambda: BU(None),
    "BU seed": lambda: BU(9, dropout=0.5, seed=1),
}

Wrap = Callable[[Tensor], Any]


def one_layer(z: Tensor) -> Tensor:
    return z


def named_layer(z: Tensor) -> dict[str, Tensor]:
    return {"deep|relu#2": z}


def two_layers(z: Tensor) -> dict[str, Tensor]:
    return {"deep|relu#2": z, "a": torch.cat([z[:, :2] * 3, z[:, 1:]], dim=1)}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cases(n: int = 30, seed: int = 0) -> tuple[Tensor, Tensor]:
    return normal(n, 4, seed=seed), torch.tensor([2, 10, 3])[torch.arange(n) % 3]


def sides(wrap: Wrap) -> Examples:
    return Examples(wrap(normal(24, 4, seed=5)), wrap(normal(20, 4, seed=6) + 1.5))


def fit(detector: Detector, wrap: Wrap, z: Tensor | None = None, examples: Examples | None = None) -> Detector:
    known, labels = cases()
    given = sides(wrap) if examples is None else examples
    return detector.prepare(HEAD).fit(wrap(known if z is None else z), labels, examples=given)


def picked(features: Any, rows: Tensor | slice) -> Any:
    return features[rows] if isinstance(features, Tensor) else {name: z[rows] for name, z in features.items()}


def tensors_of(x: Any) -> list[Tensor]:
    if isinstance(x, Tensor):
        return [x]
    parts = x.values() if isinstance(x, dict) else (part for part in x if part is not None)
    return [tensor for part in parts for tensor in tensors_of(part)]
