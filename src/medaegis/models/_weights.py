"""Which weights a recipe starts from."""

from __future__ import annotations

import os
from pathlib import Path

from medaegis.models._volumes import RESNET
from medaegis.models._zoo import OWN

KNOWN_FILES = {
    "resnet18": "resnet18_torchvision_layers1-3_fp16.pth",
    "squeezenet1_1": "squeezenet1_1_onnxzoo_fp16.pth",
    RESNET: "r3d_18-b3b3357e.pth",  # torchvision's own name of its Kinetics weights
}
VARIABLE = "MEDAEGIS_WEIGHTS"


def find_weights(choice: str | None, model: str, data: str | Path | None = None) -> str | None:
    """What `build_model` should load.

    Args:
        choice: a path, "imagenet", "kinetics", None or "none" for random initialisation, or "auto": the known file of
            this model in the folder that the variable MEDAEGIS_WEIGHTS names, in `../shared/weights`, or in `weights`
            beside the data's parent; where there is none, "imagenet" for a torchvision name and None for others.
        model: the model's name.
        data: the data's folder.

    Example:
        >>> find_weights("none", "resnet18") is None
        True
    """
    if choice is None or choice == "none":
        return None
    if choice != "auto":
        return choice
    if model in KNOWN_FILES:
        for folder in _folders(data):
            if (folder / KNOWN_FILES[model]).is_file():
                return str(folder / KNOWN_FILES[model])
    return None if ":" in model or model in OWN else "imagenet"


def _folders(data: str | Path | None) -> list[Path]:
    named = [Path(os.environ[VARIABLE])] if VARIABLE in os.environ else []
    beside = [Path(data).resolve().parents[1] / "weights"] if data and len(Path(data).resolve().parents) > 1 else []
    return [*named, Path("../shared/weights"), *beside]
