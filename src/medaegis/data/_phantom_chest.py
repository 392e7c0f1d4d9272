"""Made-up chest radiographs, with and without pneumonia, for demonstrations and tests without patients' data."""

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
    blurred,
    grid,
    grow,
    make_phantoms,
    refocus,
    smooth_field,
    soft_step,
    sprout,
)

_SIDES = (-1.0, 1.0)  # the patient's right lung is on the left of the image


class _Opacity(NamedTuple):
    """A consolidation: centre (x, y), half axes (a, b) along a tilt in radians, and how much it attenuates."""

    centre: tuple[float, float]
    axes: tuple[float, float]
    tilt: float
    density: float


class _Chest(NamedTuple):
    """One patient's anatomy, in anatomical units; `heart` is (x, y, a, b); `domes` are the diaphragm's two heights."""

    girth: float
    fat: float
    width: float
    apex: float
    base: float
    domes: tuple[float, float]
    heart: tuple[float, float, float, float]
    hilum: float
    ribs: tuple[float, float, float]
    breast: float
    air: float
    markings: tuple[Array, ...]
    opacities: tuple[_Opacity, ...]


def chest_phantoms(n: int, *, size: int = 128, seed: int = 0) -> Phantoms:
    """Draw frontal chest radiographs of made-up patients, half of them with pneumonia.

    A chest has lungs, ribs, clavicles, a spine, a heart, and the patient's own build, pose and exposure. Healthy and
    diseased ones alike may show breast shadows, electrodes, a side marker and gas in the stomach; only diseased ones
    show cloudy opacities in the lungs. A third of the patients have two images. Case i depends on `seed` and i only,
    never on `n`.

    Args:
        n: number of images, at least 1; every even n is balanced.
        size: height and width in pixels, 32 to 1024.
        seed: an int in [0, 2**32 - 1]; another seed makes other patients.

    Returns:
        Images (n, 3, size, size) as uint8, gray in three equal channels, labels (n,) with 0 healthy and 1 diseased,
        and n patient ids.

    Raises:
        InputError: an argument is not an int in its range.

    Example:
        >>> images, labels, groups = chest_phantoms(8, size=64, seed=1)
        >>> images.shape, int(labels.sum()), len(set(groups))
        ((8, 3, 64, 64), 4, 6)
    """
    return make_phantoms(_radiograph, (2, "chest"), n, size, seed)


def _radiograph(patient: Generator, visit: Generator, diseased: bool, size: int) -> Array:
    chest = _draw_chest(patient, diseased)
    view = View(visit.normal(0, 0.035), visit.uniform(0.94, 1.08), (visit.normal(0, 0.05), visit.normal(0, 0.05)))
    x, y = grid(size, view)
    lungs = _lungs(chest, x, y)
    cloud = _clouds(patient, chest, x, y) * lungs
    body, density = _soft_tissue(patient, visit, chest, x, y, lungs)
    density = (
        density + cloud + _bones(chest, view, size, x, y) + _lung_markings(chest, view, size) * lungs * (1 - cloud)
    )
    density = density * body + _devices(visit, view, size)
    return np.repeat(_develop(visit, density), 3, axis=0)


def _draw_chest(rng: Generator, diseased: bool) -> _Chest:
    width, apex, base = rng.uniform(0.56, 0.76), rng.uniform(-0.74, -0.60), rng.uniform(0.42, 0.70)
    dome = rng.uniform(0.14, 0.32)
    heart = (rng.uniform(0.06, 0.14), base - rng.uniform(0.26, 0.32), rng.uniform(0.20, 0.34), rng.uniform(0.26, 0.34))
    chest = _Chest(
        girth=width + rng.uniform(0.14, 0.30),
        fat=rng.uniform(0, 1),
        width=width,
        apex=apex,
        base=base,
        domes=(dome + rng.uniform(0.02, 0.08), dome),
        heart=heart,
        hilum=rng.uniform(0.4, 1.2),
        ribs=(rng.uniform(0.036, 0.052), rng.uniform(0.05, 0.11), rng.uniform(0.22, 0.42)),
        breast=rng.uniform(0.05, 0.16) if rng.random() < 0.5 else 0.0,
        air=rng.uniform(0.22, 0.42),
        markings=_vessels(rng, base),
        opacities=(),
    )
    return chest._replace(opacities=_opacities(rng, chest)) if diseased else chest


def _vessels(rng: Generator, base: float) -> tuple[Array, ...]:
    """Vessels that fan out from both hila."""
    side = np.repeat(np.array(_SIDES), 9)
    start = np.stack([side * 0.16, np.full(18, base - 0.52)], axis=1)
    lift = np.tile(np.linspace(-1.35, 1.4, 9), 2) + rng.normal(0, 0.12, 18)
    heading = np.where(side > 0, lift, np.pi - lift)
    length, bend = rng.uniform(0.35, 0.75, 18), rng.normal(0, 0.3, 18)
    trunks = grow(rng, start, heading, length, bend)
    return (*trunks.points, *sprout(rng, trunks, 2, (0.15, 0.40)).points)


def _opacities(rng: Generator, chest: _Chest) -> tuple[_Opacity, ...]:
    """One to three consolidations, well inside the lungs; the first one is the strongest."""
    found: list[_Opacity] = []
    for i in range(int(rng.integers(1, 4))):
        side, height = float(rng.choice(_SIDES)), rng.uniform(0.28, 0.85)
        y = chest.apex + height * (chest.base - 0.16 - chest.apex)
        outer = chest.width * float(_outline(chest, np.array(y)))
        centre = (side * (0.14 + rng.uniform(0.3, 0.75) * (outer - 0.14)), y)
        axes = (rng.uniform(0.12, 0.20), rng.uniform(0.13, 0.24))
        density = rng.uniform(0.21, 0.30) * (1.0 if i == 0 else 0.75)
        found.append(_Opacity(centre, axes, rng.uniform(-0.8, 0.8), density))
    return tuple(found)


def _outline(chest: _Chest, y: Array) -> Array:
    """Half width of the rib cage at height y, as a share of its greatest: 1 at the base, 0 at the apex."""
    rise = np.clip((chest.base - y) / (chest.base - chest.apex), 0, 1)
    return np.power(1 - np.power(rise, 2.6), 0.55)


def _lungs(chest: _Chest, x: Array, y: Array) -> Array:
    """Air, (size, size) in [0, 1]: between the mediastinum, the rib cage and the diaphragm."""
    outer, lungs = chest.width * _outline(chest, y), np.zeros_like(x)
    for side, dome in zip(_SIDES, chest.domes, strict=True):
        across = side * x
        floor = chest.base + 0.06 - dome * (1 - np.square((across - 0.26) / (chest.width - 0.12)))
        inner = soft_step(across - 0.11, 0.03)
        lungs += inner * soft_step(outer - across, 0.025) * soft_step(floor - y, 0.02)
    return lungs


def _clouds(rng: Generator, chest: _Chest, x: Array, y: Array) -> Array:
    """The opacities' attenuation: soft ellipses, mottled and with ragged edges."""
    cloud = np.zeros_like(x)
    for opacity in chest.opacities:
        cos, sin = np.cos(opacity.tilt), np.sin(opacity.tilt)
        dx, dy = x - opacity.centre[0], y - opacity.centre[1]
        away = np.hypot((cos * dx + sin * dy) / opacity.axes[0], (cos * dy - sin * dx) / opacity.axes[1])
        mottle = smooth_field(rng, len(x), 7, 12, 22)
        cloud += opacity.density * soft_step((1 + 0.28 * mottle - away), 0.5) * (1 + 0.2 * mottle)
    return np.clip(cloud, 0, 0.42)


def _soft_tissue(
    patient: Generator, visit: Generator, chest: _Chest, x: Array, y: Array, lungs: Array
) -> tuple[Array, Array]:
    """The body's silhouette and its attenuation without bones."""
    half = 0.22 + (chest.girth - 0.22) * soft_step(y + 0.80 + 0.25 * (np.abs(x) - 0.5), 0.12)
    body = soft_step(half - np.abs(x), 0.02)
    thick = np.sqrt(np.clip(1 - np.square(x / (half + 0.02)), 0, 1))
    heart = _heart(chest, x, y)
    density = 0.34 + 0.08 * chest.fat + 0.22 * thick - chest.air * lungs * (1 - 0.75 * heart)
    density += 0.08 * soft_step(y - chest.base + 0.05, 0.08) * (1 - lungs)
    density += 0.012 * smooth_field(patient, len(x), 5, 11, 23)
    return body, density + _middle(chest, x, y, heart) + _breasts(chest, x, y) + _stomach(visit, chest, x, y)


def _heart(chest: _Chest, x: Array, y: Array) -> Array:
    """Where the heart takes the lungs' place, in [0, 1]."""
    cx, cy, a, b = chest.heart
    tilted = (x - cx) - 0.35 * (y - cy)
    return soft_step(1 - np.hypot(tilted / a, (y - cy) / b), 0.09) * soft_step(chest.base - 0.02 - y, 0.08)


def _middle(chest: _Chest, x: Array, y: Array, heart: Array) -> Array:
    """Attenuation of the spine, heart, aortic arch and hila; what lies behind the heart adds little to it."""
    level = chest.heart[1]
    arch = soft_step(1 - np.hypot((x - 0.10) / 0.10, (y - level + 0.48) / 0.12), 0.2)
    hila = np.exp(-np.square((np.abs(x) - 0.17) / 0.07) - np.square((y - level + 0.22) / 0.12))
    spine = soft_step(0.11 - np.abs(x), 0.05) * soft_step(y + 0.85, 0.1)
    return 0.04 * heart + 0.13 * arch * (1 - heart) + 0.17 * spine * (1 - 0.5 * heart) + 0.07 * chest.hilum * hila


def _breasts(chest: _Chest, x: Array, y: Array) -> Array:
    """Two even shadows over the lower lungs."""
    away = np.hypot((np.abs(x) - 0.42) / 0.30, (y - chest.base + 0.30) / 0.28)
    return chest.breast * soft_step(1 - away, 0.12)


def _stomach(rng: Generator, chest: _Chest, x: Array, y: Array) -> Array:
    strength = rng.uniform(0.05, 0.2) if rng.random() < 0.4 else 0.0
    cx, cy = rng.uniform(0.25, 0.40), chest.base + rng.uniform(0.06, 0.14)
    return -strength * soft_step(1 - np.hypot((x - cx) / 0.14, (y - cy) / 0.07), 0.2)


def _bones(chest: _Chest, view: View, size: int, x: Array, y: Array) -> Array:
    """Ribs, clavicles and vertebrae."""
    thick, strength, slope = chest.ribs
    canvas, pitch = Canvas(size, view), (chest.base + 0.10 - chest.apex) / 9
    for side in _SIDES:
        for k in range(10):
            back, front = _rib(chest, side, chest.apex + 0.05 + k * pitch, slope)
            canvas.line(front, 0.8 * thick, 0.35)
            canvas.line(back, thick, 1.0)
            canvas.line(back, 0.5 * thick, 0.65)  # a rib is a tube: its edges attenuate most
    bones = strength * canvas.coverage(0.008)
    discs = soft_step(0.08 - np.abs(x), 0.02) * np.cos(2 * np.pi * y / (0.9 * pitch))
    return bones + 0.03 * discs + _clavicles(chest, view, size, slope)


def _rib(chest: _Chest, side: float, top: float, slope: float) -> tuple[Array, Array]:
    """The back and the front half of a rib whose head is at height `top`."""
    along = np.linspace(0, 1, 12)
    reach = chest.width * (0.30 + 0.70 * float(_outline(chest, np.array(top + 0.12))))
    back = np.stack(
        [side * (0.05 + (reach - 0.03) * along), top - 0.07 * np.sin(2.2 * along) + slope * along**3], axis=1
    )
    front = np.stack([side * reach * (1.02 - 0.68 * along), top + slope + 0.28 * along**0.8 - 0.04], axis=1)
    return back, front


def _clavicles(chest: _Chest, view: View, size: int, slope: float) -> Array:
    canvas, along = Canvas(size, view), np.linspace(0, 1, 10)
    for side in _SIDES:
        y = chest.apex + 0.16 - (0.10 + 0.2 * (slope - 0.3)) * along - 0.03 * np.sin(2 * np.pi * along)
        canvas.line(np.stack([side * (0.07 + 0.60 * along), y], axis=1), 0.055, 1.0)
    return 0.12 * canvas.coverage(0.01)


def _lung_markings(chest: _Chest, view: View, size: int) -> Array:
    canvas = Canvas(size, view)
    for i, points in enumerate(chest.markings):
        canvas.line(points, 0.012 if i >= 18 else 0.02, 0.6)
        canvas.line(points[:6], 0.018 if i >= 18 else 0.035, 0.9)
    return 0.085 * chest.hilum * canvas.coverage(0.012)


def _devices(rng: Generator, view: View, size: int) -> Array:
    """Electrodes with their wires in two images of five, and an L for the patient's left side in one of two."""
    canvas = Canvas(size, view)
    for _ in range(int(rng.integers(2, 5)) if rng.random() < 0.4 else 0):
        _electrode(rng, canvas)
    if rng.random() < 0.5:
        corner = np.array([rng.uniform(0.72, 0.88), rng.uniform(-0.85, -0.65)])
        letter = np.array([[0, 0], [0, 0.1], [0.06, 0.1]])
        canvas.line(corner + letter, 0.025, 1.0)
    return 0.45 * canvas.coverage()


def _electrode(rng: Generator, canvas: Canvas) -> None:
    at = np.array([[rng.choice(_SIDES) * rng.uniform(0.2, 0.6), rng.uniform(-0.5, 0.6)]])
    heading, length, bend = (np.array([value]) for value in (rng.uniform(0.8, 2.3), 1.4, rng.normal(0, 1)))
    canvas.line(grow(rng, at, heading, length, bend).points[0], 0.012, 0.5)
    canvas.blob(blot(rng, at[0], rng.uniform(0.03, 0.05), 0.0), 0.9)


def _develop(rng: Generator, density: Array) -> Array:
    """The film (1, h, w): exposure, tone curve, scattered light, quantum noise."""
    scatter = blurred(density, 0.15)
    share = rng.uniform(0.0, 0.25)
    seen = (1 - share) * density + share * scatter
    toned = np.power(np.clip(seen * rng.uniform(0.95, 1.25) - rng.uniform(-0.04, 0.06), 0, None), rng.uniform(0.8, 1.3))
    return refocus(rng, toned[None], (0.006, 0.014), (0.012, 0.035))
