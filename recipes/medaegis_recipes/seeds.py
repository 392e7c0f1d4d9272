"""seeds-chest-xray, seeds-fundus: how far figures of six detectors and HFC move with splits, training and starts."""

from __future__ import annotations

from medaegis.experiment import Recipe, SeedsSettings, seeds_plan
from medaegis_recipes._published import published
from medaegis_recipes._scale import PAPER
from medaegis_recipes.detectors import PROTOCOL, SIX
from medaegis_recipes.hiding import TINY, differs


def _recipe(data: str, title: str, components: int, papers: int) -> Recipe:
    return Recipe(
        name=f"seeds-{data}",
        title=f"Six detectors and HFC under three seeds: {title}",
        question="Do the figures stand when patients are split, the classifier trained and attacks started anew?",
        settings=SeedsSettings(
            size=128,
            model="resnet18",
            epochs=12,
            eps=("1/256", "2/256"),
            steps=40,
            components=(components,),
            detectors=SIX,
            seeds=(0, 1, 2),
            checks=0,
        ),
        plan=lambda settings: seeds_plan(
            settings,
            dataset=title,
            published=published("hiding", data),
            differs=differs(settings, *PROTOCOL),
        ),
        tiny=TINY | {"components": (2,), "seeds": (0, 1)},
        paper="HFC-21 Table 2, HFC-23 Table I",
        paper_scale=PAPER | {"components": (papers,)},
    )


chest_xray = _recipe("chest-xray", "Chest X-ray", 1, 1)
fundus = _recipe("fundus", "Fundoscopy (IDRiD)", 32, 64)
