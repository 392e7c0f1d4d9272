"""defence-chest-xray, defence-fundus: Aegis Tables 3 and 4, stronger attackers, and the worst case over budgets."""

from __future__ import annotations

from medaegis.experiment import DefenceSettings, Recipe, defence_plan
from medaegis_recipes._published import published

BUDGETS = ("1/256", "2/256", "4/256", "8/256", "16/256")
TINY = {
    "source": "phantom-chest",
    "cases": 120,
    "size": 32,
    "epochs": 4,
    "train_batch": 16,
    "learning_rate": 2e-3,
    "model": "small-resnet",
    "weights": None,
    "defences": ("paper", "paper@jpeg:80"),
    "attackers": ("pgd", "hfc", "wb", "adam"),
    "curve": ("adam",),
    "eps": ("4/256", "16/256"),
    "steps": 3,
    "components": 1,
    "images": 6,
    "shield_epochs": 2,
    "shield_steps": 2,
}
DIFFERS = (
    "ResNet-18 at 128 px, where the paper has ResNet-50 and VGG-16; its taps are at the same relative depths.",
    "The Shields' networks, optimiser and training attack are ours, since the paper gives none: 5 sign steps a case.",
    "TF comes from a SqueezeNet 1.1, where the paper has VGG-16. Fea imitates random natural cases.",
    "CW-Linf and WB have kappa at the mean gap of clean logits. L2 budgets are root mean squares.",
)


def _recipe(data: str, title: str, components: int, held_share: float) -> Recipe:
    return Recipe(
        name=f"defence-{data}",
        title=f"Shield and Medical Aegis against every attacker: {title}",
        question="Which attackers get past the Shield and Medical Aegis, and how far at which budget?",
        settings=DefenceSettings(
            size=128,
            model="resnet18",
            epochs=12,
            defences=("paper", "paper@jpeg:80", "varied@jpeg:80"),
            eps=BUDGETS,
            components=components,
            held_share=held_share,
            images=32,
            shield_steps=5,
            shield_batch=16,
        ),
        plan=lambda settings: defence_plan(
            settings, dataset=title, published=published("defence", data), differs=DIFFERS
        ),
        tiny=TINY,
        paper="Aegis Tables 3 and 4",
    )


chest_xray = _recipe("chest-xray", "Chest X-ray", 1, 0.7)
fundus = _recipe("fundus", "Fundoscopy (IDRiD)", 32, 0.5)
