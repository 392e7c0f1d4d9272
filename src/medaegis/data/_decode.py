"""One image file to one array: what the bytes say counts, and a file that is not whole is refused."""

from __future__ import annotations

import hashlib
import io
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from medaegis._errors import DataError
from medaegis.data._dataset import Pixels
from medaegis.data._dicom import is_dicom, read_picture
from medaegis.data._geometry import Frame, fit, make_frame
from medaegis.data._listing import IMAGE_FORMATS
from medaegis.data._pixels import Raw, RefusedError, check_size, read_pixels

_ONE_AT_A_TIME = threading.Lock()
_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP")
# What Pillow's readers raise on broken bytes, beyond their own errors (which are OSErrors and SyntaxErrors).
_PILLOW_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, EOFError,
    RuntimeError, MemoryError, struct.error, zlib.error,
)  # fmt: skip
_FOREIGN = (
    (0, b"version https://git-lfs", "a Git LFS pointer; run `git lfs pull`"),
    (0, b"<", "a web page or XML"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"%PDF", "a PDF file"),
)


IMAGE_RULE = "one whole image (JPEG, PNG, TIFF, BMP, GIF, WEBP or DICOM)"


class BadImageError(DataError):
    """One file cannot be used as an image, or one file or folder as a volume.

    Attributes:
        reason: why, in words, without the path.
    """

    def __init__(self, path: Path, reason: str, rule: str = IMAGE_RULE) -> None:
        super().__init__(f"{path} must be {rule}, got: {reason}.")
        self.reason = reason


class Decoded(NamedTuple):
    """One decoded image or volume.

    Attributes:
        pixels: (c, size, size), or (c, depth, size, size); uint8 or uint16, full range.
        digest: blake2b of the file's bytes; of DICOM and NIfTI files, of the values in them.
        remarks: what a reader of the results may want to know, such as "CMYK converted to RGB".
        patients: hashes of DICOM's PatientID and StudyInstanceUID; "" where the file does not say.
        hounsfield: whether a volume was taken to be in Hounsfield units, None where a window was given, and of images.
    """

    pixels: Pixels
    digest: bytes
    remarks: tuple[str, ...]
    patients: tuple[str, str] = ("", "")
    hounsfield: bool | None = None


def decode_image(
    path: str | Path, *, size: int = 256, resize: int | None = None, channels: int = 3, window: str | None = None
) -> Decoded:
    """Decode one image file: upright, short side resized to `resize`, centre cropped to `size` x `size`.

    The format is read from the content. 16-bit grey and 16-bit PNG keep their 16 bits. Transparent parts become
    black, CMYK becomes RGB, colour becomes grey as 0.299 R + 0.587 G + 0.114 B. Colour profiles are not applied. DICOM
    goes through its modality LUT and its window; more than 8 bits become 16.

    Args:
        path: a JPEG, PNG, TIFF, BMP, GIF, WEBP or DICOM file with one frame.
        size: height and width that come out, in pixels.
        resize: short side before the crop, in pixels; size * 280 / 256 by default, as in the papers.
        channels: 1 or 3.
        window: "centre,width" of a DICOM file; by default what the file says, else the full range of its bits.

    Raises:
        InputError: size, resize, channels or window breaks its rule.
        BadImageError: the file is missing, unreadable, empty, no image, truncated, animated, or too large.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (40, 30), 7).save(f"{folder}/a.png")
        ...     decode_image(f"{folder}/a.png", size=16, channels=1).pixels.shape
        (1, 16, 16)
    """
    frame = make_frame(size, resize, channels, "decode_image", window=window)
    with strict_pillow():
        return decode(Path(path), frame)


@contextmanager
def strict_pillow() -> Generator[None]:
    """Pillow without warnings (its troubles are found by checks) and never loading part of a file.

    Both are settings of the whole process: they are set once around all reading threads, restored on leaving, and
    a second caller waits, because two that overlap would restore each other's.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        partial, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
        Image.init()  # registers all readers; Image.open with a list of formats needs them
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = partial


def decode(path: Path, frame: Frame) -> Decoded:
    """As `decode_image`, with the geometry checked before; call it inside `strict_pillow`."""
    try:
        data = read_bytes(path)
        raw = read_picture(data, frame) if is_dicom(data) else _open(data, frame, path.suffix)
        pixels = fit(raw.pixels, frame)
    except RefusedError as error:
        raise BadImageError(path, str(error)) from None
    named = IMAGE_FORMATS.get(path.suffix.lower())
    wrong = (f"named {path.suffix}, content is {raw.format}",) if named not in (None, raw.format) else ()
    whole = np.broadcast_to(pixels, (frame.channels, *pixels.shape[1:]))  # grey to three equal channels
    digest = raw.digest or hashlib.blake2b(data).digest()
    return Decoded(np.ascontiguousarray(whole), digest, wrong + raw.remarks, raw.patients)


def read_bytes(path: Path) -> bytes:
    """The whole of a regular file.

    Raises:
        RefusedError: it is none, cannot be read, or is empty.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise RefusedError("not a regular file")
        data = path.read_bytes()
    except OSError as error:
        raise RefusedError(f"cannot be read ({error.strerror or error})") from None
    if not data:
        raise RefusedError("zero bytes")
    return data


def _open(data: bytes, frame: Frame, suffix: str) -> Raw:
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _check_header(image, frame)
            _check_whole(str(image.format), data)
            return read_pixels(image, data, frame.channels)
    except UnidentifiedImageError:
        raise RefusedError(_what_else(data, suffix)) from None
    except Image.DecompressionBombError as error:
        raise RefusedError(f"too large ({error})") from None
    except _PILLOW_ERRORS as error:
        raise RefusedError(f"damaged or truncated ({str(error) or type(error).__name__})") from None


def _check_header(image: Image.Image, frame: Frame) -> None:
    """Refuse by size and number of frames, before any pixel is decoded."""
    check_size(image.height, image.width, frame)
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # MPO is a camera's JPEG with a preview behind it
        raise RefusedError(f"{frames} frames or pages; save the one that is meant as a file of its own")


def _check_whole(form: str, data: bytes) -> None:
    """What Pillow lets pass: a PNG whose checksums are wrong, a JPEG cut off and padded."""
    if form == "PNG":
        with Image.open(io.BytesIO(data), formats=("PNG",)) as twin:
            twin.verify()
    if form in ("JPEG", "MPO") and data.find(b"\xff\xd9", _first_scan(data)) < 0:
        raise RefusedError("truncated (no end-of-image marker)")


def _first_scan(data: bytes) -> int:
    """Where a JPEG's own scan starts: behind its headers, and so behind a thumbnail in them."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        fill = data[at + 1] == 0xFF
        at += 1 if fill else 2 + int.from_bytes(data[at + 2 : at + 4])
    return at


def _what_else(data: bytes, suffix: str) -> str:
    for offset, start, kind in _FOREIGN:
        if data[offset:].startswith(start):
            return kind
    return "no DICOM file (no DICM mark)" if IMAGE_FORMATS.get(suffix.lower()) == "DICOM" else "not an image"
