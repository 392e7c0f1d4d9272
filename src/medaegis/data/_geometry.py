"""From an image of any size to a square, and from a volume to a stack of squares: resized, then the centre cropped."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medaegis._errors import is_int, require
from medaegis.data._dataset import Pixels
from medaegis.data._window import parse_window

AnyPixels = TypeVar("AnyPixels", NDArray[np.uint8 | np.uint16], NDArray[np.float32])


class Frame(NamedTuple):
    """The geometry of decoding, and the window.

    Attributes:
        size: height and width that come out, in pixels.
        resize: length of the short side before the centre is cropped, in pixels; at least `size`.
        channels: 1 or 3.
        depth: number of slices of a volume; None for images.
        window: "centre,width" in the units of DICOM and NIfTI files; None takes what the file says, or a default.
    """

    size: int
    resize: int
    channels: int
    depth: int | None = None
    window: str | None = None


def make_frame(
    size: int,
    resize: int | None,
    channels: int | None,
    owner: str,
    *,
    depth: int | None = None,
    window: str | None = None,
) -> Frame:
    """Check the geometry and fill in the papers' ratio of resize to crop, 280 to 256.

    Raises:
        InputError: size < 1, resize < size, channels neither 1 nor 3, depth < 1, or a window that is none.
    """
    require(size >= 1, "size", owner, "an int >= 1", size)
    short = round(size * 280 / 256) if resize is None else resize
    require(short >= size, "resize", owner, f"an int >= size ({size})", resize, "The crop is taken from inside.")
    require(depth is None or (is_int(depth) and depth >= 1), "depth", owner, "an int >= 1, or None for images", depth)
    planes = default_channels(depth) if channels is None else channels
    require(planes in (1, 3), "channels", owner, "1 or 3", channels)
    if window is not None:
        parse_window(window, owner)
    return Frame(size, short, planes, depth, window)


def frame_facts(frame: Frame) -> dict[str, int | str]:
    """A frame as files of results hold it, `Frame(**facts)` being the way back: without what images do not need.

    Example:
        >>> frame_facts(Frame(256, 280, 3))
        {'size': 256, 'resize': 280, 'channels': 3}
    """
    return {name: value for name, value in frame._asdict().items() if value is not None}


def default_channels(depth: int | None) -> int:
    """The number of channels where none is given: 3 of images, 1 of volumes.

    Example:
        >>> default_channels(None), default_channels(30)
        (3, 1)
    """
    return 3 if depth is None else 1


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
    return _centre(pixels, frame.size)


def fit_volume(
    values: NDArray[np.float32], depth: int, frame: Frame, *, spacing: tuple[float, float] = (1.0, 1.0)
) -> NDArray[np.float32]:
    """A volume (d, h, w) as (depth, size, size): slices resized and cropped as images are, then their number changed.

    The whole extent is kept along the depth, whatever the distance of the slices. Within a slice the aspect is kept,
    in millimetres where pixels are not square.

    Args:
        values: of any range.
        depth: number of slices that come out.
        frame: geometry of a slice.
        spacing: height and width of a pixel, in one unit.

    Example:
        >>> ramp = np.arange(4, dtype=np.float32).reshape(4, 1, 1).repeat(6, 1).repeat(8, 2)
        >>> fit_volume(ramp, 4, Frame(3, 6, 1))[:, 0, 0]
        array([0., 1., 2., 3.], dtype=float32)
    """
    before = (values.shape[1], values.shape[2])
    height, width = shape_in_space(*before, frame.resize, spacing)
    if (height, width) != before:
        values = np.stack([_resize_float(plane, height, width) for plane in values])
    values = np.ascontiguousarray(_centre(values, frame.size))
    if len(values) == depth:
        return values
    flat = _resize_float(values.reshape(len(values), -1), depth, frame.size * frame.size)
    return flat.reshape(depth, frame.size, frame.size)


def shape_in_space(height: int, width: int, short: int, spacing: tuple[float, float]) -> tuple[int, int]:
    """As `resized_shape`, of pixels that need not be square; the shorter side is the one with fewer millimetres."""
    ratio = spacing[0] / spacing[1]
    if abs(ratio - 1) < 1e-3:
        return resized_shape(height, width, short)
    tall = height * ratio  # in widths of a pixel
    least = min(tall, width)
    return max(short, round(tall * short / least)), max(short, round(width * short / least))


def _centre(pixels: AnyPixels, size: int) -> AnyPixels:
    top, left = (pixels.shape[1] - size) // 2, (pixels.shape[2] - size) // 2
    return pixels[:, top : top + size, left : left + size]


def _resize(plane: Pixels, height: int, width: int) -> Pixels:
    if plane.dtype == np.uint8:
        image = Image.fromarray(plane)
        return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    resized = _resize_float(plane.astype(np.float32), height, width)  # float32 holds every 16-bit value exactly
    return np.clip(np.rint(resized), 0, 65535).astype(np.uint16)


def _resize_float(plane: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))
