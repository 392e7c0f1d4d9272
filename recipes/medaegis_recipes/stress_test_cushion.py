"""stress-test-cushion: Aegis Table 1, how far features can be moved behind a Cushion."""

from __future__ import annotations

from medaegis.experiment import Published, Recipe, StressSettings, stress_plan
from medaegis_recipes._published import published
from medaegis_recipes._scale import STUDY, network

BLOCKS = {"1st": "1.0", "4th": "2.0", "10th": "3.2", "15th": "4.1", "penultimate": "4.2"}  # of ResNet-50, from 1 to 16
LAYERS = {told: f"network.layer{block}.relu#3" for told, block in BLOCKS.items()}
TO_NONE = "change ratio to no Cushion"
TINY = {
    "sets": ("phantom-chest", "phantom-fundus"), "cases": 60, "size": 32, "epochs": 3, "images": 6, "steps": 3,
    "model": "small-resnet", "weights": None, "cushions": ("none", "jpeg:70", "bits:3"),
}  # fmt: skip


def figures() -> dict[Published, float]:
    """Those of Aegis Table 1, at the last activation of each block; the penultimate vector has the last one's mean."""
    found: dict[Published, float] = {}
    for (way, eps, cushion, layer, metric), value in published("cushion-stress", "fundus").items():
        for one in (way,) if way else ("up", "down"):  # a clean value stands for both
            place = Published("Fundoscopy", eps or "4/256", LAYERS[layer], one, metric, cushion)
            found[place] = value
            if (cushion, metric) == ("none", TO_NONE):
                found[place._replace(metric="change ratio")] = value
    return found


recipe = Recipe(
    name="stress-test-cushion",
    title="Stress test behind Cushions",
    question="How much less far can features of each block be lowered and raised once a Cushion stands before the net?",
    settings=StressSettings(
        size=128,
        model="resnet18",
        epochs=12,
        sets=("fundus", "chest_xray"),
        eps=("4/256",),
        cushions=("none", "jpeg:90", "jpeg:70", "bits:3", "tv:0.03"),
        images=40,
    ),
    plan=lambda settings: stress_plan(
        settings,
        published=figures(),
        differs=(
            *network(settings, "the paper has ResNet-50"),
            "The paper's figures stand beside ours only with ResNet-50. At the penultimate layer it has "
            "+481 % without a Cushion, +199 % behind JPEG-90 and "
            "+53.7 % behind JPEG-70; -79.4, -75.7 and -55.7 % downwards.",
            "The paper's changes are relative to clean images without a Cushion ('change ratio to no Cushion'); "
            "'change ratio' is relative to clean images behind the same one, as the network sees them.",
            "The paper names layers 1, 4, 10 and 15, read here as residual blocks, as its section 4.1 numbers them.",
            "Steps are 10 of 2 eps / 10, BPDA follows a surrogate of each Cushion; the paper gives neither. It has no "
            "bit depth, total variation or chest X-rays in this table. Fundoscopy is IDRiD (507 images).",
        ),
    ),
    tiny=TINY,
    paper="Aegis Table 1",
    paper_scale=STUDY,
)
