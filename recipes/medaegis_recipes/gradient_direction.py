"""gradient-direction: HFC-23 Figs. 2 and 3, how attacks move the penultimate features."""

from __future__ import annotations

from itertools import combinations

from medaegis.experiment import DirectionSettings, Pair, Recipe, direction_plan

ATTACKS = ("FGSM", "BIM", "MIM", "PGD", "CW")
STEPS = ("2", "4", "6", "8", "10")
BINARY, MANY = "Fundoscopy, no retinopathy to retinopathy", "CIFAR-10, other classes to airplane"
FIGURE_3 = {  # upper triangles, row by row; where the paper's two triangles differ, the upper one
    (BINARY, "similarity of attacks", ATTACKS): (0.832, 0.873, 0.840, 0.833, 0.999, 0.998, 0.989, 0.994, 0.988, 0.988),
    (BINARY, "similarity of iterations", STEPS): (0.915, 0.851, 0.801, 0.771, 0.984, 0.957, 0.933, 0.992, 0.978, 0.996),
    (MANY, "similarity of iterations", STEPS): (0.928, 0.875, 0.843, 0.830, 0.968, 0.940, 0.925, 0.986, 0.972, 0.994),
}
PUBLISHED = {
    Pair(dataset, metric, ", ".join(pair)): value
    for (dataset, metric, names), values in FIGURE_3.items()
    for pair, value in zip(combinations(names, 2), values, strict=True)
}

recipe = Recipe(
    name="gradient-direction",
    title="The direction in which attacks push features",
    question="Do attacks push the penultimate features along the last layer's weights, and all in one direction?",
    settings=DirectionSettings(size=64, model="small-resnet", weights=None, epochs=30, learning_rate=1e-3),
    plan=lambda settings: direction_plan(
        settings,
        published=PUBLISHED,
        differs=(
            "A small residual network at 64 px from random weights, where the papers have ResNet-50 at 256 px.",
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
)
