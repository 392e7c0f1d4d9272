"""Small pictures of cases, for the dots of a map."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from medaegis.report import png_bytes
from medaegis.report._slices import middle_slice

SIDE = 64  # pixels of the longer side, at most


def thumbnail(image: Tensor) -> bytes:
    """A case as a small PNG of 8 bits; of a volume, its middle slice.

    Args:
        image: (c, h, w) or (c, d, h, w) in [0, 1].

    Returns:
        At most `SIDE` pixels high and wide, in the image's own proportions; never enlarged.

    Example:
        >>> import torch
        >>> thumbnail(torch.zeros(1, 8, 8))[1:4]
        b'PNG'
    """
    from PIL import Image as Pillow

    shown = middle_slice(image.float().cpu().numpy(), before=1)
    h, w = shown.shape[1:]
    factor = min(1.0, SIDE / max(h, w))
    if factor == 1.0:
        return png_bytes(shown)
    size = max(1, round(w * factor)), max(1, round(h * factor))
    planes = [np.asarray(Pillow.fromarray(plane).resize(size, Pillow.Resampling.BOX)) for plane in shown]
    return png_bytes(np.stack(planes))
