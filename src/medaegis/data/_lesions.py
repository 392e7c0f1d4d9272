"""Made-up lesions painted into images: bent ellipses with a texture and soft edges, as out-of-distribution signals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import torch
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from torch import Tensor

from medaegis._errors import is_a, is_int, is_number, require
from medaegis._types import Images

Array: TypeAlias = NDArray[np.floating[Any]]
Places: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]
LesionSize: TypeAlias = Literal["tiny", "small", "medium", "large"]
Within: TypeAlias = Literal["body", "image"]

RADII: dict[LesionSize, tuple[float, float]] = {
    "tiny": (0.012, 0.020),
    "small": (0.025, 0.038),
    "medium": (0.050, 0.070),
    "large": (0.090, 0.120),
}
"""Radius of the ball (disc) of a lesion's volume (area), from the smallest to the largest, as a share of the shorter
side. HFC-23 gives no numbers: these are ours."""

TRUNCATE = 3.0
"""Standard deviations at which the Gaussian of the edge ends."""


class Lesioned(NamedTuple):
    """Images with lesions.

    Attributes:
        images: (n, c, *space), as given outside the masks.
        masks: (n, 1, *space), float32 in [0, 1]: 1 inside a lesion, falling to 0 over its edge; exactly 0 elsewhere.
    """

    images: Images
    masks: Tensor


def add_lesions(
    images: Images,
    *,
    size: LesionSize = "medium",
    quantity: int = 1,
    seeds: Sequence[int],
    contrast: float = 1.0,
    within: Within = "body",
) -> Lesioned:
    """Paint lesions at random places of 2-D or 3-D images, gray or in colour.

    A lesion is an ellipse (ellipsoid) of random size, axes and direction, bent by a random elastic deformation. Its
    texture is salt noise behind a Gaussian filter of random width; it is brighter or darker than what it covers, of the
    same hue in colour, gray where all channels agree, and lets some of the anatomy show through. Its edge is blurred.
    Lesions lie wholly inside the body and apart from one another where there is room; failing that they may touch,
    then leave the body, never the frame. An image's lesions depend on its own seed only; ten draws of an image are ten
    seeds.

    Args:
        images: (n, c, *space) in [0, 1], floating point, two or three dimensions of at least 16 pixels each.
        size: "tiny", "small", "medium" or "large". The radius of the disc (ball) of equal area (volume) is 1.2 to 2.0,
            2.5 to 3.8, 5 to 7 or 9 to 12 percent of the image's shorter side.
        quantity: lesions an image, at least 1.
        seeds: a seed in [0, 2**63 - 1] for each image.
        contrast: factor, above 0, of a lesion's difference from what it covers: that is drawn from 0.12 to 0.32 of the
            pixel range, and goes at most 60 % of the way to black or white. 1 is like subtle findings, 2 conspicuous.
        within: "body" keeps to what is brighter than the background (a tenth of the bright parts' level, holes filled;
            the whole image where that is hardly anything), as a lesion has to grow on something; "image" allows any
            place inside the frame.

    Returns:
        The images, in their dtype and on their device, and the masks. The gradient is not kept.

    Raises:
        InputError: an argument breaks its rule.

    Source: HFC-23 section V-H, after Hu et al. The paper gives no sizes, contrasts or widths: all numbers are ours.

    Example:
        >>> made = add_lesions(torch.full((2, 1, 64, 64), 0.5), size="large", quantity=2, seeds=[1, 2])
        >>> made.images.shape, bool((made.images != 0.5).any())
        (torch.Size([2, 1, 64, 64]), True)
    """
    _check(images, size, quantity, seeds)
    require(is_number(contrast) and contrast > 0, "contrast", "add_lesions", "a number > 0", contrast)
    require(within in get_args(Within), "within", "add_lesions", f"one of {list(get_args(Within))}", within)
    pixels: Array = images.detach().cpu().float().numpy()
    wanted = _Wanted(RADII[size], quantity, contrast, within)
    made = [_one(x, wanted, default_rng(seed)) for x, seed in zip(pixels, seeds, strict=True)]
    space = images.shape[2:]
    painted = torch.from_numpy(np.array([m.image for m in made], np.float32).reshape(images.shape)).to(images)
    masks = torch.from_numpy(np.array([m.mask for m in made], np.float32).reshape(len(made), 1, *space))
    masks = masks.to(images.device)
    return Lesioned(torch.where(masks > 0, painted, images.detach()), masks)


def _check(images: Tensor, size: object, quantity: object, seeds: Sequence[object]) -> None:
    owner = "add_lesions"
    good = is_a(images, Tensor) and images.dim() in (4, 5) and images.is_floating_point()
    got = (images.dtype, tuple(images.shape)) if is_a(images, Tensor) else type(images).__name__
    require(good, "images", owner, "floating point of shape (n, c, *space) with two or three dimensions", got)
    rule = "at least one channel, and at least 16 pixels along each dimension"
    require(images.shape[1] >= 1 and min(images.shape[2:]) >= 16, "images", owner, f"of {rule}", tuple(images.shape))
    inside = images.numel() == 0 or (float(images.amin()) >= 0 and float(images.amax()) <= 1)
    require(inside and not bool(images.isnan().any()), "images", owner, "in [0, 1]", "other values", "Divide by 255.")
    require(size in RADII, "size", owner, f"one of {list(RADII)}", size)
    require(is_int(quantity) and quantity >= 1, "quantity", owner, "an int >= 1", quantity)
    wrong = [s for s in seeds if not (is_int(s) and 0 <= s < 2**63)]
    require(not wrong, "seeds", owner, "ints in [0, 2**63 - 1]", wrong[:3])
    require(len(seeds) == len(images), "seeds", owner, f"one for each of {len(images)} images", len(seeds))


class _Wanted(NamedTuple):
    """What lesions an image gets; see `add_lesions`."""

    radii: tuple[float, float]
    quantity: int
    contrast: float
    within: Within


class _Painted(NamedTuple):
    """One image (c, *space) with its lesions and their common mask (*space)."""

    image: Array
    mask: Array


class _Lesion(NamedTuple):
    """One lesion in a window of odd sides round its centre.

    Attributes:
        cover: 1 inside, 0 outside, soft between.
        texture: mean 0 and variance 1 under the cover.
        reach: from the centre to the farthest pixel that it touches, in pixels.
    """

    cover: Array
    texture: Array
    reach: float


class _Taken(NamedTuple):
    """Where a lesion stands already."""

    centre: Places
    reach: float


def _one(image: Array, wanted: _Wanted, rng: Generator) -> _Painted:
    space = image.shape[1:]
    rooms = _rooms(image, wanted.within)
    painted, mask = image.copy(), np.zeros(space, np.float32)
    taken: list[_Taken] = []
    for _ in range(wanted.quantity):
        lesion = _draw(rng, space, rng.uniform(*wanted.radii) * min(space))
        centre = _place(rng, rooms, lesion.reach, taken)
        taken.append(_Taken(centre, lesion.reach))
        window = tuple(
            slice(int(c) - s // 2, int(c) + s // 2 + 1) for c, s in zip(centre, lesion.cover.shape, strict=True)
        )
        mask[window] = np.maximum(mask[window], lesion.cover)
        painted[:, *window] = _paint(rng, painted[:, *window], lesion, wanted.contrast)
    return _Painted(painted, mask)


def _rooms(image: Array, within: Within) -> list[Array]:
    """How far each pixel is from where lesions may not reach, in pixels: in the body, then in the frame."""
    regions = [np.ones(image.shape[1:], np.bool_)]
    if within == "body":
        regions.insert(0, _body(image))
    return [_depth(region) for region in regions]


def _depth(region: Mask) -> Array:
    from scipy.ndimage import distance_transform_edt

    found = np.asarray(distance_transform_edt(np.pad(region, 1)))  # padded: beyond the frame is outside as well
    return found[tuple(slice(1, -1) for _ in range(region.ndim))]


def _body(image: Array) -> Mask:
    """What is brighter than a tenth of the bright parts' level, with its holes filled, (*space)."""
    from scipy.ndimage import binary_fill_holes

    level = _blurred(image.mean(axis=0), 0.01 * min(image.shape[1:]))
    body = np.asarray(binary_fill_holes(level > 0.1 * np.quantile(level, 0.99)))
    return body if body.mean() > 0.05 else np.ones_like(body)


def _place(rng: Generator, rooms: list[Array], reach: float, taken: list[_Taken]) -> Places:
    """A centre whose lesion stays in the first region and touches no other; else one whose lesion may touch another;
    else the same in the next region.
    """
    for room in rooms:
        fits = room > reach
        for free in (fits & _apart(fits.shape, reach, taken), fits):
            places = np.flatnonzero(free)
            if len(places):
                return np.array(np.unravel_index(places[rng.integers(len(places))], free.shape))
    return np.array(rooms[-1].shape) // 2


def _apart(space: tuple[int, ...], reach: float, taken: list[_Taken]) -> Mask:
    axes = np.ogrid[tuple(slice(side) for side in space)]
    free = np.ones(space, np.bool_)
    for other in taken:
        squares = sum((axis - c) ** 2 for axis, c in zip(axes, other.centre, strict=True))
        free &= squares > (reach + other.reach + 2) ** 2  # 2: diagonal neighbours stay apart too
    return free


def _draw(rng: Generator, space: tuple[int, ...], radius: float) -> _Lesion:
    dims, half = len(space), min(math.ceil(3 * radius) + 2, (min(space) - 1) // 2)
    inside = _bent_ellipsoid(rng, dims, radius, half)
    edge = max(0.5, rng.uniform(0.12, 0.25) * radius)
    cover = _blurred(inside.astype(np.float32), edge, mode="constant")
    away = np.abs(np.stack(np.nonzero(cover)) - half)
    reach, most = math.sqrt(int((away**2).sum(axis=0).max())), int(away.max())
    trim = (slice(half - most, half + most + 1),) * dims  # a window inside the image wherever the lesion is
    return _Lesion(cover[trim], _texture(rng, cover[trim], radius), reach)


def _blurred(image: Array, sigma: float, mode: str = "reflect") -> Array:
    """A Gaussian filter that ends after `TRUNCATE` sigma; `mode` says what lies beyond the border, as scipy has it."""
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(image, sigma, mode=mode, truncate=TRUNCATE), np.float32)


def _bent_ellipsoid(rng: Generator, dims: int, radius: float, half: int) -> Mask:
    """As many pixels as the ball of `radius` has, those deepest inside an ellipsoid on deformed coordinates."""
    line = np.arange(-half, half + 1, dtype=np.float32)
    grid = np.stack(np.meshgrid(*[line] * dims, indexing="ij"))
    noise = rng.standard_normal(grid.shape).astype(np.float32)
    bend = np.stack([_blurred(part, max(0.5, 0.4 * radius)) for part in noise])
    bend *= rng.uniform(0.15, 0.3) * radius / bend.std()
    logs = rng.uniform(-0.35, 0.35, dims)
    turn = np.linalg.qr(rng.standard_normal((dims, dims)))[0]
    scaled = np.tensordot(turn / np.exp(logs - logs.mean())[:, None], grid + bend, axes=1)
    depth = np.square(scaled).sum(axis=0)
    ball = math.pi * radius**2 if dims == 2 else 4 / 3 * math.pi * radius**3
    return depth <= np.partition(depth.ravel(), max(1, round(ball)) - 1)[max(1, round(ball)) - 1]


def _texture(rng: Generator, cover: Array, radius: float) -> Array:
    """Salt noise behind a Gaussian filter, both of random strength."""
    salt = (rng.random(cover.shape) < rng.uniform(0.05, 0.3)).astype(np.float32)
    soft = _blurred(salt, max(0.6, rng.uniform(0.1, 0.35) * radius))
    soft -= np.average(soft, weights=cover)
    spread = math.sqrt(np.average(soft**2, weights=cover))
    return np.clip(soft / max(spread, 1e-6), -2.5, 2.5)


def _paint(rng: Generator, below: Array, lesion: _Lesion, factor: float) -> Array:
    """Mix (c, *window) with the lesion's own level, under its cover."""
    colour = np.array([np.average(channel, weights=lesion.cover) for channel in below])
    level = float(colour.mean())
    sign = 1.0 if rng.random() > level else -1.0  # bright on dark ground more often than not
    most = min(1.0, 0.6 * factor) * (1 - level if sign > 0 else level)  # at 1 neither burnt out nor black
    contrast = min(factor * rng.uniform(0.12, 0.32), most)
    shift, grain = sign * contrast, contrast * rng.uniform(0.15, 0.35)
    opacity = rng.uniform(0.65, 0.95)
    tint = _tint(rng, below, colour)
    own = colour + shift * tint
    across = (slice(None), *[None] * lesion.cover.ndim)
    target = own[across] + grain * tint[across] * lesion.texture
    return np.clip(below + opacity * lesion.cover * (target - below), 0, 1).astype(np.float32)


def _tint(rng: Generator, below: Array, colour: Array) -> Array:
    """How much each channel changes, mean 1: about as the ground's own colour, or all alike in a gray picture."""
    draws = rng.uniform(0.85, 1.15, len(below))
    if bool((below == below[:1]).all()):
        return np.ones(len(below))
    tint = (colour + 0.05) * draws
    return tint / tint.mean()
