"""white-box-chest-xray, white-box-fundus: an attacker who knows each of six detectors in full."""

from __future__ import annotations

from medaegis.experiment import HidingSettings, Recipe, hiding_plan
from medaegis_recipes._scale import PAPER
from medaegis_recipes.detectors import PROTOCOL, SIX
from medaegis_recipes.hiding import TINY, differs


def _recipe(data: str, title: str, components: int, papers: int) -> Recipe:
    return Recipe(
        name=f"white-box-{data}",
        title=f"White-box attacks on six detectors: {title}",
        question="What is left of each detector once an attacker follows its own score?",
        settings=HidingSettings(
            size=128,
            model="resnet18",
            epochs=12,
            attack=("pgd",),
            eps=("1/256", "2/256"),
            steps=40,
            components=(components,),
            hiding=("hfc", "white-box", "white-box-selective", "white-box-orthogonal"),
            detectors=SIX,
        ),
        plan=lambda settings: hiding_plan(
            settings,
            dataset=title,
            differs=differs(settings, *PROTOCOL),
        ),
        tiny=TINY | {"components": (2,), "hiding": ("hfc", "white-box")},
        paper_scale=PAPER | {"components": (papers,)},
    )


chest_xray = _recipe("chest-xray", "Chest X-ray", 1, 1)
fundus = _recipe("fundus", "Fundoscopy (IDRiD)", 32, 64)
