"""Parts of the papers' tables: a recipe by subject on each data set, and tiny versions with one classifier for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from medaegis.experiment import Part, Recipe, Row

TINY = {
    "cases": 240, "size": 32, "epochs": 12, "train_batch": 16, "learning_rate": 2e-3,
    "model": "small-resnet", "weights": None,
}  # fmt: skip
"""What every tiny part has alike, so that its classifier is trained once."""


def on(
    folder: str,
    recipe: Recipe,
    changes: Mapping[str, Any],
    tiny: Mapping[str, Any],
    label: str = "",
    rows: Callable[[Row], Row | None] | None = None,
) -> tuple[Part, ...]:
    """A recipe on one data set; tiny, on phantoms of its kind."""
    phantom = "phantom-fundus" if folder == "fundus" else "phantom-chest"
    return (Part(recipe, folder, changes, TINY | {"source": phantom} | dict(tiny), label=label, rows=rows),)


def both(
    fundus: Recipe,
    chest_xray: Recipe,
    changes: Mapping[str, Any] | None = None,
    tiny: Mapping[str, Any] | None = None,
) -> tuple[Part, ...]:
    """Two recipes by subject, as the papers' tables have their data sets."""
    given = dict(changes or {}), dict(tiny or {})
    return (*on("fundus", fundus, *given), *on("chest_xray", chest_xray, *given))


def vgg16(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The same parts, and each with VGG-16 where the scale is the papers'."""
    more = {"model": "vgg16"}
    return (*parts, *(Part(p.recipe, p.folder, {**p.changes, **more}, {}, f"{p.shown}-vgg16", "paper") for p in parts))


def several(recipe: Recipe, sets: tuple[str, ...], changes: Mapping[str, Any] | None = None) -> tuple[Part, ...]:
    """A recipe that reads several data sets itself; tiny, on both kinds of phantoms."""
    phantoms = {"sets": ("phantom-chest", "phantom-fundus")[: len(sets)], "images": 6, "steps": 5}
    return (Part(recipe, "", {"sets": sets, **(changes or {})}, TINY | phantoms),)


def among_detectors(row: Row) -> Row | None:
    """A figure of the Shield as Aegis Table 2 has it: a detector's, of an attack that HFC hides."""
    attack, hidden, _ = row.attack.partition(" + HFC")
    if not hidden or row.metric not in ("AUC", "TPR@90", "undetected"):
        return None
    cushioned = row.model if row.detector.startswith("Shield") else f"{row.model} behind jpeg:80"
    return row._replace(attack=attack, hfc="with", model=cushioned)
