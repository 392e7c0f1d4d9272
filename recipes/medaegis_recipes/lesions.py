"""ood-lesions, ood-lesions-fundus: HFC-23 Table VI, synthetic lesions found by the HFC score."""

from __future__ import annotations

from medaegis.experiment import LesionSettings, Recipe, lesion_plan
from medaegis_recipes._published import published
from medaegis_recipes._scale import NETWORK, network

DIFFERS = (
    "The paper gives no sizes, contrasts or textures of its lesions: all of ours are our own choice, and so is that "
    "they stay inside the body.",
    "Split by patient, not by image.",
    "Covariances are shrunk (the paper does not say how its own were regularised).",
    "The component is the most likely one of the predicted class's mixture, as in eq. 18; the paper's words say "
    "'minimum', and it does not say whose mixture.",
    "As in the paper, AUC leaves out images whose prediction the lesions changed (their share is FR); 'AUC with "
    "changed' counts them all.",
)
PLACE = "the paper has 256 px and does not name the network"
WEAKER = (
    "Our lesions change fewer decisions than the paper's (FR), so they are weaker signals; --set contrast=2 for more."
)
FEWER = "Fewer components than the paper's 64, which need 128 Train images of each class: --set components=64."
TINY = {
    "source": "phantom-chest", "cases": 160, "size": 48, "model": "small-resnet", "weights": None, "epochs": 8,
    "train_batch": 16, "learning_rate": 2e-3, "components": 2, "draws": 2, "lesions": ("small 2", "large 3"),
}  # fmt: skip


def figures(data: str) -> dict[str, tuple[float, float]]:
    """Those of HFC-23 Table VI: AUC and FR by the lesions' size and quantity."""
    found = published("ood-lesions", data)
    return {
        name: (value, found[name, "", "", "", "FR"]) for (name, *_, metric), value in found.items() if metric == "AUC"
    }


recipe = Recipe(
    name="ood-lesions",
    title="Lesions that a chest X-ray classifier has never seen",
    question="Does the HFC score notice synthetic lesions in chest X-rays, and how often do they change the decision?",
    settings=LesionSettings(size=128, model="resnet18", epochs=12, components=16),
    plan=lambda s: lesion_plan(
        s, dataset="Chest X-ray", published=figures("chest-xray"), differs=(*network(s, PLACE), *DIFFERS, WEAKER)
    ),
    tiny=TINY,
    paper="HFC-23 Table VI",
    paper_scale=NETWORK | {"components": 16},
)
fundus = Recipe(
    name="ood-lesions-fundus",
    title="Lesions that a fundus classifier has never seen",
    question="Does the HFC score notice synthetic lesions in fundus images, and how often do they change the decision?",
    settings=LesionSettings(size=128, model="resnet18", epochs=12, components=16),
    plan=lambda s: lesion_plan(
        s,
        dataset="Fundoscopy",
        published=figures("fundus"),
        differs=(*network(s, PLACE), *DIFFERS, *(() if s.components >= 64 else (FEWER,))),
    ),
    tiny=TINY,
    paper="HFC-23 Table VI",
    paper_scale=NETWORK | {"components": 64},
)
