"""The gallery: clean image, attacked image and amplified difference, as 8-bit pictures inside the page."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from medaegis.report._read import Gallery, GalleryColumn
from medaegis.report._slices import middle_slice
from medaegis.report._tables import budget

Image = NDArray[np.float32]

BYTES = 1_500_000  # of PNG in one page; base64 makes them a third larger
FAINT = 0.1  # share of the largest change below which a pixel is not boxed
SHOWN_SIDE = 208  # CSS pixels that a small picture is blown up to, by a whole factor


@dataclass(frozen=True)
class Picture:
    """A PNG as a data address, its words and the size to show it at, in CSS pixels."""

    source: Markup
    alt: str
    width: int
    height: int


@dataclass(frozen=True)
class Box:
    """A rectangle on a picture, in percent of its width and height, from its upper left corner."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Attacked:
    """An attacked image, its difference from the clean one, and what classifier and detectors say.

    `largest` is the largest change of a pixel, in 1/256; `boxes` mark what was painted, where there is no budget.
    """

    title: str
    picture: Picture
    difference: Picture
    gain: str
    prediction: str
    verdicts: tuple[tuple[str, str], ...]
    largest: str = ""
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class ShownCase:
    """One case: its clean image and every attack on it."""

    name: str
    label: str
    clean: Picture
    prediction: str
    attacked: tuple[Attacked, ...]


@dataclass(frozen=True)
class Shown:
    """The gallery of a page; `total` counts the stored cases, `every` tells which pixels are shown (1: all).

    `depth` is the number of slices of a volume, whose middle one is shown; 1 for images.
    """

    cases: tuple[ShownCase, ...]
    total: int
    every: int
    channels: int
    depth: int = 1


def show(gallery: Gallery, limit: int = BYTES) -> Shown:
    """Turn a stored gallery into pictures, as many cases as the page's size allows and at least one.

    Args:
        gallery: clean and attacked images in [0, 1].
        limit: bytes of PNG.

    Returns:
        The pictures; if even one case is too large, every second (third …) pixel of it.

    Example:
        >>> show(gallery).total  # doctest: +SKIP
        6
    """
    every = 1
    while (first := _case(gallery, 0, every))[1] > limit and every < max(gallery.clean.shape[2:]) // 32:
        every += 1
    cases, size = [first[0]], first[1]
    for index in range(1, len(gallery.text.cases)):
        case, more = _case(gallery, index, every)
        size += more
        if size > limit:
            break
        cases.append(case)
    return Shown(tuple(cases), len(gallery.text.cases), every, gallery.clean.shape[1], gallery.depth)


def gain_of(eps: str) -> float:
    """The factor that makes a change of the whole budget black or white; NaN for a budget of zero or without number.

    Example:
        >>> gain_of("1/256")
        128.0
    """
    size = budget(eps)
    return 0.5 / size if size > 0 else math.nan


def amplified(clean: Image, attacked: Image, gain: float) -> Image:
    """The difference around middle grey: 0.5 + gain times (attacked - clean), cut to [0, 1]."""
    return np.clip(0.5 + gain * (attacked - clean), 0.0, 1.0).astype(np.float32)


def percent(probability: float | None) -> str:
    r"""A probability in words; never 100 % for one that is merely close to it.

    Example:
        >>> percent(0.9231), percent(0.99999), percent(None)
        ('92.3\xa0%', 'over 99.9\xa0%', 'n/a')
    """
    if probability is None or not math.isfinite(probability):
        return "n/a"
    if 0.9995 <= probability < 1:
        return "over 99.9\u00a0%"
    return f"{100 * probability:.1f}\u00a0%"


def _case(gallery: Gallery, index: int, every: int) -> tuple[ShownCase, int]:
    """One case and the bytes of its pictures."""
    case, clean = gallery.text.cases[index], gallery.clean[index]
    picture, size = _picture(clean, f"Clean image of case {case.name}", every)
    attacked: list[Attacked] = []
    for column, stack in zip(gallery.text.columns, gallery.adversarial, strict=True):
        one, more = _attacked(column, index, clean, stack[index], case.name, every)
        attacked.append(one)
        size += more
    prediction = f"{case.prediction}, {percent(case.probability)}"
    return ShownCase(case.name, str(case.label), picture, prediction, tuple(attacked)), size


def _attacked(
    column: GalleryColumn, index: int, clean: Image, image: Image, name: str, every: int
) -> tuple[Attacked, int]:
    gain = gain_of(column.eps)
    what = f"attacked by {column.title}, budget {column.eps}" if column.eps else f"with {column.title}"
    picture, size = _picture(image, f"Case {name} {what}", every)
    times = f", amplified {gain:g} times" if gain > 0 else ""
    words = f"Change made to case {name} by {column.title}{times}; middle grey is no change"
    difference, more = _picture(amplified(clean, image, gain if gain > 0 else 1.0), words, every)
    return Attacked(
        title=column.title,
        picture=picture,
        difference=difference,
        gain=f"{gain:g}" if gain > 0 else "1",
        prediction=f"{column.predictions[index]}, {percent(column.probabilities[index])}",
        verdicts=_verdicts(column.verdicts[index]),
        largest=f"{256 * float(np.abs(image - clean).max(initial=0.0)):.3g}",
        boxes=() if gain > 0 else boxes(clean, image),
    ), size + more


def boxes(clean: Image, changed: Image) -> tuple[Box, ...]:
    """Rectangles around what differs between two pictures, one a connected patch.

    Args:
        clean: (c, h, w) in [0, 1].
        changed: (c, h, w) in [0, 1].

    Returns:
        Patches whose change is at least a tenth of the largest one, with a margin of one pixel; none without a change.

    Example:
        >>> after = np.zeros((1, 4, 8), np.float32)
        >>> after[0, 1, 2:4] = 0.5
        >>> boxes(np.zeros_like(after), after)
        (Box(left=12.5, top=0.0, width=50.0, height=75.0),)
    """
    from skimage.measure import label, regionprops

    change = np.abs(changed - clean).max(axis=0)
    (h, w), seen = change.shape, (change > FAINT * change.max()) & (change > 0)
    ends = [region.bbox for region in regionprops(label(seen, connectivity=2))]
    margins = [
        (max(top - 1, 0), max(left - 1, 0), min(low + 1, h), min(right + 1, w)) for top, left, low, right in ends
    ]
    return tuple(
        Box(100 * left / w, 100 * top / h, 100 * (right - left) / w, 100 * (low - top) / h)
        for top, left, low, right in margins
    )


def _verdicts(said: dict[str, bool | None]) -> tuple[tuple[str, str], ...]:
    words = {True: "flagged", False: "passed", None: "n/a"}
    return tuple((name, words[flag]) for name, flag in said.items())


def _picture(image: Image, alt: str, every: int) -> tuple[Picture, int]:
    small = image[:, ::every, ::every]
    png = png_bytes(small)
    factor = max(1, round(SHOWN_SIDE / max(small.shape[1:])))
    source = Markup("data:image/png;base64," + base64.b64encode(png).decode("ascii"))  # base64 needs no escape
    return Picture(source, alt, small.shape[2] * factor, small.shape[1] * factor), len(png)


def png_bytes(image: Image) -> bytes:
    """Encode (c, h, w) in [0, 1] as PNG with 8 bits a channel: grey where all channels agree, else the first three.

    Of a volume (c, d, h, w), the middle slice.

    Example:
        >>> png_bytes(np.zeros((1, 2, 2), np.float32))[1:4]
        b'PNG'
    """
    from PIL import Image as Pillow

    levels = np.rint(255.0 * np.clip(np.nan_to_num(middle_slice(image, before=1)), 0.0, 1.0)).astype(np.uint8)
    shown = levels[:3] if levels.shape[0] >= 3 and not _grey(levels) else levels[:1]
    pixels = shown[0] if shown.shape[0] == 1 else np.moveaxis(shown, 0, 2)
    buffer = io.BytesIO()
    Pillow.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _grey(levels: NDArray[np.uint8]) -> bool:
    return bool((levels == levels[:1]).all())
