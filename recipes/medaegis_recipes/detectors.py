"""detectors-chest-xray, detectors-fundus: HFC-21 Table 2 and HFC-23 Table I, all six detectors."""

from __future__ import annotations

from medaegis.experiment import HidingSettings, Recipe, hiding_plan
from medaegis_recipes._published import published
from medaegis_recipes._scale import PAPER
from medaegis_recipes.hiding import TINY, differs

SIX = ("KD", "MAHA:logistic", "LID:logistic", "SVM", "DNN", "BU")
PROTOCOL = (
    "Detectors that learn do so on 70 % of AdvTrain, thresholds come from the rest; no patient stands on two sides.",
    "Negatives are clean images and noise of each perturbation's size, positives successful adversarial examples.",
)


def _recipe(data: str, title: str, components: int, papers: int) -> Recipe:
    return Recipe(
        name=f"detectors-{data}",
        title=f"Six detectors and HFC: {title}",
        question="Which detectors notice attacks, and which still do when HFC hides them?",
        settings=HidingSettings(
            size=128,
            model="resnet18",
            epochs=12,
            attack=("bim", "pgd", "cw_linf"),
            eps=("1/256", "2/256"),
            steps=40,
            components=(components,),
            detectors=SIX,
            matrix=True,
        ),
        plan=lambda settings: hiding_plan(
            settings,
            dataset=title,
            published=published("clean-vgg16" if settings.model == "vgg16" else "hiding", data),
            differs=differs(settings, *PROTOCOL),
        ),
        tiny=TINY | {"attack": ("bim",), "components": (2,)},
        paper="HFC-21 Table 2, HFC-23 Table I",
        paper_scale=PAPER | {"components": (papers,)},
    )


chest_xray = _recipe("chest-xray", "Chest X-ray", 1, 1)
fundus = _recipe("fundus", "Fundoscopy (IDRiD)", 32, 64)
