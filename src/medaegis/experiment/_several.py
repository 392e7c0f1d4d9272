"""Experiments that compare data sets: one classifier each, of one architecture, trained alike from the same start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import Field

from medaegis._errors import require
from medaegis.experiment._content import Row, percent
from medaegis.experiment._context import Context
from medaegis.experiment._facts import data_facts, estimates, model_facts, notes_of
from medaegis.experiment._network_settings import Names, NetworkSettings, classifier_stage
from medaegis.experiment._stages_cushion import shown_model
from medaegis.experiment._stages_data import PHANTOM
from medaegis.experiment._stages_model import Classifier

TITLES = {
    "chest_xray": "Chest X-ray",
    "fundus": "Fundoscopy",
    "cifar10": "CIFAR-10",
    "phantom-chest": "Chest phantoms",
    "phantom-fundus": "Fundus phantoms",
    "phantom-brain": "Head-CT phantoms",
}


AnyNetwork = TypeVar("AnyNetwork", bound=NetworkSettings)


class SeveralSettings(NetworkSettings):
    """Data sets side by side; every field can be set with `--set field=value`.

    Example:
        >>> SeveralSettings(sets=["fundus", "cifar10"]).sets
        ('fundus', 'cifar10')
    """

    data: str | None = Field(None, description="folder that holds a folder for each of the data sets")
    sets: Names = Field(("fundus", "chest_xray", "cifar10"), description="folders in it, and phantoms by name")
    images: int = Field(100, ge=2, description="most test images of each data set")


def set_title(name: str) -> str:
    """What tables call a data set.

    Example:
        >>> set_title("fundus"), set_title("mine")
        ('Fundoscopy', 'mine')
    """
    return TITLES.get(name, name)


def classifiers_of(settings: SeveralSettings) -> dict[str, Classifier]:
    """One classifier a data set, by name; files are listed and hashed here, nothing long is done.

    Raises:
        InputError: a name comes twice, `source` is given, or a folder is needed and not given.
        DataError: data or weights cannot be used.

    Example:
        >>> small = SeveralSettings(sets="phantom-chest", model="small-resnet", weights=None, size=32)
        >>> list(classifiers_of(small))
        ['phantom-chest']
    """
    names = settings.sets
    require(len(set(names)) == len(names) > 0, "sets", "recipe", "different names of data sets", names)
    fix = "The layout of each is recognised; name phantoms among the sets."
    require(settings.source is None, "source", "recipe", "left out where there are several sets", settings.source, fix)
    return {name: classifier_stage(settings_of(settings, name)) for name in names}


def settings_of(settings: AnyNetwork, name: str) -> AnyNetwork:
    """The settings of one data set: a phantom, or its folder below that of the settings.

    Example:
        >>> known = NetworkSettings(data="images")
        >>> settings_of(known, "cifar10").data, settings_of(known, "phantom-chest").source
        ('images/cifar10', 'phantom-chest')
    """
    if name.startswith(PHANTOM):
        return settings.model_copy(update={"source": name, "data": None})
    folder = None if settings.data is None else str(Path(settings.data) / name)
    return settings.model_copy(update={"data": folder})


def clean_rows(classifiers: Mapping[str, Classifier], context: Context) -> list[Row]:
    """The classifiers' clean figures as table rows."""
    empty = {"attack": "", "eps": "", "hfc": "", "detector": "", "published": None}
    return [
        Row(dataset=set_title(name), model=shown_model(classifier), metric=metric, **empty, **percent(figure))
        for name, classifier in classifiers.items()
        for metric, figure in estimates(context.get(classifier).info["test"]).items()
    ]


def several_facts(classifiers: Mapping[str, Classifier], by: str, context: Context) -> dict[str, Any]:
    """Data, model and warnings of all data sets as one entry of manifest.json; classes and parts carry the set's name.

    Args:
        classifiers: by name of the data set.
        by: "patient" or "image".
        context: where their results are.
    """
    facts = {name: _facts_of(classifier, context) for name, classifier in classifiers.items()}
    every = list(facts.values())
    data: dict[str, Any] = {key: ", ".join(dict.fromkeys(str(f[key]) for f in every if f[key])) for key in _TEXTS}
    data |= {"n": sum(f["n"] for f in every), "skipped": [item for f in every for item in f["skipped"]]}
    for key in ("classes", "split"):
        data[key] = {f"{set_title(name)}, {part}": n for name, f in facts.items() for part, n in f[key].items()}
    data["split"]["by"] = by
    models = [model_facts(classifier, context) for classifier in classifiers.values()]
    return {
        "data": data,
        "model": {key: ", ".join(dict.fromkeys(model[key] for model in models)) for key in models[0]},
        "adaptive": None,
        "scores": False,
        "warnings": [f"{set_title(name)}: {note}" for name, f in facts.items() for note in f["remarks"]],
        "history": {name: context.get(classifier).info["history"] for name, classifier in classifiers.items()},
    }


_TEXTS = ("source", "root", "fingerprint")


def _facts_of(classifier: Classifier, context: Context) -> dict[str, Any]:
    images = classifier.split.images
    data = images.dataset(context)
    parts = classifier.split.split(context)._asdict()
    sizes: dict[str, int | str] = {name: len(index) for name, index in parts.items()}
    return data_facts(images, data, sizes) | {"remarks": notes_of(data) + _weak(classifier, data.labels, context)}


def _weak(classifier: Classifier, labels: np.ndarray[Any, np.dtype[np.int64]], context: Context) -> list[str]:
    """A warning where the classifier is no better than naming the most frequent class."""
    test = labels[classifier.split.split(context).test]
    accuracy = context.get(classifier).info["test"]["clean accuracy"][0]
    usual = 100 * np.bincount(test).max() / len(test)
    if accuracy > usual:
        return []
    return [
        f"the classifier gets {accuracy:.1f} % right, no more than always naming the most frequent class "
        f"({usual:.1f} %), so little follows from its features. Train it longer (--set epochs=N)."
    ]
