"""rivals-chest-xray, rivals-fundus: HFC against its competitors, HFC-21 Table 3 and HFC-23 Table II."""

from __future__ import annotations

from medaegis.experiment import HidingSettings, Recipe, hiding_plan
from medaegis_recipes._published import published
from medaegis_recipes._scale import PAPER
from medaegis_recipes.hiding import TINY, differs

RIVALS = ("hfc", "random", "closest", "kde", "lid")


def _recipe(data: str, title: str, components: int, papers: int) -> Recipe:
    return Recipe(
        name=f"rivals-{data}",
        title=f"HFC against its competitors: {title}",
        question="Which way of hiding BIM from KD and MAHA works best: HFC, a guide image, or the detector's own term?",
        settings=HidingSettings(
            size=128,
            model="resnet18",
            epochs=12,
            eps=("1/256", "2/256"),
            steps=40,
            hiding=RIVALS,
            components=(components,),
        ),
        plan=lambda settings: hiding_plan(
            settings, dataset=title, published=published("rivals", data), differs=differs(settings)
        ),
        tiny=TINY,
        paper="HFC-21 Table 3, HFC-23 Table II",
        paper_scale=PAPER | {"components": (papers,)},
    )


chest_xray = _recipe("chest-xray", "Chest X-ray", 1, 1)
fundus = _recipe("fundus", "Fundoscopy (IDRiD)", 32, 64)
