"""stress-test: HFC-21 Table 1 and HFC-23 Fig. 4, medical against natural images, networks trained alike."""

from __future__ import annotations

from itertools import product

from medaegis.experiment import Published, Recipe, StressSettings, stress_plan
from medaegis_recipes._published import published
from medaegis_recipes._scale import STUDY, network

LAYERS = {  # ResNet-50's activations, each the last of its block
    "36": "network.layer3.4.relu#3",
    "45": "network.layer4.1.relu#3",
    "48": "network.layer4.2.relu#3",
}
BUDGETS = ("1/256", "8/256")  # of the preprint and of HFC-21 as published, with the same figures: shown beside both
UNLIKE = ", and from random weights, the same for every data set"
BEFORE, AFTER = "activation before", "activation after"


def figures() -> dict[Published, float]:
    """Those of HFC-21 Table 1."""
    found: dict[Published, float] = {}
    for data, title in (("fundus", "Fundoscopy"), ("cifar10", "CIFAR-10")):
        known = published("stress", data)
        for (way, eps, _, layer, metric), value in known.items():
            for one, budget in [(way, eps)] if way else product(("up", "down"), BUDGETS):  # a clean value is of all
                place = Published(title, budget, LAYERS[layer], one, metric)
                found[place] = value
                if metric == AFTER:
                    before = known["", "", "", layer, BEFORE]
                    found[place._replace(metric="change ratio")] = 100 * (value / before - 1)
    return found


recipe = Recipe(
    name="stress-test",
    title="Stress test: medical and natural images",
    question="How far can a small change of the image lower and raise the features of each block of a network?",
    settings=StressSettings(size=64, model="small-resnet", weights=None, epochs=30, learning_rate=1e-3),
    plan=lambda settings: stress_plan(
        settings,
        published=figures(),
        differs=(
            *network(settings, "the papers have an ImageNet-pretrained ResNet-50", UNLIKE),
            "CIFAR-10 is enlarged from 32 px. The papers' figures are shown beside ours only with ResNet-50.",
            "HFC-21 Table 1, last activation of ResNet-50: Fundoscopy .375 before, .098 after down (-74 %), 2.048 "
            "after up (+446 %); CIFAR-10 .190, .148 (-22 %), .264 (+39 %).",
            "The papers state 1/256 (preprint, HFC-23) and 8/256 (HFC-21) for the same table; both are run.",
            "Fundoscopy is IDRiD (507 images) and Chest X-ray and CIFAR-10 are subsets. Training ends where the "
            "validation loss stops falling, so the sets differ in training steps; CIFAR-10 has ten "
            "classes, the others two.",
        ),
    ),
    tiny={"sets": ("phantom-chest", "phantom-fundus"), "cases": 60, "size": 32, "epochs": 3, "images": 8, "steps": 3},
    paper="HFC-21 Table 1, HFC-23 Fig. 4",
    paper_scale=STUDY,
)
