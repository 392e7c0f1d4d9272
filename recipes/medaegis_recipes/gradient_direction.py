"""gradient-direction: HFC-23 Figs. 2 and 3, how attacks move the penultimate features."""

from __future__ import annotations

from medaegis.experiment import DirectionSettings, Pair, Recipe, direction_plan
from medaegis_recipes._published import published
from medaegis_recipes._scale import STUDY, network

TITLES = {
    "fundus": "Fundoscopy, no retinopathy to retinopathy",
    "cifar10": "CIFAR-10, other classes to airplane",
}


def figures() -> dict[Pair, float]:
    """Those of HFC-23 Fig. 3: the upper triangles; two of the lower ones' values differ."""
    return {
        Pair(title, metric, pair): value / 100
        for data, title in TITLES.items()
        for (pair, *_, metric), value in published("direction", data).items()
    }


recipe = Recipe(
    name="gradient-direction",
    title="The direction in which attacks push features",
    question="Do attacks push the penultimate features along the last layer's weights, and all in one direction?",
    settings=DirectionSettings(size=64, model="small-resnet", weights=None, epochs=30, learning_rate=1e-3),
    plan=lambda settings: direction_plan(
        settings,
        published=figures(),
        differs=(
            *network(settings, more=", and from random weights"),
            "The papers do not state the budget of Figs. 2 and 3: 1/256 here, 10 steps of 0.2/256.",
            "Fundoscopy is IDRiD and CIFAR-10 a subset of 3,000 images; test images that are classified rightly. One "
            "network a set (one seed), at most 30 epochs, so the sets differ in training steps.",
            "The paper gives Fig. 2 as a picture only; here with correlations over channels.",
            "CW is PGD on the margin without a floor (kappa infinite): with two classes, where eq. 8 gives both losses "
            "one direction, it is PGD from another random start. Noise of the same budget is added as a control.",
        ),
    ),
    tiny={
        "sets": ("phantom-chest",),
        "cases": 120,
        "size": 32,
        "epochs": 8,
        "train_batch": 16,
        "learning_rate": 2e-3,
        "images": 8,
        "eps": "8/256",
        "steps": 5,
    },
    paper="HFC-23 Figs. 2 and 3",
    paper_scale=STUDY,
)
