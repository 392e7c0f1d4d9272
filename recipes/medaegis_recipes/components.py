"""components: how many Gaussian components HFC needs, HFC-23 Table III, for KD and MAHA."""

from __future__ import annotations

from medaegis.experiment import HidingSettings, Recipe, hiding_plan
from medaegis_recipes._published import component_figures
from medaegis_recipes.hiding import DIFFERS, TINY

COUNTS = (1, 2, 4, 8, 16, 32, 64)

recipe = Recipe(
    name="components",
    title="HFC with 1 to 64 Gaussian components",
    question="Does HFC hide better where normal features are modelled with more components?",
    settings=HidingSettings(size=128, model="resnet18", epochs=12, eps=("1/256",), steps=40, components=COUNTS),
    plan=lambda settings: hiding_plan(
        settings,
        dataset=settings.source or "the given images",
        published=component_figures(settings.components[0]),
        differs=(*DIFFERS, "The published figures are those of Fundoscopy, for any data; K = 128 is left out."),
    ),
    tiny=TINY | {"components": (1, 4)},
    paper="HFC-23 Table III",
)
