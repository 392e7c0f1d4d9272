"""hiding-chest-xray, hiding-fundus: HFC-21 Table 2 and HFC-23 Table I for KD and MAHA, at a scale for two cores."""

from __future__ import annotations

from medaegis.experiment import HidingSettings, Recipe, hiding_plan
from medaegis_recipes._published import published

ATTACKS = ("bim", "pgd", "cw_linf", "mim", "tim")
DIFFERS = (
    "ResNet-18 at 128 px, where the papers have ResNet-50 at 256 px: less vulnerable at 1/256.",
    "40 steps of 2 eps / 40, where the papers have 2 eps / (0.02/256) steps of 0.02/256.",
    "MAHA averages its distance over layers, where the papers follow Lee et al. (logistic regression).",
    "Covariances are shrunk (the papers do not say how theirs were regularised).",
)
TINY = {
    "source": "phantom-chest",
    "cases": 240,
    "size": 48,
    "epochs": 8,
    "train_batch": 16,
    "learning_rate": 2e-3,
    "model": "small-resnet",
    "weights": None,
    "eps": ("8/256",),
    "steps": 4,
    "checks": 0,
}


def _recipe(data: str, title: str, differs: tuple[str, ...], components: int) -> Recipe:
    return Recipe(
        name=f"hiding-{data}",
        title=f"Five attacks that hide from detectors: {title}",
        question="Does HFC hide BIM, PGD, CW, MIM and TIM alike from KD and MAHA, and does each still fool?",
        settings=HidingSettings(
            size=128,
            model="resnet18",
            epochs=12,
            attack=ATTACKS,
            eps=("1/256", "2/256"),
            steps=40,
            components=(components,),
        ),
        plan=lambda settings: hiding_plan(
            settings, dataset=title, published=published("hiding", data), differs=(*DIFFERS, *differs)
        ),
        tiny=TINY | {"components": (2,)},
        paper="HFC-21 Table 2, HFC-23 Table I",
    )


chest_xray = _recipe(
    "chest-xray", "Chest X-ray", ("1,103 images, split by patient, where the papers have 5,863, split by image.",), 1
)
fundus = _recipe(
    "fundus",
    "Fundoscopy (IDRiD)",
    ("507 images of IDRiD, where the papers have 3,663 of APTOS 2019; K = 32, as K = 64 needs 128 cases a class.",),
    32,
)
