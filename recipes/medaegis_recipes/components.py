"""components, components-fundus, components-chest-xray: how many Gaussian components HFC needs, HFC-23 Table III."""

from __future__ import annotations

from medaegis.experiment import HidingSettings, Recipe, hiding_plan
from medaegis_recipes._published import component_figures
from medaegis_recipes._scale import PAPER
from medaegis_recipes.hiding import TINY, differs

COUNTS = (1, 2, 4, 8, 16, 32, 64)
LARGE = (64, 128)
OF_FUNDUS = "The published figures are those of Fundoscopy, for any data."
FEWER = "K = {} is left out, as it needs {} cases a class."


def _recipe(
    name: str, title: str, data: str, more: tuple[str, ...], paper: str, counts: tuple[int, ...] = COUNTS
) -> Recipe:
    return Recipe(
        name=name,
        title=f"HFC with 1 to 64 Gaussian components{f': {title}' if title else ''}",
        question="Does HFC hide better where normal features are modelled with more components?",
        settings=HidingSettings(size=128, model="resnet18", epochs=12, eps=("1/256",), steps=40, components=counts),
        plan=lambda settings: hiding_plan(
            settings,
            dataset=title or settings.source or "the given images",
            published=component_figures(settings.components[0], data),
            differs=differs(settings, *more, *(FEWER.format(k, 2 * k) for k in LARGE if k not in settings.components)),
        ),
        tiny=TINY | {"components": (1, 4)},
        paper=paper,
        paper_scale=PAPER | {"components": (*COUNTS, 128)},
    )


recipe = _recipe("components", "", "fundus", (OF_FUNDUS,), "HFC-23 Table III")
fundus = _recipe("components-fundus", "Fundoscopy (IDRiD)", "fundus", (), "HFC-23 Table III", COUNTS[:-1])
chest_xray = _recipe("components-chest-xray", "Chest X-ray", "chest-xray", (), "HFC-21 supplement Table 1")
