"""natural-images: CIFAR-10 beside chest X-rays, HFC-23 Table V."""

from __future__ import annotations

from medaegis.experiment import Recipe, SetsSettings, sets_plan
from medaegis_recipes import _parts
from medaegis_recipes._published import published
from medaegis_recipes._scale import NETWORK
from medaegis_recipes.detectors import PROTOCOL
from medaegis_recipes.hiding import differs
from medaegis_recipes.semi_white_box import FIVE

PUBLISHED = {"cifar10": published("natural-images", "cifar10"), "chest_xray": published("natural-images", "chest-xray")}


def _differs(settings: SetsSettings) -> tuple[str, ...]:
    size, k = settings.size, settings.components[0]
    return differs(
        settings,
        f"CIFAR-10 is enlarged from 32 px to {size} px, so that network and size are those of the X-rays; the "
        f"perturbation then has {(size / 32) ** 2:.0f} times the pixels of the original image. The paper does not say "
        "which size its network sees.",
        "CIFAR-10 has ten classes, of which the next is the target; X-rays have two. The subsets are of 3,000 and "
        "1,103 images, where the originals have 60,000 and 5,863.",
        *((f"K = {k} for both; the paper has 16 for X-rays and names none for CIFAR-10.",) if k != 16 else ()),
        *PROTOCOL,
    )


recipe = Recipe(
    name="natural-images",
    title="Hiding in natural and in medical images",
    question="Does HFC hide attacks on natural images as well as on X-rays, at the budgets that each needs?",
    settings=SetsSettings(
        size=128,
        model="resnet18",
        epochs=12,
        attack=("bim",),
        steps=40,
        detectors=FIVE,
        sets=("cifar10@8/256", "cifar10@16/256", "chest_xray@1/256"),
    ),
    plan=lambda settings: sets_plan(settings, published=PUBLISHED, differs=_differs(settings)),
    tiny=_parts.TINY
    | {"sets": ("phantom-fundus@16/256", "phantom-chest@8/256"), "detectors": FIVE[:2]}
    | {"steps": 4, "checks": 0, "components": (2,)},
    paper="HFC-23 Table V",
    paper_scale=NETWORK | {"steps": None, "components": (16,)},
)
