"""hiding-chest-xray, hiding-fundus: HFC-21 Table 2 and HFC-23 Table I for KD and MAHA, at a scale for two cores."""

from __future__ import annotations

from medaegis.experiment import HidingSettings, Recipe, hiding_plan
from medaegis_recipes._published import published
from medaegis_recipes._scale import PAPER, network, steps

ATTACKS = ("bim", "pgd", "cw_linf", "mim", "tim")
DIFFERS = (
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


def differs(settings: HidingSettings, *more: str) -> tuple[str, ...]:
    """What differs from the papers: network and steps, unless they are theirs, the protocol, and more."""
    mean = [] if any("logistic" in name for name in settings.detectors) else DIFFERS[:1]
    fewer = f"K = {settings.components[0]}, as the papers' 64 needs 128 cases a class."
    more += (fewer,) if settings.components[0] == 32 else ()
    return (*network(settings, more=": less vulnerable at 1/256"), *steps(settings), *mean, *DIFFERS[1:], *more)


def _recipe(data: str, title: str, more: tuple[str, ...], components: int, papers: int) -> Recipe:
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
            settings, dataset=title, published=published("hiding", data), differs=differs(settings, *more)
        ),
        tiny=TINY | {"components": (2,)},
        paper="HFC-21 Table 2, HFC-23 Table I",
        paper_scale=PAPER | {"components": (papers,)},
    )


chest_xray = _recipe(
    "chest-xray", "Chest X-ray", ("1,103 images, split by patient, where the papers have 5,863, split by image.",), 1, 1
)
fundus = _recipe(
    "fundus",
    "Fundoscopy (IDRiD)",
    ("507 images of IDRiD, where the papers have 3,663 of APTOS 2019.",),
    32,
    64,
)
