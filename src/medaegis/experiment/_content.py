"""What a finished run has to say, before it becomes files: rows, scores, pictures and facts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from torch import Tensor

from medaegis.measure import Estimate

Sheet = list[dict[str, Any]]


class Row(NamedTuple):
    """One line of table.csv; value and interval in percent, `published` None where the papers have no such figure."""

    dataset: str
    model: str
    attack: str
    eps: str
    hfc: str
    detector: str
    metric: str
    value: float
    ci_low: float
    ci_high: float
    n: int
    published: float | None


def percent(estimate: Estimate) -> dict[str, Any]:
    """An estimate as the last columns of a row.

    Example:
        >>> percent(Estimate(0.5, 0.25, 0.75, 4))
        {'value': 50.0, 'ci_low': 25.0, 'ci_high': 75.0, 'n': 4}
    """
    value, low, high = (100 * end for end in estimate[:3])
    return {"value": value, "ci_low": low, "ci_high": high, "n": estimate.n}


def said_of(logits: Tensor, names: Sequence[str]) -> dict[str, Any]:
    """What a classifier says of one case by its logits (k,), as galleries have it.

    Example:
        >>> import torch
        >>> said_of(torch.tensor([0.0, 0.0, 9.0]), ["a", "b", "c"])["prediction"]
        'c'
    """
    probability = logits.softmax(dim=0)
    best = int(probability.argmax())
    return {"prediction": names[best], "probability": float(probability[best])}


class GalleryColumn(NamedTuple):
    """One attack on every case of the gallery.

    Attributes:
        facts: title, attack, eps, hfc, predictions, probabilities and verdicts, as gallery.json has them.
        images: (m, c, h, w).
    """

    facts: dict[str, Any]
    images: Tensor


class Gallery(NamedTuple):
    """A few cases as pictures.

    Attributes:
        cases: name, label, prediction and probability of each.
        clean: (m, c, h, w), or (m, c, d, h, w).
        columns: one for each attack.
    """

    cases: list[dict[str, Any]]
    clean: Tensor
    columns: list[GalleryColumn]


class Joint(NamedTuple):
    """One part of a run that joins several: a folder of its own with a page of its own.

    Attributes:
        name: of the folder.
        manifest: what differs from the whole run's manifest: title, question, settings.
        content: what goes into it.
    """

    name: str
    manifest: dict[str, Any]
    content: Content


@dataclass(frozen=True)
class Content:
    """Everything that goes into a run folder.

    Args:
        rows: the table.
        cases: per-case scores, one dictionary a line of cases.parquet.
        facts: what the plan adds to manifest.json: data, model, checks, warnings, differs, adaptive.
        gallery: pictures, or None.
        embedding: lines of embedding.parquet: x, y, group, case, and picture: a small PNG.
        layers: lines of layers.csv: measure, layer, variant, value, low, high.
        sheets: further tables by name: `matrix` becomes matrix.csv; those without lines are left out.
        columns: of cases.parquet where they are not the detectors' scores; there is then a cases.csv too.
        more: writes further files into the run's folder.
        parts: of a run that joins several.
    """

    rows: list[Row]
    cases: list[dict[str, Any]]
    facts: dict[str, Any]
    gallery: Gallery | None = None
    embedding: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    layers: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    sheets: dict[str, Sheet] = field(default_factory=dict[str, Sheet])
    columns: pa.Schema | None = None
    more: Callable[[Path], None] | None = None
    parts: tuple[Joint, ...] = ()
