"""Made-up fundus photographs, healthy and with diabetic retinopathy, for demonstrations and tests."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from medaegis.data._phantom_parts import (
    Array,
    Canvas,
    Phantoms,
    View,
    blot,
    grid,
    grow,
    make_phantoms,
    refocus,
    smooth_field,
    soft_step,
    sprout,
)

_DISC_COLOUR = (1.0, 0.80, 0.52)
_EXUDATE_COLOUR = (1.0, 0.86, 0.45)
_BLOOD = (0.45, 0.80, 0.75)  # the share of red, green, blue light that a layer of blood takes away


class _Eye(NamedTuple):
    """One patient's eye: places (x, y) and outlines in anatomical units; `depth` in [0, 1] is how dark its blood is."""

    disc: Array
    fovea: Array
    disc_radius: float
    cup: float
    colour: Array
    depth: float
    vessels: tuple[_Vessel, ...]
    drusen: tuple[Array, ...]
    nevus: Array | None
    blood: tuple[Array, ...]
    exudates: tuple[Array, ...]


class _Vessel(NamedTuple):
    """A stretch of vessel: points (t, 2), width in anatomical units, strength in [0, 1]."""

    points: Array
    width: float
    strength: float


def fundus_phantoms(n: int, *, size: int = 128, seed: int = 0) -> Phantoms:
    """Draw fundus photographs of made-up patients, half of them with diabetic retinopathy.

    An eye has a disc, a fovea, a vessel tree, and its own pigment and light. Healthy and diseased eyes alike may show
    drusen, a nevus, dust on the lens and reflections; only diseased ones show microaneurysms, haemorrhages and
    exudates. A third of the patients have two images. Case i depends on `seed` and i only, never on `n`.

    Args:
        n: number of images, at least 1; every even n is balanced.
        size: height and width in pixels, 32 to 1024.
        seed: an int in [0, 2**32 - 1]; another seed makes other patients.

    Returns:
        Images (n, 3, size, size) as uint8 RGB, labels (n,) with 0 healthy and 1 diseased, and n patient ids.

    Raises:
        InputError: an argument is not an int in its range.

    Example:
        >>> images, labels, groups = fundus_phantoms(8, size=64, seed=1)
        >>> images.shape, int(labels.sum()), len(set(groups))
        ((8, 3, 64, 64), 4, 6)
    """
    return make_phantoms(_photograph, (1, "fundus"), n, size, seed)


def _photograph(patient: Generator, visit: Generator, diseased: bool, size: int) -> Array:
    eye = _draw_eye(patient, diseased)
    view = View(visit.normal(0, 0.06), visit.uniform(0.95, 1.08), (visit.normal(0, 0.05), visit.normal(0, 0.05)))
    image = _retina(patient, eye, view, size)
    image = _blend(image, _painted(eye.drusen, view, size, 0.018) * 0.6, (0.97, 0.76, 0.40))
    image = _absorb(image, _vessel_map(eye, view, size))
    image = _absorb(image, _painted(eye.blood, view, size, 0.006) * eye.depth)
    image = _blend(image, _painted(eye.exudates, view, size, 0.006) * 0.75, _EXUDATE_COLOUR)
    return refocus(visit, _expose(visit, image, size), (0.006, 0.016), (0.008, 0.03))


def _draw_eye(rng: Generator, diseased: bool) -> _Eye:
    side = float(rng.choice([-1.0, 1.0]))
    disc = np.array([side * rng.uniform(0.44, 0.60), rng.uniform(-0.08, 0.06)])
    fovea = np.array([disc[0] - side * rng.uniform(0.56, 0.66), disc[1] + rng.uniform(0.02, 0.10)])
    radius = rng.uniform(0.10, 0.16)
    pigment = rng.uniform(0, 1)
    colour = np.array([0.92 - 0.32 * pigment, 0.47 - 0.20 * pigment, 0.24 - 0.12 * pigment])
    colour = colour * rng.uniform(0.9, 1.1, 3)
    depth = rng.uniform(0.6, 0.95)
    vessels, nevus = _vessel_tree(rng, side, disc, depth), _nevus(rng)
    drusen = _cluster(rng, disc, int(rng.integers(4, 22)), 0.35) if rng.random() < 0.5 else ()
    blood, exudates = _lesions(rng, disc) if diseased else ((), ())
    return _Eye(disc, fovea, radius, rng.uniform(0.3, 0.6), colour, depth, vessels, drusen, nevus, blood, exudates)


def _vessel_tree(rng: Generator, side: float, disc: Array, depth: float) -> tuple[_Vessel, ...]:
    """An artery and a vein in each of four quarters; the temporal ones bend round the fovea."""
    away = np.repeat(np.array([1.35, -1.35, 2.2, -2.2]), 2) + np.tile([0.12, -0.12], 4) + rng.normal(0, 0.1, 8)
    bend = np.repeat(np.array([-1.75, 1.75, -0.1, 0.1]), 2) * rng.uniform(0.8, 1.15, 8)
    length = np.repeat(np.array([1.9, 1.9, 0.9, 0.9]), 2) * rng.uniform(0.9, 1.1, 8)
    # Angles count from the temporal direction; y runs downwards and `side` mirrors x.
    heading, bend = (np.pi - away, -bend) if side > 0 else (away, bend)
    start = np.repeat(disc[None], 8, axis=0)
    trunks = grow(rng, start, heading, length, bend, rng.uniform(0.06, 0.16))
    branches = sprout(rng, trunks, int(rng.integers(2, 5)), (0.25, 0.75))
    twigs = sprout(rng, branches, 2, (0.10, 0.35))
    calibre = rng.uniform(0.6, 1.5)
    vessels = [_Vessel(p, 0.016 * calibre, 0.6 * depth) for p in twigs.points]
    vessels += [_Vessel(p, 0.024 * calibre, 0.8 * depth) for p in branches.points]
    for i, points in enumerate(trunks.points):
        vein = i % 2
        width = (0.034 + 0.012 * vein) * calibre
        vessels += [_Vessel(points, 0.7 * width, (0.75 + 0.25 * vein) * depth)]
        vessels += [_Vessel(points[:8], width, (0.75 + 0.25 * vein) * depth)]
    return tuple(vessels)


def _lesions(rng: Generator, disc: Array) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Outlines of bleedings, from microaneurysms to blots, and of exudates."""
    dots = _spots(rng, _scatter(rng, disc, int(rng.integers(4, 9)), 0.8), (0.034, 0.043), 0.03)
    blots = _spots(rng, _scatter(rng, disc, int(rng.integers(1, 5)), 0.75), (0.045, 0.075), 0.11)
    exudates: tuple[Array, ...] = ()
    for _ in range(int(rng.integers(1, 3)) if rng.random() < 0.45 else 0):
        exudates += _cluster(rng, disc, int(rng.integers(3, 7)), 0.09)
    return dots + blots, exudates


def _spots(rng: Generator, places: Array, radius: tuple[float, float], raggedness: float) -> tuple[Array, ...]:
    return tuple(blot(rng, at, rng.uniform(*radius), raggedness) for at in places)


def _scatter(rng: Generator, disc: Array, count: int, reach: float) -> Array:
    """`count` places (count, 2) on the retina, clear of the disc."""
    angle, distance = rng.uniform(0, 2 * np.pi, 6 * count), reach * np.sqrt(rng.uniform(0.01, 1, 6 * count))
    places = np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=1)
    return places[np.hypot(*(places - disc).T) > 0.22][:count]


def _cluster(rng: Generator, disc: Array, count: int, spread: float) -> tuple[Array, ...]:
    """Outlines of small spots gathered round one place."""
    centre = _scatter(rng, disc, 1, 0.6)[0]
    return _spots(rng, centre + spread * rng.standard_normal((count, 2)), (0.034, 0.05), 0.15)


def _nevus(rng: Generator) -> Array | None:
    """(x, y, radius) of a patch of pigment in the choroid, in one eye of four."""
    angle, distance, radius = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 0.7), rng.uniform(0.07, 0.16)
    spot = np.array([distance * np.cos(angle), distance * np.sin(angle), radius])
    return spot if rng.random() < 0.25 else None


def _retina(rng: Generator, eye: _Eye, view: View, size: int) -> Array:
    """Background, fovea, nevus and disc, (3, size, size)."""
    x, y = grid(size, view)
    mottle = 1 + 0.05 * rng.uniform(0.5, 1.5) * smooth_field(rng, size, 6, 13, 24)
    image = eye.colour[:, None, None] * mottle
    spot = np.exp(-(np.square(x - eye.fovea[0]) + np.square(y - eye.fovea[1])) / 0.035)
    image *= 1 - np.array([0.30, 0.42, 0.35])[:, None, None] * spot
    if eye.nevus is not None:
        inside = soft_step(eye.nevus[2] - np.hypot(x - eye.nevus[0], y - eye.nevus[1]), 0.05)
        image *= 1 - np.array([0.40, 0.25, 0.10])[:, None, None] * inside
    away = np.hypot((x - eye.disc[0]) * 1.12, y - eye.disc[1])
    image = _blend(image, soft_step(eye.disc_radius - away, 0.025) * 0.8, _DISC_COLOUR)
    return _blend(image, soft_step(eye.cup * eye.disc_radius - away, 0.03) * 0.7, (1.0, 0.95, 0.80))


def _vessel_map(eye: _Eye, view: View, size: int) -> Array:
    canvas = Canvas(size, view)
    for vessel in eye.vessels:
        canvas.line(vessel.points, vessel.width, vessel.strength)
    x, y = grid(size, view)
    near = np.exp(-(np.square(x - eye.fovea[0]) + np.square(y - eye.fovea[1])) / 0.02)
    return canvas.coverage() * (1 - near)  # the fovea has no vessels


def _painted(outlines: tuple[Array, ...], view: View, size: int, blur: float) -> Array:
    if not outlines:
        return np.zeros((size, size))
    canvas = Canvas(size, view)
    for outline in outlines:
        canvas.blob(outline, 1.0)
    return canvas.coverage(blur)


def _blend(image: Array, cover: Array, colour: tuple[float, float, float]) -> Array:
    """`image` with paint of `colour` over it, where `cover` (h, w) in [0, 1] says."""
    return image + cover * (np.array(colour)[:, None, None] - image)


def _absorb(image: Array, depth: Array) -> Array:
    """`image` seen through blood of `depth` (h, w) in [0, 1]."""
    return image * (1 - np.array(_BLOOD)[:, None, None] * depth)


def _expose(rng: Generator, image: Array, size: int) -> Array:
    """The retina as the camera gets it: uneven light, dust, reflections, colour balance, round field of view."""
    x, y = grid(size, View(0.0, 1.0, (0.0, 0.0)))
    angle, slope, fall = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.3), rng.uniform(0.1, 0.6)
    light = 1 + slope * (x * np.cos(angle) + y * np.sin(angle)) - fall * (x * x + y * y)
    for _ in range(int(rng.integers(0, 6))):
        cx, cy, radius = rng.uniform(-0.7, 0.7), rng.uniform(-0.7, 0.7), rng.uniform(0.04, 0.13)
        light *= 1 - rng.uniform(0.1, 0.4) * np.exp(-np.square((np.hypot(x - cx, y - cy)) / radius))
    balance = rng.uniform(0.8, 1.15) * rng.uniform(0.92, 1.08, 3)
    image = np.power(np.clip(image, 0, 1), rng.uniform(0.85, 1.2)) * light * balance[:, None, None]
    image = image + _glare(rng, x, y)
    edge = soft_step(rng.uniform(0.90, 0.98) - np.hypot(x, y), 0.015)
    if rng.random() < 0.5:
        edge = edge * soft_step(rng.uniform(0.78, 0.9) - np.abs(y), 0.015)  # cameras often cut off top and bottom
    return image * edge


def _glare(rng: Generator, x: Array, y: Array) -> Array:
    """A reflection: a bright bluish crescent near the rim, in one image of three."""
    angle, reach, wide = rng.uniform(0, 2 * np.pi), rng.uniform(0.7, 1.0), rng.uniform(0.05, 0.15)
    strength = rng.uniform(0.1, 0.4) if rng.random() < 0.35 else 0.0
    along = np.arctan2(y, x) - angle
    crescent = np.exp(-np.square((np.hypot(x, y) - reach) / wide) - np.square(np.sin(along / 2) / 0.35))
    return strength * crescent * np.array([0.6, 0.7, 0.8])[:, None, None]
