"""semi-white-box-chest-xray, semi-white-box-fundus: an attacker without the parameters, HFC-21 Table 4, HFC-23 IV."""

from __future__ import annotations

from medaegis.experiment import Recipe, SubstitutesSettings, substitutes_plan
from medaegis_recipes._published import Published, published
from medaegis_recipes._scale import NETWORK
from medaegis_recipes.detectors import PROTOCOL
from medaegis_recipes.hiding import TINY, differs

FIVE = ("KD", "MAHA:logistic", "LID:logistic", "SVM", "DNN")
SETTINGS = SubstitutesSettings(
    size=128, model="resnet18", epochs=12, attack=("bim",), eps=("4/256",), steps=40, detectors=FIVE,
    substitutes=("same", "none", "squeezenet1_1", "same@half", "same@apart"),
)  # fmt: skip
ALIKE = (
    "The substitute has another seed (last layer, order, augmentation) on the same cases, and the same ImageNet "
    "weights to start from, as we assume of the papers'; they say only that it is trained on the same data.",
    "The attacked network's detectors learn from attacks on that network itself, as its owner has it.",
    "The papers do not say whether images that do not fool the attacked network count: their AUC stands beside 'AUC', "
    "over all, and beside 'AUC, successful', which the released code computes of hidden attacks.",
)
HALF = "K = 16, where the papers have 64: half of Train has 60 cases of a class."
BEYOND = (
    "Beyond the papers: the same attack in the open, another architecture, and substitutes of the same or of the other "
    "half of the patients of Train; the attacked network then has half of them too.",
)


def _figures(model: str, data: str) -> Published:
    known = published("semi-white-box-vgg16" if model == "vgg16" else "semi-white-box", data)
    return known | {(*place, "AUC, successful"): value for (*place, metric), value in known.items() if metric == "AUC"}


def _differs(settings: SubstitutesSettings, own: str) -> tuple[str, ...]:
    more = BEYOND if settings.substitutes != ("same",) else ()
    half = (HALF,) if settings.components == (16,) and "IDRiD" in own else ()
    return differs(settings, own, *half, *ALIKE, *more, *PROTOCOL)


def _recipe(data: str, title: str, own: str, components: int, papers: int) -> Recipe:
    return Recipe(
        name=f"semi-white-box-{data}",
        title=f"Attacks made on a substitute network: {title}",
        question="Do BIM and HFC still fool a network and its detectors if made on another network of the kind?",
        settings=SETTINGS.model_copy(update={"components": (components,)}),
        plan=lambda settings: substitutes_plan(
            settings, dataset=title, published=_figures(settings.model, data), differs=_differs(settings, own)
        ),
        tiny=TINY | {"components": (2,), "eps": ("16/256",), "substitutes": ("same", "none"), "detectors": FIVE[:2]},
        paper="HFC-21 Table 4, HFC-23 Table IV",
        paper_scale=NETWORK | {"steps": None, "components": (papers,), "substitutes": ("same", "none")},
    )


chest_xray = _recipe(
    "chest-xray", "Chest X-ray", "1,103 images, split by patient, where the papers have 5,863, split by image.", 1, 16
)
fundus = _recipe(
    "fundus",
    "Fundoscopy (IDRiD)",
    "507 images of IDRiD, where the papers have 3,663 of APTOS 2019.",
    16,
    64,
)
