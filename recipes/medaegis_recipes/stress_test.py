"""stress-test: HFC-21 Table 1 and HFC-23 Fig. 4, medical against natural images, networks trained alike."""

from __future__ import annotations

from medaegis.experiment import Published, Recipe, StressSettings, stress_plan

# HFC-21 Table 1 as published says 8/256 and its preprint 1/256, with the same figures: shown beside both.
TABLE = {  # before, after down, after up; by ResNet-50's activation 36, 45, 48, each the last of its block
    "Fundoscopy": ((0.0475, 0.0322, 0.0842), (0.1910, 0.0839, 0.7306), (0.3750, 0.0980, 2.0480)),
    "CIFAR-10": ((0.0366, 0.0312, 0.0432), (0.1660, 0.1360, 0.2030), (0.1900, 0.1480, 0.2640)),
}
LAYERS = ("network.layer3.4.relu#3", "network.layer4.1.relu#3", "network.layer4.2.relu#3")
PUBLISHED = {
    Published(dataset, eps, layer, way, metric): 100 * value
    for dataset, lines in TABLE.items()
    for layer, (before, *after) in zip(LAYERS, lines, strict=True)
    for way, there in zip(("down", "up"), after, strict=True)
    for eps in ("1/256", "8/256")
    for metric, value in (
        ("change ratio", there / before - 1),
        ("activation before", before),
        ("activation after", there),
        ("activation difference", abs(there - before)),
    )
}

recipe = Recipe(
    name="stress-test",
    title="Stress test: medical and natural images",
    question="How far can a small change of the image lower and raise the features of each block of a network?",
    settings=StressSettings(size=64, model="small-resnet", weights=None, epochs=30, learning_rate=1e-3),
    plan=lambda settings: stress_plan(
        settings,
        published=PUBLISHED,
        differs=(
            "A small residual network at 64 px from random weights, the same for every data set, where the papers "
            "have an ImageNet-pretrained ResNet-50; CIFAR-10 is enlarged from 32 px. The papers' figures are shown "
            "beside ours only with --set model=resnet50.",
            "HFC-21 Table 1, last activation of ResNet-50: Fundoscopy .375 before, .098 after down (-74 %), 2.048 "
            "after up (+446 %); CIFAR-10 .190, .148 (-22 %), .264 (+39 %).",
            "The papers state 1/256 (preprint, HFC-23) and 8/256 (HFC-21) for the same table; both are run.",
            "Fundoscopy is IDRiD (507 images) and Chest X-ray and CIFAR-10 are subsets. At most 30 epochs for each, "
            "fewer where the validation loss stops falling, so the sets differ in training steps; CIFAR-10 has ten "
            "classes, the others two.",
        ),
    ),
    tiny={"sets": ("phantom-chest", "phantom-fundus"), "cases": 60, "size": 32, "epochs": 3, "images": 8, "steps": 3},
    paper="HFC-21 Table 1, HFC-23 Fig. 4",
)
