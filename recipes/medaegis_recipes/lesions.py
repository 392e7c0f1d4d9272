"""ood-lesions, ood-lesions-fundus: HFC-23 Table VI, synthetic lesions found by the HFC score."""

from __future__ import annotations

from medaegis.experiment import LesionSettings, Recipe, lesion_plan

PUBLISHED = {  # HFC-23 Table VI, Chest X-ray: AUC, FR
    "small 2": (94.4, 1.2), "small 4": (97.7, 4.3), "small 6": (98.1, 10.0),
    "medium 1": (94.8, 0.5), "medium 2": (97.9, 1.2), "medium 4": (99.5, 3.4),
    "large 1": (98.1, 2.1), "large 2": (99.6, 4.3), "large 3": (99.7, 7.5),
}  # fmt: skip
FUNDUS = {  # the same table, Fundoscopy
    "small 2": (87.4, 0.2), "small 4": (92.4, 0.6), "small 6": (94.6, 0.7),
    "medium 1": (84.9, 0.2), "medium 2": (91.4, 0.2), "medium 4": (95.5, 0.5),
    "large 1": (91.9, 0.2), "large 2": (94.9, 0.4), "large 3": (97.2, 0.5),
}  # fmt: skip
DIFFERS = (
    "The paper gives no sizes, contrasts or textures of its lesions: all of ours are our own choice, and so is that "
    "they stay inside the body.",
    "ResNet-18 at 128 px, where the paper has 256 px and does not name the network; split by patient, not by image.",
    "Covariances are shrunk (the paper does not say how its own were regularised).",
    "The component is the most likely one of the predicted class's mixture, as in eq. 18; the paper's words say "
    "'minimum', and it does not say whose mixture.",
    "As in the paper, AUC leaves out images whose prediction the lesions changed (their share is FR); 'AUC with "
    "changed' counts them all.",
)
WEAKER = (
    "Our lesions change fewer decisions than the paper's (FR), so they are weaker signals; --set contrast=2 for more."
)
FEWER = "16 components, where the paper has 64, which need 128 Train images of each class: --set components=64."
TINY = {
    "source": "phantom-chest", "cases": 160, "size": 48, "model": "small-resnet", "weights": None, "epochs": 8,
    "train_batch": 16, "learning_rate": 2e-3, "components": 2, "draws": 2, "lesions": ("small 2", "large 3"),
}  # fmt: skip

recipe = Recipe(
    name="ood-lesions",
    title="Lesions that a chest X-ray classifier has never seen",
    question="Does the HFC score notice synthetic lesions in chest X-rays, and how often do they change the decision?",
    settings=LesionSettings(size=128, model="resnet18", epochs=12, components=16),
    plan=lambda s: lesion_plan(s, dataset="Chest X-ray", published=PUBLISHED, differs=(*DIFFERS, WEAKER)),
    tiny=TINY,
    paper="HFC-23 Table VI",
)
fundus = Recipe(
    name="ood-lesions-fundus",
    title="Lesions that a fundus classifier has never seen",
    question="Does the HFC score notice synthetic lesions in fundus images, and how often do they change the decision?",
    settings=LesionSettings(size=128, model="resnet18", epochs=12, components=16),
    plan=lambda s: lesion_plan(s, dataset="Fundoscopy", published=FUNDUS, differs=(*DIFFERS, FEWER)),
    tiny=TINY,
    paper="HFC-23 Table VI",
)
