"""What every run says of its data and its network, for manifest.json and the first rows of the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from medaegis.data import Dataset
from medaegis.experiment._context import Context
from medaegis.experiment._stages_cushion import shown_model
from medaegis.experiment._stages_data import Images
from medaegis.experiment._stages_model import AdversarialCases, Classifier
from medaegis.measure import Estimate


def data_facts(images: Images, data: Dataset, split: Mapping[str, int | str]) -> dict[str, Any]:
    """Where the images came from, how many each class has, how they were divided, and which were left out.

    Example:
        >>> from medaegis.experiment._stages_data import Images
        >>> from medaegis.data import load_dataset
        >>> data = load_dataset(None, source="phantom-chest", size=32, n=4)
        >>> data_facts(Images("phantom-chest", "", 32, n=4), data, {})["fingerprint"]
        '4 phantoms drawn with seed 0'
    """
    counts = np.bincount(data.labels, minlength=len(data.class_names)).tolist()
    return {
        "source": images.source,
        "root": images.root,
        "fingerprint": images.content or f"{images.n} phantoms drawn with seed {images.seed}",
        "n": len(data),
        "classes": dict(zip(data.class_names, counts, strict=True)),
        "split": dict(split),
        "skipped": [skipped._asdict() for skipped in data.skipped],
    }


def notes_of(data: Dataset) -> list[str]:
    """What reading the images had to say, as warnings."""
    return [f"{note.name}: {note.text}" for note in data.notes]


def split_facts(cases: AdversarialCases, by: str, context: Context) -> dict[str, int | str]:
    """Sizes of all parts, and whether patients or images were divided."""
    adversarial = cases.split(context)
    sizes = {name: len(index) for name, index in cases.classifier.split.split(context)._asdict().items()}
    return sizes | {"adv_train": len(adversarial.train), "adv_test": len(adversarial.test), "by": by}


def model_facts(classifier: Classifier, context: Context) -> dict[str, str]:
    """The network, with the Cushion before it, and where its weights came from."""
    return {
        "name": shown_model(classifier),
        "weights": classifier.weights or "random initialisation",
        "weights_hash": classifier.weights_hash,
        "loaded": str(context.get(classifier).info["loaded"]),
    }


def estimates(figures: Mapping[str, list[float]]) -> dict[str, Estimate]:
    """Figures as a stage stores them (value, low, high in percent, and n) as estimates.

    Example:
        >>> estimates({"clean accuracy": [90.0, 80.0, 100.0, 10]})["clean accuracy"].value
        0.9
    """
    return {
        name: Estimate(value / 100, low / 100, high / 100, int(n)) for name, (value, low, high, n) in figures.items()
    }
