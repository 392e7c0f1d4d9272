"""brain, adrenal3d: HFC-23 Table I on volumes, with 3-D kernels."""

from __future__ import annotations

from medaegis.experiment import HidingSettings, Recipe, hiding_plan
from medaegis.experiment._hiding import HidingPlan
from medaegis_recipes._published import published
from medaegis_recipes._volumes import BUDGET, PHANTOM, STANDS_IN, at_budget, own_or_phantom
from medaegis_recipes.detectors import PROTOCOL, SIX

NETWORK = (
    "A small residual network with 3-D kernels on 24 x 48 x 48 voxels, where the paper has ResNet-18 and crops of 30 x "
    "128 x 128 of 30 x 270 x 270: --set model=resnet18-3d --set depth=30 --set size=270 --set crop=128."
)
STEPS = "40 steps of 2 eps / 40, where the paper has 2 eps / (0.02/256) steps of 0.02/256."
SHAPES = (
    "Binary shape masks of adrenal glands, no intensities: what is seen here says nothing about CT. No paper used it."
)
SMALL = {"model": "small-resnet-3d", "weights": None, "train_batch": 16, "learning_rate": 1e-3, "steps": 40}
TINY = {
    "size": 32,
    "depth": 8,
    "epochs": 12,
    "train_batch": 8,
    "eps": ("16/256",),
    "steps": 4,
    "checks": 0,
    "attack": ("mim",),
}
WHOLE = {"model": "resnet18-3d", "learning_rate": 3e-4, "epochs": 50, "eps": (BUDGET,), "steps": None}
PAPER = WHOLE | {"size": 270, "depth": 30, "crop": 128, "cases": 1486}


def _brain(settings: HidingSettings) -> HidingPlan:
    settings = own_or_phantom(settings)
    drawn = settings.data is None
    title, stands_in = ("Brain CT (phantoms)", (STANDS_IN,)) if drawn else ("Brain CT", ())
    figures, budget = at_budget(published("hiding", "brain"), settings.eps)
    differs = (*stands_in, NETWORK, STEPS, *budget, *PROTOCOL)
    return hiding_plan(settings, dataset=title, published=figures, differs=differs)


def _adrenal(settings: HidingSettings) -> HidingPlan:
    return hiding_plan(own_or_phantom(settings), dataset="AdrenalMNIST3D", differs=(SHAPES, STEPS, *PROTOCOL))


HIDDEN = HidingSettings(
    attack=("mim", "tim", "pgd", "cw_linf"), eps=("8/256",), detectors=SIX, components=(1,), **SMALL
)
brain = Recipe(
    name="brain",
    title="Six detectors and HFC on volumes: head CT with four causes of haemorrhage",
    question="Does HFC hide MIM, TIM, PGD and CW in volumes that a network with 3-D kernels tells apart?",
    settings=HIDDEN.model_copy(update={"source": PHANTOM, "size": 48, "depth": 24, "cases": 800, "epochs": 16}),
    plan=_brain,
    tiny=TINY | {"cases": 320},
    paper="HFC-23 Table I (Brain)",
    paper_scale=PAPER,
)
adrenal3d = Recipe(
    name="adrenal3d",
    title="Six detectors and HFC on volumes: AdrenalMNIST3D",
    question="Does HFC hide MIM, TIM, PGD and CW in shapes of adrenal glands, normal or hyperplastic?",
    settings=HIDDEN.model_copy(update={"size": 32, "depth": 32, "epochs": 16}),
    plan=_adrenal,
    tiny=TINY | {"source": PHANTOM, "cases": 320, "limit": 80},
    paper_scale=WHOLE | {"size": 64, "depth": 64},
)
