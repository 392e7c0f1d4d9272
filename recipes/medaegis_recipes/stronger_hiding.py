"""stronger-hiding, fewer-steps: Auto-PGD, projected gradients and chosen weights against the papers' BIM with HFC."""

from __future__ import annotations

from medaegis.experiment import HidingSettings, Recipe, hiding_plan
from medaegis_recipes._scale import NETWORK, PAPER
from medaegis_recipes.hiding import TINY

recipe = Recipe(
    name="stronger-hiding",
    title="Hiding better than the papers do",
    question="Do Auto-PGD that judges both goals, projected gradients or weights chosen by layer hide better than HFC?",
    settings=HidingSettings(
        size=128,
        model="resnet18",
        epochs=12,
        attack=("bim", "apgd"),
        eps=("1/256", "2/256"),
        steps=40,
        hiding=("hfc", "selective", "orthogonal", "chosen", "released"),
    ),
    plan=lambda settings: hiding_plan(settings, dataset=settings.source or "the given images"),
    tiny=TINY,
    paper=None,
    paper_scale=PAPER | {"eps": ("1/256", "2/256")},
)

fewer = Recipe(
    name="fewer-steps",
    title="How many steps hiding takes",
    question="Does Auto-PGD that judges both goals hide as well as BIM in fewer steps?",
    settings=HidingSettings(
        size=128,
        model="resnet18",
        epochs=12,
        attack=tuple(f"{name}@{steps}" for name in ("bim", "apgd") for steps in (5, 10, 20, 40, 100)),
        eps=("1/256",),
        checks=0,
    ),
    plan=lambda settings: hiding_plan(
        settings,
        dataset=settings.source or "the given images",
        differs=("The papers name APGD as HFC's limit and give no figures of it (HFC-23 V-I).",),
    ),
    tiny=TINY | {"attack": ("bim@2", "apgd@2", "apgd@4")},
    paper="HFC-23 V-I",
    paper_scale=NETWORK,
)
