"""From an image of any size to a square: short side resized with the aspect kept, then the centre cropped."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medaegis._errors import require
from medaegis.data._dataset import Pixels


class Frame(NamedTuple):
    """The geometry of decoding.

    Attributes:
        size: height and width that come out, in pixels.
        resize: length of the short side before the centre is cropped, in pixels; at least `size`.
        channels: 1 or 3.
    """

    size: int
    resize: int
    channels: int


def make_frame(size: int, resize: int | None, channels: int, owner: str) -> Frame:
    """Check the geometry and fill in the papers' ratio of resize to crop, 280 to 256.

    Raises:
        InputError: size < 1, resize < size, or channels neither 1 nor 3.
    """
    require(size >= 1, "size", owner, "an int >= 1", size)
    short = round(size * 280 / 256) if resize is None else resize
    require(short >= size, "resize", owner, f"an int >= size ({size})", resize, "The crop is taken from inside.")
    require(channels in (1, 3), "channels", owner, "1 or 3", channels)
    return Frame(size, short, channels)


def resized_shape(height: int, width: int, short: int) -> tuple[int, int]:
    """Height and width once the short side is `short`; the long side is rounded.

    Example:
        >>> resized_shape(1152, 1422, 280)
        (280, 346)
    """
    least = min(height, width)
    return (height * short + least // 2) // least, (width * short + least // 2) // least


def fit(pixels: Pixels, frame: Frame) -> Pixels:
    """Resize (c, h, w) with antialiasing (triangle filter), crop the centre: (c, size, size) of the same type."""
    before = (pixels.shape[1], pixels.shape[2])
    height, width = resized_shape(*before, frame.resize)
    if (height, width) != before:
        pixels = np.stack([_resize(plane, height, width) for plane in pixels])
    top, left = (height - frame.size) // 2, (width - frame.size) // 2
    return pixels[:, top : top + frame.size, left : left + frame.size]


def _resize(plane: Pixels, height: int, width: int) -> Pixels:
    if plane.dtype == np.uint8:
        image = Image.fromarray(plane)
        return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    image = Image.fromarray(plane.astype(np.float32))  # mode F: float32 holds every 16-bit value exactly
    resized: NDArray[np.float32] = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    return np.clip(np.rint(resized), 0, 65535).astype(np.uint16)
