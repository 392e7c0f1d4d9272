"""One DICOM file: its stored values, what they mean, and the picture that its window makes of them."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medaegis.data._dataset import Pixels
from medaegis.data._geometry import Frame
from medaegis.data._pixels import LUMA, Raw, RefusedError, check_size
from medaegis.data._window import Values, Window, parse_window, windowed

if TYPE_CHECKING:
    from pydicom import Dataset as Header

MARK = slice(128, 132)
# What pydicom and its decoders raise on broken files; values are converted when they are first looked at.
_BROKEN = (
    OSError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, EOFError, RuntimeError, MemoryError,
    SyntaxError, struct.error, zlib.error,
)  # fmt: skip


def is_dicom(data: bytes) -> bool:
    """Whether bytes have DICOM's mark.

    Example:
        >>> is_dicom(bytes(128) + b"DICM")
        True
    """
    return data[MARK] == b"DICM"


@contextmanager
def dicom_errors() -> Generator[None]:
    """Whatever a broken file makes pydicom raise, as one `RefusedError`."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    try:
        yield
    except (*_BROKEN, BytesLengthException, InvalidDicomError) as error:
        raise RefusedError(f"damaged or incomplete DICOM ({str(error).strip() or type(error).__name__})") from None


def open_dicom(data: bytes) -> Header:
    """The header, checked as far as pixels depend on it; call it, and look into it, inside `dicom_errors`.

    Raises:
        RefusedError: no image, several frames, floating-point pixels, or a compression that cannot be read here.
    """
    from pydicom import dcmread
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    header = dcmread(io.BytesIO(data))
    if "PixelData" not in header:
        floats = "FloatPixelData" in header or "DoubleFloatPixelData" in header
        raise RefusedError("floating-point pixels" if floats else f"a DICOM file without an image ({_kind(header)})")
    frames = int(header.get("NumberOfFrames") or 1)
    if frames > 1:
        raise RefusedError(f"{frames} frames in one DICOM file; save each as a file of its own, or convert to NIfTI")
    syntax = UID(str(header.file_meta.TransferSyntaxUID))
    try:
        known = get_decoder(syntax).is_available
    except NotImplementedError:
        known = False
    if not known:
        fix = "install a decoder for pydicom (python-gdcm, pylibjpeg), or save it uncompressed"
        raise RefusedError(f"compressed as {syntax.name}, which cannot be read here; {fix}")
    return header


def readable_compressions() -> dict[str, bool]:
    """The compressions that medical images come in, and whether pydicom finds a decoder for each.

    Example:
        >>> readable_compressions()["RLE"]
        True
    """
    from pydicom import uid
    from pydicom.pixels.decoders.base import get_decoder

    named = {
        "RLE": uid.RLELossless,
        "JPEG": uid.JPEGBaseline8Bit,
        "JPEG 2000": uid.JPEG2000Lossless,
        "lossless JPEG": uid.JPEGLosslessSV1,
        "JPEG-LS": uid.JPEGLSLossless,
    }
    return {name: get_decoder(syntax).is_available for name, syntax in named.items()}


def _kind(header: Header) -> str:
    from pydicom.uid import UID

    return UID(str(header.get("SOPClassUID", ""))).name or "of no stated kind"


def stored_values(header: Header) -> NDArray[Any]:
    """Stored values (h, w) or, in colour, (h, w, 3) in RGB; bits above BitsStored are no part of them."""
    from pydicom.pixels.utils import pixel_array

    return pixel_array(header)


def overfull(stored: NDArray[Any], header: Header) -> tuple[str, ...]:
    """A remark where bits above BitsStored were set: old overlays, or a header that is wrong."""
    from pydicom.pixels.utils import pixel_array

    if header.BitsAllocated == header.BitsStored or header.file_meta.TransferSyntaxUID.is_encapsulated:
        return ()
    if np.array_equal(pixel_array(header, correct_unused_bits=False), stored):
        return ()
    return (f"bits above BitsStored = {header.BitsStored} are set, and were dropped; is its header right?",)


def patients_of(header: Header) -> tuple[str, str]:
    """Short hashes of PatientID and of StudyInstanceUID, "" for an empty one: tables of results do not carry the IDs.

    Files whose PatientID was taken out often keep the study, and a study is of one patient.
    """
    told = (("patient", header.get("PatientID")), ("study", header.get("StudyInstanceUID")))
    patient, study = (_hashed(kind, str(value or "").strip()) for kind, value in told)
    return patient, study


def _hashed(kind: str, text: str) -> str:
    return f"{kind}-{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}" if text else ""


def read_picture(data: bytes, frame: Frame) -> Raw:
    """A DICOM image as it would be shown: modality LUT, window, MONOCHROME1 inverted, YBR and palettes in RGB.

    The window is the frame's; else the file's VOI LUT; else its WindowCenter and WindowWidth, the first of several;
    else the full range of BitsStored. More than 8 bits become 16.

    Raises:
        RefusedError: it cannot be used; the text is the reason.
    """
    with dicom_errors():
        header = open_dicom(data)
        check_size(int(header.Rows), int(header.Columns), frame)
        stored = stored_values(header)
        kind = str(header.PhotometricInterpretation)
        if kind == "PALETTE COLOR" or stored.ndim == 3:
            shares, remarks = _in_colour(stored, header, frame.channels), ()
        else:
            shares, remarks = _in_gray(stored, header, frame.window), overfull(stored, header)
        pixels = _quantised(shares, int(header.BitsStored))
        digest = hashlib.blake2b(f"{stored.shape} {stored.dtype}".encode() + stored.tobytes()).digest()
        return Raw(pixels, "DICOM", remarks + _oblong(header), patients_of(header), digest)


def _quantised(shares: Values, bits: int) -> Pixels:
    full, kind = (255, np.uint8) if bits <= 8 else (65535, np.uint16)
    return np.rint(shares * full).astype(kind)


def _oblong(header: Header) -> tuple[str, ...]:
    """A remark on pixels that are not square, which images do not take into account."""
    spacing = header.get("PixelSpacing") or header.get("ImagerPixelSpacing") or header.get("PixelAspectRatio")
    if not spacing or abs(float(spacing[0]) / float(spacing[1]) - 1) < 1e-3:
        return ()
    return (f"pixels are not square ({spacing[0]} x {spacing[1]}); taken as if they were",)


def _in_colour(stored: NDArray[Any], header: Header, channels: int) -> Values:
    """Shares (3, h, w), or their luma (1, h, w)."""
    from pydicom.pixels.processing import apply_color_lut

    if stored.ndim == 2:
        stored = apply_color_lut(stored, header)
        top = float(np.iinfo(stored.dtype).max)
    else:
        top = 2.0 ** int(header.BitsStored) - 1
    if stored.shape[2] != 3:
        raise RefusedError(f"{stored.shape[2]} samples a pixel")
    planes: NDArray[np.float64] = np.clip(np.moveaxis(stored, 2, 0) / top, 0, 1)
    return np.tensordot(LUMA, planes, axes=1)[None] if channels == 1 else planes


def _in_gray(stored: NDArray[Any], header: Header, window: str | None) -> Values:
    """Shares (1, h, w) of white."""
    values = modality_values(stored, header)
    if not np.isfinite(values).all():
        raise RefusedError("RescaleSlope and RescaleIntercept lead out of floating-point numbers")
    if window is not None:
        shares = windowed(values, parse_window(window, "DICOM"))
    elif header.get("VOILUTSequence"):
        item = header.VOILUTSequence[0]
        shares = _looked_up(values, item, header) / (2.0 ** int(item.LUTDescriptor[2]) - 1)
    elif (found := _told_window(header)) is not None:
        shares = _by_function(values, *found, str(header.get("VOILUTFunction") or "LINEAR"))
    else:
        shares = windowed(values, Window(*_full_range(header)))
    dark = str(header.PhotometricInterpretation) == "MONOCHROME1"
    return (1 - shares if dark else shares)[None]


def modality_values(stored: NDArray[Any], header: Header) -> NDArray[np.float64]:
    """Stored values through the modality LUT, or slope and intercept: Hounsfield units in CT."""
    if header.get("ModalityLUTSequence"):
        return _looked_up(stored, header.ModalityLUTSequence[0], header)
    slope, intercept = _rescale(header)
    return stored * slope + intercept


def _rescale(header: Header) -> tuple[float, float]:
    """Slope and intercept; 1 and 0 where the file has none, and where it says 0 or no number."""
    found = header.get("RescaleSlope"), header.get("RescaleIntercept")
    slope, intercept = (
        float(default if value is None else value) for value, default in zip(found, (1, 0), strict=True)
    )
    if not (np.isfinite(slope) and np.isfinite(intercept) and slope != 0):
        raise RefusedError(f"RescaleSlope {slope} and RescaleIntercept {intercept}, which is no scale")
    return slope, intercept


def _full_range(header: Header) -> tuple[float, float]:
    """The least and the largest value that BitsStored allows, after the modality's step."""
    if header.get("ModalityLUTSequence"):
        return 0.0, 2.0 ** int(header.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    bits = int(header.BitsStored)
    ends = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if header.PixelRepresentation else (0.0, 2.0**bits - 1)
    slope, intercept = _rescale(header)
    low, high = sorted(end * slope + intercept for end in ends)
    return low, high


def _told_window(header: Header) -> tuple[float, float] | None:
    """WindowCenter and WindowWidth, the first of several; None where there is none that can be used."""
    found: list[float] = []
    for name in ("WindowCenter", "WindowWidth"):
        value = header.get(name)
        if value is None or value == "":
            return None
        found.append(float(value if isinstance(value, int | float | str) else value[0]))
    centre, width = found
    exact = str(header.get("VOILUTFunction") or "LINEAR") != "LINEAR"
    return (centre, width) if np.isfinite(centre) and width > (0 if exact else 1) else None


def _by_function(values: Values, centre: float, width: float, function: str) -> Values:
    """The three functions of the DICOM standard, PS3.3 C.11.2.1.2 and C.11.2.1.3, from 0 to 1."""
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0, 1)
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


def _looked_up(values: NDArray[Any], item: Header, header: Header) -> NDArray[np.float64]:
    """Values through a LUT of the file; below the first entry and above the last, those."""
    count, first = int(item.LUTDescriptor[0]) or 2**16, int(item.LUTDescriptor[1])
    entries: Any = item.LUTData
    if isinstance(entries, bytes):
        order = "<" if header.file_meta.TransferSyntaxUID.is_little_endian else ">"
        entries = np.frombuffer(entries, dtype=f"{order}u2" if len(entries) >= 2 * count else "u1")
    table = np.asarray(entries, dtype=np.float64)[:count]
    places = np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)
    return table[places]
