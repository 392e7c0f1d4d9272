"""cushion-detectors-fundus, cushion-detectors-chest-xray: Aegis Table 2, known detectors with and without a Cushion."""

from __future__ import annotations

from medaegis.experiment import CushionsSettings, Recipe, cushions_plan
from medaegis_recipes._published import published
from medaegis_recipes._scale import NETWORK, network, steps
from medaegis_recipes.detectors import PROTOCOL
from medaegis_recipes.hiding import TINY

PLACE = "the paper has ResNet-50"
DIFFERS = (
    "IDRiD (507) and 1,103 chest X-rays, split by patient, where "
    "the paper has APTOS 2019 (3,663) and no such table of chest X-rays.",
    "MIM and BIM start at the image, where the paper starts all from a random point.",
    "KD, MAHA and LID average their scores over all activations, DNN sums its logits, as in the paper (section 4.1).",
    "DNN learns from the attack that it is tested on, without HFC; the paper does not say what from.",
    "BPDA follows a surrogate of the Cushion, which is stronger than the identity; the paper does not say which.",
    "Covariances are shrunk (the paper does not say how its own were regularised).",
)


def _recipe(data: str, title: str, components: int, papers: int) -> Recipe:
    return Recipe(
        name=f"cushion-detectors-{data}",
        title=f"Known detectors behind a Cushion: {title}",
        question="Do detectors that HFC gets past find it again once a Cushion stands before the network?",
        settings=CushionsSettings(
            size=128,
            model="resnet18",
            epochs=12,
            attack=("mim", "bim", "pgd", "cw_linf"),
            eps=("16/256",),
            steps=40,
            components=(components,),
            detectors=("KD@relu", "MAHA", "LID", "DNN"),
            cushions=("none", "jpeg:80"),
        ),
        plan=lambda settings: cushions_plan(
            settings,
            dataset=title,
            published=published("cushion-detectors", data),
            differs=(*network(settings, PLACE), *steps(settings, "the paper has 100"), *DIFFERS, *PROTOCOL),
        ),
        tiny=TINY | {"attack": ("bim",), "components": (2,), "eps": ("16/256",)},
        paper="Aegis Table 2",
        paper_scale=NETWORK | {"steps": 100, "components": (papers,)},
    )


chest_xray = _recipe("chest-xray", "Chest X-ray", 1, 1)
fundus = _recipe("fundus", "Fundoscopy (IDRiD)", 32, 64)
