"""natural-images: CIFAR-10 beside chest X-rays, HFC-23 Table V."""

from __future__ import annotations

from medaegis.experiment import Recipe, SetsSettings, sets_plan
from medaegis_recipes._published import published
from medaegis_recipes.detectors import PROTOCOL
from medaegis_recipes.hiding import DIFFERS, TINY
from medaegis_recipes.semi_white_box import FIVE

PUBLISHED = {"cifar10": published("natural-images", "cifar10"), "chest_xray": published("natural-images", "chest-xray")}
NATURAL = (
    "CIFAR-10 is a subset of 3,000 images (300 a class), enlarged from 32 px to 128 px, so that network and size are "
    "those of the X-rays; the perturbation then has 16 times the pixels of the original image. The paper does not say "
    "which size its network sees.",
    "Ten classes against two: mixtures have 216 Train images a class, targets are the next class.",
    "K = 1 for both sets; the paper has 16 for X-rays and names none for CIFAR-10.",
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
    plan=lambda settings: sets_plan(
        settings,
        published=PUBLISHED,
        differs=(*(text for text in DIFFERS if "MAHA" not in text), *NATURAL, *PROTOCOL),
    ),
    tiny={name: value for name, value in TINY.items() if name not in ("source", "eps")}
    | {"sets": ("phantom-fundus@8/256", "phantom-fundus@16/256", "phantom-chest@8/256"), "detectors": FIVE[:2]}
    | {"size": 32, "train_batch": 8},
    paper="HFC-23 Table V",
)
