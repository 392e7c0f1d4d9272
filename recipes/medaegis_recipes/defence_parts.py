"""defence-layers, defence-cushions: Aegis Table 5, what each tap and each Cushion adds."""

from __future__ import annotations

from medaegis.experiment import DefenceSettings, Recipe, defence_plan
from medaegis_recipes._published import Published, published
from medaegis_recipes._scale import DEFENCE
from medaegis_recipes.defence import TINY, differs

TAPS = {"3+6+9+12": "", "3": ", tap 1", "6": ", tap 2", "9": ", tap 3", "12": ", tap 4"}
CUSHIONS = ("none", "jpeg:90", "jpeg:80", "jpeg:70", "bits:3", "bits:4", "tv")
STRONGER = ("adam", "adam-4")


def _layers() -> Published:
    """Table 5's figures by our names of the taps."""
    found = published("defence-layers", "fundus")
    return {(a, e, "", f"Medical Aegis (jpeg:80), paper{TAPS[t]}", m): v for (a, e, t, _, m), v in found.items()}


def _cushions() -> Published:
    """Table 5's figures by our names of the Cushions."""
    found = published("defence-cushions", "fundus")
    return {(a, e, "", _named(c), m): v for (a, e, c, _, m), v in found.items()}


def _named(cushion: str) -> str:
    return (
        "Shield, paper" if cushion == "none" else f"Medical Aegis ({'tv:0.03' if cushion == 'tv' else cushion}), paper"
    )


def _recipe(name: str, title: str, defences: tuple[str, ...], paper: tuple[str, ...], figures: Published) -> Recipe:
    return Recipe(
        name=name,
        title=title,
        question="What does each part of Medical Aegis add against the paper's attackers and stronger ones?",
        settings=DefenceSettings(
            size=128,
            model="resnet18",
            epochs=12,
            components=32,
            held_share=0.5,
            images=24,
            defences=defences,
            attackers=(*paper, *STRONGER),
            shield_epochs=8,
            shield_steps=5,
            shield_batch=8,
            shield_validation=24,
            shield_probe=0,
        ),
        plan=lambda settings: defence_plan(
            settings,
            dataset="Fundoscopy (IDRiD)",
            published=figures,
            differs=differs(settings),
        ),
        tiny=TINY | {"defences": defences[:2], "attackers": ("pgd", "adam"), "eps": ("16/256",)},
        paper="Aegis Table 5",
        paper_scale=DEFENCE | {"model": "vgg16", "components": 64},
    )


every = tuple(f"paper@jpeg:80{f'@{tap}' if tap else ''}" for tap in ("", "1", "2", "3", "4"))
layers = _recipe("defence-layers", "Which taps the Shield needs", every, ("pgd", "cw_l2", "hfc", "wb"), _layers())
cushions = _recipe(
    *("defence-cushions", "Which Cushion"),
    tuple(f"paper@{name}" for name in CUSHIONS),
    ("pgd", "fea", "hfc", "wb"),
    _cushions(),
)
