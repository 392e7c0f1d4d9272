"""An opened Pillow image to an array (1 or 3, h, w) of 8 or 16 bits, with remarks on what was converted."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from medaegis.data._dataset import Pixels
from medaegis.data._geometry import Frame, resized_shape

LUMA = np.array([0.299, 0.587, 0.114])


class RefusedError(Exception):
    """The file is no image that can be used; the text is the reason. Decoding adds the path."""


class Raw(NamedTuple):
    """Pixels at the file's own size; c is 1 for grey images, else the number of channels that was asked for.

    Attributes:
        pixels: (c, h, w).
        format: of the content.
        remarks: on what was converted.
        patients: who the patient is, in two ways, the surer first; "" where the file does not say.
        digest: of the content; b"" stands for that of the file's bytes.
    """

    pixels: Pixels
    format: str
    remarks: tuple[str, ...]
    patients: tuple[str, str] = ("", "")
    digest: bytes = b""


def check_size(height: int, width: int, frame: Frame) -> None:
    """Refuse images that are too large, as they are or once resized, before any pixel is decoded."""
    limit = Image.MAX_IMAGE_PIXELS
    if min(height, width) < 1:
        raise RefusedError(f"{width} x {height} pixels")
    tall, wide = resized_shape(height, width, frame.resize)
    if limit is not None and max(height * width, tall * wide) > limit:
        shape = f"{width} x {height} pixels, {wide} x {tall} once resized"
        raise RefusedError(f"{shape}; more than PIL.Image.MAX_IMAGE_PIXELS = {limit} (decompression bomb?)")


def read_pixels(image: Image.Image, data: bytes, channels: int) -> Raw:
    """Decode, turn upright as EXIF says, remove palette, CMYK and transparency; keep 16 bits where there are 16.

    Raises:
        RefusedError: a pixel type without a known range (32-bit, float), or one that Pillow would cut to 8 bits.
        Exception: what Pillow raises on broken bytes.
    """
    form = "JPEG" if image.format == "MPO" else str(image.format)
    depth = _bit_depth(image, data)
    if image.mode in ("F", "I") and not (form == "PNG" and depth == 16):
        raise RefusedError(f"{depth}-bit or floating-point values, whose range is unknown; convert to 8 or 16 bits")
    if depth <= 8:
        return _read8(image, form, channels)
    if form == "PNG":
        return _merge16(_png16(data), image.info.get("transparency"), form, channels)
    if depth == 16 and image.mode.startswith("I;16"):
        return Raw(_tiff16(image)[None], form, ())
    raise RefusedError(f"{depth}-bit {form} ({image.mode}), which Pillow cannot keep; convert to a 16-bit PNG")


def _bit_depth(image: Image.Image, data: bytes) -> int:
    """Bits of one value in the file: Pillow's mode does not tell (16-bit colour opens as 8-bit)."""
    if image.format == "PNG":
        return data[24]  # IHDR is always the first chunk
    if image.format == "TIFF":
        return int(np.max(_tag(image, 258, 1)))
    return 8


def _read8(image: Image.Image, form: str, channels: int) -> Raw:
    remarks = ("CMYK converted to RGB",) if image.mode == "CMYK" else ()
    upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        colour = upright.convert("RGBA")
        if colour.getchannel("A").getextrema() != (255, 255):
            remarks += ("transparent parts made black",)
        black = Image.new("RGBA", colour.size, (0, 0, 0, 255))
        gray = upright.mode in ("1", "L", "LA", "La")
        upright = Image.alpha_composite(black, colour).convert("L" if gray else "RGB")
    gray = upright.mode in ("1", "L") or channels == 1
    pixels: NDArray[np.uint8] = np.asarray(upright.convert("L" if gray else "RGB"))
    return Raw(pixels[None] if gray else np.moveaxis(pixels, 2, 0), form, remarks)


def _tiff16(image: Image.Image) -> NDArray[np.uint16]:
    values = np.asarray(ImageOps.exif_transpose(image)).astype(np.uint16)
    white_is_zero = _tag(image, 262, 1) == 0
    return 65535 - values if white_is_zero else values  # Pillow inverts 8 bits itself, but not 16


def _tag(image: Image.Image, number: int, otherwise: int) -> Any:
    """A tag of a TIFF image: a number, or a tuple of numbers."""
    tags: Any = getattr(image, "tag_v2", {})
    return tags.get(number, otherwise)


def _png16(data: bytes) -> NDArray[np.uint16]:
    """All channels of a 16-bit PNG, (1 to 4, h, w); Pillow would drop the low byte of colour."""
    import torch
    from torchvision.io import ImageReadMode, decode_png  # pyright: ignore[reportMissingTypeStubs]  # it has none

    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return decode_png(encoded, ImageReadMode.UNCHANGED, apply_exif_orientation=True).numpy()


def _merge16(planes: NDArray[np.uint16], key: Any, form: str, channels: int) -> Raw:
    """Two and four planes end in an opacity, and `key` is a value that means transparent: both become black."""
    remarks: tuple[str, ...] = ()
    if key is not None:
        shown = (planes != np.reshape(key, (-1, 1, 1))).any(axis=0)
        remarks = () if shown.all() else ("transparent parts made black",)
        planes = planes * shown
    if len(planes) in (2, 4):
        opacity = planes[-1:] / 65535
        remarks = ("transparent parts made black",) if opacity.min() < 1 else ()
        planes = np.rint(planes[:-1] * opacity).astype(np.uint16)
    if len(planes) == 3 and channels == 1:
        planes = np.rint(np.tensordot(LUMA, planes, axes=1)).astype(np.uint16)[None]
    return Raw(planes, form, remarks)
