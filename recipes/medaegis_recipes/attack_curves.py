"""attack-curves: success of every attack against the budget on real chest X-rays."""

from __future__ import annotations

from medaegis.experiment import CurveSettings, Recipe, curve_plan
from medaegis_recipes._scale import NETWORK, steps

BUDGETS = ("0.125/256", "0.25/256", "0.5/256", "1/256", "2/256", "4/256", "8/256", "16/256")

recipe = Recipe(
    name="attack-curves",
    title="Every attack against the budget",
    question="How does the success of each attack on a pneumonia classifier grow with its budget, and is each sound?",
    settings=CurveSettings(size=128, model="resnet18", epochs=12, eps=BUDGETS, steps=40),
    plan=lambda settings: curve_plan(
        settings,
        dataset="Chest X-ray",
        differs=(
            "The papers have no such curves; budgets, network and data are those of chest-xray-small.",
            *steps(settings, "the papers have smaller ones"),
            "A case ends once it is fooled. DeepFool and CW-L2 with their own numbers.",
            "TF is PGD made on a SqueezeNet 1.1 trained on the same cases, where Aegis has VGG-16.",
            "L2 attacks measure the budget as a root mean square, the others as the largest change of a pixel.",
        ),
    ),
    tiny={
        "limit": 100,
        "size": 48,
        "epochs": 8,
        "train_batch": 16,
        "learning_rate": 2e-3,
        "eps": ("2/256", "8/256", "32/256"),
        "steps": 5,
        "model": "small-resnet",
        "substitute": "small-resnet",
        "substitute_epochs": 2,
        "weights": None,
    },
    paper_scale=NETWORK | {"steps": 100, "substitute": "vgg16"},
)
