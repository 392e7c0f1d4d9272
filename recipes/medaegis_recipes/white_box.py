"""white-box-chest-xray, white-box-fundus: an attacker who knows each of six detectors in full."""

from __future__ import annotations

from medaegis.experiment import HidingSettings, Recipe, hiding_plan
from medaegis_recipes.detectors import PROTOCOL, SIX
from medaegis_recipes.hiding import DIFFERS, TINY


def _recipe(data: str, title: str, components: int) -> Recipe:
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
            differs=(*(text for text in DIFFERS if "MAHA" not in text), *PROTOCOL),
        ),
        tiny=TINY | {"components": (2,), "hiding": ("hfc", "white-box")},
    )


chest_xray = _recipe("chest-xray", "Chest X-ray", 1)
fundus = _recipe("fundus", "Fundoscopy (IDRiD)", 32)
