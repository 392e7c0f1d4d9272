"""A made-up head as a CT scanner sees it: skull, brain, ventricles, cisterns; all in Hounsfield units, without blood.

Anatomical units are 120 mm; y points to the back of the head, z to its top; the origin lies between the thalami.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from medaegis.data._phantom_parts import Array, soft_step
from medaegis.data._phantom_volume import Space, ball, cloud, mirrored, tube

AIR, FAT, WATER, WHITE, GREY, MUSCLE, BONE = -1000.0, -80.0, 6.0, 27.0, 38.0, 50.0, 900.0

Point = tuple[float, float, float]


class Head(NamedTuple):
    """One patient's anatomy: half axes of the brain's cavity, thicknesses, `age` from 0 (young) to 1 (old)."""

    axes: Point
    skull: float
    scalp: float
    age: float
    ventricles: float
    pineal: float
    plexus: float


class Anatomy(NamedTuple):
    """The head's Hounsfield units, and where blood may go: shares (d, h, w) in [0, 1]; `deep` is below the surface."""

    hu: Array
    brain: Array
    ventricles: Array
    cisterns: Array
    deep: Array


def draw_head(rng: Generator, age: tuple[float, float]) -> Head:
    """A head at an age from this range; old ones have wider ventricles and sulci."""
    years = rng.uniform(*age)
    return Head(
        axes=(rng.uniform(0.53, 0.58), rng.uniform(0.67, 0.74), rng.uniform(0.49, 0.54)),
        skull=rng.uniform(0.035, 0.055),
        scalp=rng.uniform(0.025, 0.05),
        age=years,
        ventricles=rng.uniform(0.75, 1.1) + 0.45 * years,
        pineal=float(rng.random() < 0.3 + 0.5 * years),
        plexus=float(rng.random() < 0.2 + 0.6 * years),
    )


def build_head(head: Head, space: Space, inner: Space, rng: Generator) -> Anatomy:
    """The head without blood.

    Args:
        head: the patient.
        space: where the skull's anatomy lies.
        inner: the same for what is inside it, which bends and is pressed aside.
        rng: of the patient's texture.
    """
    deep = _depth(head, space)
    floor = _floor(space) + np.float32(0.012) * cloud(rng, space.shape, 7)
    inside = soft_step(deep, space.edge) * soft_step(space.z - floor, space.edge)
    hu = _outside(head, space, deep, floor, rng)
    gap = 0.012 + 0.03 * head.age
    surface = np.minimum(deep, (space.z - floor)) - np.float32(gap * _uneven(space, rng))
    brain = soft_step(surface, space.edge)
    sulci, cortex = _folds(head, space, surface, rng)
    ventricles = ventricle_share(head, inner)
    cisterns = np.maximum(_cisterns(head, inner), sulci) * (1 - ventricles)
    tissue = _tissue(head, inner, cortex, rng)
    fluid = np.clip(np.maximum(np.maximum(cisterns, ventricles), 1 - brain), 0, 1)
    hu = hu * (1 - inside) + inside * (tissue * (1 - fluid) + WATER * fluid)
    hu = hu + _membranes(inner, inside) + _stones(head, inner)
    return Anatomy(hu, inside, ventricles * inside, np.maximum(cisterns, 1 - brain) * inside, surface)


def _depth(head: Head, space: Space) -> Array:
    """How deep each voxel lies below the skull's inner face, in units; negative in bone and beyond."""
    a, b, c = head.axes
    narrow = 1 - 0.10 * np.square(np.clip(-space.z - 0.1, 0, None) / 0.5)
    wide = a * (1 + 0.12 * np.clip(space.y, -0.6, 0.6)) * narrow
    up = np.clip(space.z + 0.02, 0, None) / (c + 0.02)
    power = np.float32(2.25)
    rho = (np.abs(space.x / wide) ** power + np.abs(space.y / (b * narrow)) ** power + up**power) ** (1 / power)
    return ((1 - rho) * (a + b) / 2).astype(np.float32)


def _floor(space: Space) -> Array:
    """The height of the skull's base: shallow in front, deeper at the temples, deepest at the back."""
    across = np.abs(space.x)
    front = soft_step(-0.27 + 0.25 * across - space.y, 0.04)
    middle = soft_step(0.42 * across - 0.05 - space.y, 0.04)
    sella = soft_step(0.11 - across, 0.03) * soft_step(space.y + 0.26, 0.04) * middle
    orbit = 0.06 * np.exp(-np.square((across - 0.27) / 0.18))
    return (-0.56 + 0.20 * middle + front * (0.17 + orbit) + 0.13 * sella * (1 - front)).astype(np.float32)


def _outside(head: Head, space: Space, deep: Array, floor: Array, rng: Generator) -> Array:
    """Everything but the brain's cavity: air, scalp, skull, and the face below the base."""
    edge, grain = space.edge, cloud(rng, space.shape, 24)
    fat = soft_step(grain + 0.2 + 1.2 * np.sin(90 * deep), 0.5)
    scalp = MUSCLE + (FAT - MUSCLE) * fat * 0.8
    marrow = np.exp(-np.square((deep + head.skull / 2) / (0.22 * head.skull)))
    bone = BONE - 420 * marrow
    hu = AIR + (scalp - AIR) * soft_step(deep + head.skull + head.scalp, edge)
    hu = hu + (bone - hu) * soft_step(deep + head.skull, edge)
    below = soft_step(deep + 0.4 * head.skull, edge) * soft_step(floor - space.z, edge)
    hu = hu + (_face(space, grain) - hu) * below
    base = soft_step(0.018 - np.abs(space.z - floor + 0.012), edge) * soft_step(deep + head.skull, edge)
    hu = hu + (BONE * 0.8 - hu) * base
    return hu + (BONE - hu) * _petrous(space) * soft_step(deep + head.skull, edge)


def _face(space: Space, grain: Array) -> Array:
    """Below the base: eyes in their fat in front, sinuses with air, muscle and bone behind."""
    pair, edge = mirrored(space), space.edge
    hu = np.where(grain > 0.9, 250.0, MUSCLE - 20).astype(np.float32) + 60 * np.clip(grain, -1, 1)
    orbit = soft_step(ball(pair, (0.27, -0.52, -0.26), (0.15, 0.2, 0.13)), edge)
    hu = hu + (FAT - hu) * orbit
    globe = soft_step(ball(pair, (0.28, -0.6, -0.26), (0.1, 0.1, 0.1)), edge)
    hu = hu + (15 - hu) * globe
    nose = soft_step(ball(pair, (0.06, -0.48, -0.36), (0.08, 0.22, 0.15)), edge) * soft_step(grain + 0.5, 0.3)
    hu = hu + (AIR - hu) * nose
    foramen = soft_step(ball(space, (0, 0.1, -0.62), (0.15, 0.16, 0.2)), edge)
    return hu + (30 - hu) * foramen


def _petrous(space: Space) -> Array:
    """The two ridges of dense bone between the temporal lobes and the cerebellum."""
    across = np.abs(space.x)
    height = np.clip((-0.27 - space.z) / 0.14, 0, 1) * soft_step(space.z + 0.56, 0.03)
    off = np.abs(space.y - 0.42 * across + 0.05)
    return soft_step(0.085 * height - off, space.edge) * soft_step(across - 0.13, 0.03) * (height > 0)


def _uneven(space: Space, rng: Generator) -> Array:
    return np.clip(1 + 0.45 * cloud(rng, space.shape, 5), 0.2, 2.5)


def _folds(head: Head, space: Space, surface: Array, rng: Generator) -> tuple[Array, Array]:
    """The share of fluid in the sulci, and of grey matter in the cortex: sheets where a random field is near zero."""
    field = cloud(rng, space.shape, 11, 17)
    near = soft_step(0.13 + 0.03 * head.age - surface, 0.035)
    sulci = np.exp(-np.square(field / (0.16 + 0.16 * head.age))) * near * (0.5 + 0.5 * head.age)
    ribbon = np.maximum(soft_step(0.04 - surface, 0.015), np.exp(-np.square(field / 0.45)) * near)
    cerebellum = soft_step(-0.2 - space.z, 0.03) * soft_step(space.y - 0.1, 0.03)
    return (sulci * (1 - 0.6 * cerebellum)).astype(np.float32), np.maximum(ribbon, 0.6 * cerebellum).astype(np.float32)


def _tissue(head: Head, inner: Space, cortex: Array, rng: Generator) -> Array:
    """Grey and white matter, with the deep nuclei, and the pale white matter round the ventricles of old age."""
    pair, edge = mirrored(inner), inner.edge
    nuclei = np.zeros(inner.shape, np.float32)
    for centre, axes in (
        ((0.14, -0.22, 0.10), (0.045, 0.09, 0.08)),
        ((0.25, -0.02, 0.03), (0.05, 0.15, 0.09)),
        ((0.09, 0.10, 0.06), (0.075, 0.13, 0.075)),
    ):
        nuclei = np.maximum(nuclei, soft_step(ball(pair, centre, axes), edge))
    grey = np.maximum(cortex, nuclei)
    pale = soft_step(0.07 + _horns(head, pair), 0.04) * head.age * 9
    return WHITE + (GREY - WHITE) * grey + 1.2 * cloud(rng, inner.shape, 7) - pale * (1 - grey)


def _horns(head: Head, pair: Space) -> Array:
    """How deep voxels lie in a lateral ventricle."""
    wide = head.ventricles
    body = np.array([
        [0.10, -0.37, 0.04], [0.075, -0.26, 0.09], [0.06, -0.12, 0.15], [0.085, 0.08, 0.17], [0.16, 0.25, 0.11],
        [0.17, 0.36, 0.05], [0.14, 0.50, 0.04],
    ])  # fmt: skip
    width = np.array([0.02, 0.042, 0.034, 0.034, 0.052, 0.036, 0.012]) * wide
    temple = np.array([[0.16, 0.25, 0.10], [0.24, 0.20, -0.02], [0.27, 0.05, -0.12], [0.24, -0.06, -0.15]])
    return np.maximum(tube(pair, body, width), tube(pair, temple, np.array([0.04, 0.02, 0.013, 0.01]) * wide))


def ventricle_share(head: Head, inner: Space) -> Array:
    """Share of ventricle (d, h, w): both lateral ones, the third, the fourth."""
    wide = head.ventricles
    third = ball(inner, (0, 0.02, -0.02), (0.02 * wide, 0.14, 0.1))
    fourth = ball(inner, (0, 0.24, -0.34), (0.07 * wide**0.5, 0.045 * wide**0.5, 0.08))
    deep = np.maximum(np.maximum(_horns(head, mirrored(inner)), third), fourth)
    return soft_step(deep, inner.edge)


def _cisterns(head: Head, inner: Space) -> Array:
    """Share of the wide spaces of fluid: the star above the sella, round the brain stem, the Sylvian fissures."""
    pair, edge = mirrored(inner), inner.edge
    thick = 0.022 + 0.016 * head.age
    island = np.array([
        [0.02, -0.13, -0.2], [0.2, -0.17, -0.17], [0.33, -0.15, -0.12], [0.37, -0.05, -0.04], [0.38, 0.06, 0.02],
        [0.45, 0.14, 0.07], [0.54, 0.20, 0.12],
    ])  # fmt: skip
    sylvian = tube(pair, island, np.array([1.0, 0.9, 1.2, 1.1, 1.0, 0.8, 0.7]) * thick)
    insula = ball(pair, (0.38, -0.02, -0.01), (0.8 * thick, 0.16, 0.11))
    star = ball(pair, (0, -0.10, -0.22), (0.13, 0.10, 0.07))
    angle = np.arctan2(pair.y + 0.10, pair.x)
    star = star - 0.02 * (1 + np.cos(5 * angle + np.pi / 2))
    ambient = _round_the_stem(inner, 0.8 * thick)
    roof = ball(inner, (0, 0.235, -0.06), (0.11, 0.045, 0.06))
    magna = ball(inner, (0, 0.5, -0.5), (0.13, 0.07, 0.08))
    deep = np.max(np.stack([sylvian, insula, star, ambient, roof, magna]), axis=0)
    return np.maximum(soft_step(deep, edge), _cleft(head, inner)).astype(np.float32)


def _round_the_stem(inner: Space, thick: float) -> Array:
    """How deep voxels lie in the fluid round the midbrain and, further down, in front of the pons."""
    bend = 1 + 0.1 * np.cos(2 * np.arctan2(inner.y - 0.05, inner.x) + 9 * inner.z)
    ring = np.hypot(inner.x / 1.08, inner.y - 0.05) * bend
    behind = soft_step(-0.2 - inner.z, 0.02) * soft_step(inner.y - 0.02, 0.03)
    closed = np.maximum(behind, soft_step(inner.z + 0.06, 0.02))
    return np.float32(thick) - np.abs(ring - np.float32(0.155)) - np.float32(0.3) * closed


def _cleft(head: Head, inner: Space) -> Array:
    """The fluid between the hemispheres, in front of, above and behind the corpus callosum."""
    open_ = np.maximum(soft_step(-0.40 - inner.y, 0.04), soft_step(inner.z - 0.24, 0.03))
    open_ = np.maximum(open_, soft_step(inner.y - 0.42, 0.04) * soft_step(inner.z - 0.1, 0.03))
    open_ = open_ * soft_step(inner.z + 0.18, 0.03)
    thick = np.float32(0.010 + 0.010 * head.age)
    return open_ * soft_step(thick - np.abs(inner.x), inner.edge) * min(1.0, float(thick) / inner.edge)


def _membranes(inner: Space, inside: Array) -> Array:
    """The falx between the hemispheres and the tentorium above the cerebellum, a little denser than brain."""
    falx = np.maximum(soft_step(inner.z - 0.28, 0.04), soft_step(np.abs(inner.y + 0.02) - 0.42, 0.04))
    falx = falx * soft_step(inner.z + 0.1, 0.04) * np.exp(-np.square(inner.x / inner.edge)) * min(1, 0.012 / inner.edge)
    across = np.abs(inner.x)
    height = -0.02 - 0.28 * across + 0.06 * np.clip(inner.y - 0.2, 0, None)
    tent = np.exp(-np.square((inner.z - height) / 0.02)) * soft_step(inner.y - 0.22 - 0.2 * across, 0.04)
    return (inside * (26 * falx + 9 * tent)).astype(np.float32)


def _stones(head: Head, inner: Space) -> Array:
    """Chalk in the pineal gland and in the plexus of both lateral ventricles: harmless, and as bright as bone."""
    pineal = soft_step(ball(inner, (0, 0.19, 0.0), (0.02, 0.02, 0.02)), inner.edge) * head.pineal
    plexus = soft_step(ball(mirrored(inner), (0.165, 0.28, 0.09), (0.022, 0.03, 0.022)), inner.edge) * head.plexus
    return (120 * pineal + 110 * plexus).astype(np.float32)
