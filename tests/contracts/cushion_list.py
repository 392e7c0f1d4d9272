"""The ONE list of Cushions and the images on which every law is checked. A new Cushion is added here, once."""

from __future__ import annotations

import torch
from torch import Tensor

from medaegis.defend import JPEG, BitDepth, Chain, Cushion, TotalVariation

CUSHIONS: dict[str, Cushion] = {
    "JPEG": JPEG(),
    "JPEG 90": JPEG(quality=90),
    "JPEG 70": JPEG(quality=70),
    "JPEG 1": JPEG(quality=1),
    "JPEG 100": JPEG(quality=100),
    "JPEG 4:4:4": JPEG(subsampling="4:4:4"),
    "JPEG 4:2:2": JPEG(quality=60, subsampling="4:2:2"),
    "bits": BitDepth(),
    "bits 1": BitDepth(drop=1),
    "bits 4": BitDepth(drop=4),
    "bits 7": BitDepth(drop=7),
    "TV": TotalVariation(),
    "TV strong": TotalVariation(weight=0.3),
    "chain": Chain((BitDepth(drop=4), JPEG(quality=70))),
    "chain of chains": Chain((Chain((TotalVariation(weight=0.01), BitDepth())), JPEG(quality=95))),
}
"""Of every Cushion, its default first."""

IDEMPOTENT = [name for name in CUSHIONS if name.startswith("bits")]
"""Doing it twice changes nothing at all."""
SMOOTH = [name for name in CUSHIONS if not name.startswith("chain")]
"""The surrogate is a smooth function; a chain's holds the exact steps before its last part."""

SHAPES = {
    "gray": (3, 1, 13, 18),
    "colour": (3, 3, 17, 10),
    "four channels": (2, 4, 9, 8),
    "volume": (3, 1, 4, 9, 14),
    "colour volume": (2, 3, 2, 16, 7),
    "one pixel": (2, 3, 1, 1),
    "one row": (2, 1, 1, 19),
}


def images(shape: str, dtype: torch.dtype = torch.float32) -> Tensor:
    """Noise, with the pixels in every case that arithmetic likes least."""
    x = torch.rand(SHAPES[shape], generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64)
    special = torch.tensor([0.0, 1.0, 0.5, 0.5 / 255, 1e-40, 1 - 2**-24, 2**-149], dtype=torch.float64)
    flat = x.flatten(1)
    count = min(len(special), flat.shape[1] // 2)
    flat[:, :count] = special[:count]
    return x.to(dtype)
