"""defence-chest-xray, defence-fundus: Aegis Tables 3 and 4, stronger attackers, and the worst case over budgets."""

from __future__ import annotations

from medaegis.experiment import DefenceSettings, Recipe, defence_plan
from medaegis_recipes._published import Published, published
from medaegis_recipes._scale import DEFENCE, network

BUDGETS = ("1/256", "2/256", "4/256", "8/256", "16/256")
TINY = {
    "source": "phantom-chest", "cases": 120, "size": 32, "epochs": 12, "train_batch": 16, "learning_rate": 2e-3,
    "model": "small-resnet", "weights": None, "defences": ("paper", "paper@jpeg:80"),
    "attackers": ("pgd", "hfc", "wb", "adam"), "curve": ("adam",), "eps": ("4/256", "16/256"), "steps": 3,
    "components": 1, "images": 6, "shield_epochs": 2, "shield_steps": 2, "shield_probe": 0,
}  # fmt: skip
DIFFERS = (
    "The Shields' networks, optimiser and training attack are ours, since the paper gives none.",
    "Fea imitates random natural cases.",
    "CW-Linf and WB have kappa at the mean gap of clean logits. L2 budgets are root mean squares.",
)


def figures(settings: DefenceSettings, data: str) -> Published:
    """The paper's, of the network that is defended: Tables 3 and 4, and Table 2's last two rows."""
    if settings.model == "vgg16":
        return published("defence-vgg16", data)
    hidden = published("cushion-detectors", data).items()
    table2 = {(f"{a} + HFC", e, "", d, m): v for (a, e, _, d, m), v in hidden if d in ("Shield", "Medical Aegis")}
    return published("defence", data) | table2


def differs(settings: DefenceSettings, *more: str) -> tuple[str, ...]:
    """What differs from the paper."""
    taps = "; taps are at the same relative depths"
    other = f"TF comes from {settings.substitute}, where the paper has VGG-16."
    n = settings.shield_epochs
    shorter = f"Shields learn for {n} epochs, in which the budget grows to its last value, where the paper has 25."
    own = (*network(settings, "the paper has ResNet-50 and VGG-16", taps), *DIFFERS, *(() if n is None else (shorter,)))
    return (*own, *(() if settings.substitute == "vgg16" else (other,)), *more)


def _recipe(data: str, title: str, components: int, held_share: float, papers: int, epochs: int | None) -> Recipe:
    return Recipe(
        name=f"defence-{data}",
        title=f"Shield and Medical Aegis against every attacker: {title}",
        question="Which attackers get past the Shield and Medical Aegis, and how far at which budget?",
        settings=DefenceSettings(
            size=128,
            model="resnet18",
            epochs=12,
            defences=("paper", "paper@jpeg:80", "hardened@jpeg:80"),
            eps=BUDGETS,
            components=components,
            held_share=held_share,
            images=24,
            shield_epochs=epochs,
            shield_steps=5,
            shield_batch=8,
            shield_validation=24,
        ),
        plan=lambda settings: defence_plan(
            settings, dataset=title, published=figures(settings, data), differs=differs(settings)
        ),
        tiny=TINY,
        paper="Aegis Tables 3 and 4",
        paper_scale=DEFENCE | {"components": papers},
    )


chest_xray = _recipe("chest-xray", "Chest X-ray", 1, 0.7, 1, 12)
fundus = _recipe("fundus", "Fundoscopy (IDRiD)", 32, 0.5, 64, 20)
