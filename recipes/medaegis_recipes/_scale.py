"""The scale of the papers, and what a run's network and steps differ in from it; no more than is true of the run."""

from __future__ import annotations

from typing import Any

NETWORK: dict[str, Any] = {"model": "resnet50", "size": 256, "epochs": 50, "train_batch": 64}
"""The papers' network and size; they give no number of epochs, and training ends where it learns no more."""
PAPER = NETWORK | {"eps": ("1/256",), "steps": None}
"""Of the HFC papers: steps of 0.02/256."""
STUDY = NETWORK | {"weights": "auto", "learning_rate": 3e-4, "images": 10_000}
"""Of experiments on features: every test image."""
DEFENCE = NETWORK | {
    "images": None, "held_share": 0.7, "shield_epochs": None, "shield_steps": None, "shield_batch": None,
    "shield_validation": None, "shield_probe": None,
    "substitute": "vgg16", "substitute_epochs": 50,
}  # fmt: skip
"""Of trials of defences: every case, and the training's own epochs, steps and batch."""
_NAMES = {
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "vgg16": "VGG-16",
    "small-resnet": "A small residual network",
}
_WHOLE = (("resnet50", 256), ("vgg16", 256))


def network(settings: Any, papers: str = "the papers have ResNet-50 at 256 px", more: str = "") -> tuple[str, ...]:
    """What differs of the network and the images' size: nothing at the papers' scale."""
    if (settings.model, settings.size) in _WHOLE:
        return ()
    return (f"{_NAMES.get(settings.model, settings.model)} at {settings.size} px, where {papers}{more}.",)


def steps(settings: Any, papers: str = "the papers have 2 eps / (0.02/256) steps of 0.02/256") -> tuple[str, ...]:
    """What differs of the steps: nothing where they are of 0.02/256."""
    n = settings.steps
    return () if n is None else (f"{n} steps of 2 eps / {n}, where {papers}.",)
