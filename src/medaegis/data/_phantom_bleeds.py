"""Bleeding inside a made-up head, where each cause puts it: aneurysm, malformation, moyamoya disease, hypertension.

The paper labels its volumes by cause, so the causes are the classes. Each has a place of its own, and each may break
into the ventricles, so that no single sign tells them all apart:

- aneurysm: subarachnoid, in the cisterns and fissures at the brain's base, thickest beside the artery that burst;
- arteriovenous malformation: a ragged lobar haematoma near the cortex, beside a tangle of wide vessels with some chalk;
- moyamoya disease: mostly intraventricular, with a small haematoma at a ventricle's wall and old infarcts at borders;
- hypertension: a deep haematoma in the putamen, the thalamus, the pons or the cerebellum of an ageing brain.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from medaegis.data._phantom_head import Anatomy, Head, Point, ventricle_share
from medaegis.data._phantom_parts import Array, soft_step
from medaegis.data._phantom_volume import Space, cloud, tube

CAUSES = ("aneurysm", "arteriovenous malformation", "moyamoya disease", "hypertension")
AGES = ((0.2, 0.9), (0.05, 0.85), (0.1, 0.85), (0.25, 1.0))  # of the patients of each cause, from 0 young to 1 old


class Clot(NamedTuple):
    """A haematoma: centre, half axes, how ragged; `swelling` is the width of the pale rim."""

    centre: Point
    axes: Point
    ragged: float
    swelling: float

    @property
    def mass(self) -> float:
        """The radius of a ball as large as what it pushes aside; some of the brain is destroyed, not pushed."""
        return 0.75 * float(np.prod(self.axes)) ** (1 / 3)


class Bleed(NamedTuple):
    """What bled; `flood` is the share of the ventricles that blood fills, `source` where blood left the artery."""

    clots: tuple[Clot, ...]
    flood: float
    source: Point | None
    spread: float
    tangle: tuple[Array, ...]
    infarcts: tuple[Clot, ...]
    blood: float


_NONE = Bleed((), 0.0, None, 0.0, (), (), 0.0)

# Where aneurysms burst: the arteries in front (of the midline), at the fissure, beside the sella, at the stem's tip.
_ARTERIES: tuple[Point, ...] = ((0.02, -0.33, -0.12), (0.33, -0.15, -0.12), (0.12, -0.08, -0.2), (0.0, -0.04, -0.22))
_DEEP: tuple[tuple[Point, Point], ...] = (  # centre and half axes of haematomas of hypertension
    ((0.26, -0.02, 0.05), (0.06, 0.13, 0.09)),
    ((0.11, 0.10, 0.06), (0.07, 0.09, 0.08)),
    ((0.01, 0.04, -0.30), (0.07, 0.06, 0.07)),
    ((0.22, 0.38, -0.36), (0.10, 0.10, 0.07)),
)
_DEEP_SHARES = (0.5, 0.3, 0.08, 0.12)
_WALLS: tuple[Point, ...] = ((0.12, -0.24, 0.12), (0.13, 0.06, 0.14), (0.2, 0.26, 0.12))


def draw_bleed(rng: Generator, cause: int) -> tuple[Bleed, float]:
    """A bleed of this cause, and the factor by which the ventricles are wider for it."""
    side = float(rng.choice((-1.0, 1.0)))
    bleed = (_aneurysm, _malformation, _moyamoya, _hypertension)[cause](rng, side)
    wider = 1 + rng.uniform(0, 0.3) * bool(bleed.flood > 0.3) + rng.uniform(0, 0.35) * bool(bleed.source)
    return bleed._replace(blood=rng.uniform(60, 76)), wider


def _at(side: float, point: Point, rng: Generator, jitter: float) -> Point:
    x, y, z = (value + rng.normal(0, jitter) for value in point)
    return (side * x, y, z)


def _scaled(axes: Point, factor: float, rng: Generator) -> Point:
    a, b, c = (value * factor * rng.uniform(0.85, 1.15) for value in axes)
    return (a, b, c)


def _aneurysm(rng: Generator, side: float) -> Bleed:
    source = _at(side, _ARTERIES[int(rng.integers(4))], rng, 0.01)
    flood = rng.uniform(0.2, 0.8) if rng.random() < 0.45 else 0.0
    clots: tuple[Clot, ...] = ()
    if rng.random() < 0.25:  # a jet into the brain beside it
        x, y, z = source
        place = (x + side * rng.uniform(0.02, 0.08), y - 0.04, z + rng.uniform(0.08, 0.14))
        clots = (Clot(place, _scaled((0.07, 0.08, 0.07), rng.uniform(0.8, 1.1), rng), 0.2, 0.02),)
    return _NONE._replace(clots=clots, flood=flood, source=source, spread=rng.uniform(0.32, 0.6))


def _malformation(rng: Generator, side: float) -> Bleed:
    angle, height = rng.uniform(-1.25, 1.35), rng.uniform(-0.02, 0.3)
    reach = rng.uniform(0.74, 0.88) * np.sqrt(max(0.2, 1 - (height / 0.55) ** 2))
    centre = (side * 0.55 * reach * np.cos(angle), 0.70 * reach * np.sin(angle), height)
    clot = Clot(centre, _scaled((0.14, 0.16, 0.13), rng.uniform(0.7, 1.3), rng), 0.24, rng.uniform(0.02, 0.04))
    tangle = tuple(_vessel(rng, centre, clot.axes[0]) for _ in range(int(rng.integers(5, 10))))
    flood = rng.uniform(0.2, 0.6) if rng.random() < 0.3 else 0.0
    return _NONE._replace(clots=(clot,), flood=flood, tangle=tangle)


def _vessel(rng: Generator, centre: Point, reach: float) -> Array:
    """A winding vessel (t, 3) that starts at the haematoma's edge."""
    way = rng.standard_normal(3)
    way /= np.linalg.norm(way)
    start = np.array(centre) + way * reach * 0.95
    steps = way * 0.012 + 0.026 * rng.standard_normal((7, 3))
    return np.concatenate([start[None], start + np.cumsum(steps, axis=0)]).astype(np.float32)


def _moyamoya(rng: Generator, side: float) -> Bleed:
    wall = _at(side, _WALLS[int(rng.integers(3))], rng, 0.015)
    clot = Clot(wall, _scaled((0.06, 0.07, 0.06), rng.uniform(0.7, 1.6), rng), 0.2, 0.015)
    infarcts = tuple(
        Clot(
            (s * rng.uniform(0.22, 0.38), y + rng.normal(0, 0.04), rng.uniform(0.14, 0.32)),
            _scaled((0.07, 0.07, 0.07), 1, rng),
            0.35,
            0,
        )
        for s in (-1.0, 1.0)
        for y in (-0.38, 0.36)
        if rng.random() < 0.5
    )
    return _NONE._replace(clots=(clot,), flood=rng.uniform(0.4, 1.0), infarcts=infarcts)


def _hypertension(rng: Generator, side: float) -> Bleed:
    which = int(rng.choice(4, p=_DEEP_SHARES))
    centre, axes = _DEEP[which]
    clot = Clot(
        _at(side, centre, rng, 0.015), _scaled(axes, rng.uniform(0.85, 1.5), rng), 0.13, rng.uniform(0.015, 0.045)
    )
    flood = rng.uniform(0.2, 0.7) if rng.random() < (0.25, 0.6, 0.4, 0.3)[which] else 0.0
    return _NONE._replace(clots=(clot,), flood=flood)


def bled(bleed: Bleed, head: Head, anatomy: Anatomy, inner: Space, space: Space, rng: Generator) -> Array:
    """The head's Hounsfield units with the blood.

    Args:
        bleed: what bled.
        head: the patient.
        anatomy: without blood, pressed aside by the clots already.
        inner: coordinates of the anatomy.
        space: coordinates of the clots, which push and are not pushed.
        rng: of the blood's texture.
    """
    rough = cloud(rng, space.shape, 6, 11)
    hu = anatomy.hu
    for infarct in bleed.infarcts:
        hu = hu + (13 - hu) * _share(infarct, space, rough) * anatomy.brain * (hu < 100)
    hu = hu + _tangled(bleed, space) * anatomy.brain
    blood = bleed.blood + 3 * rough
    hu = hu + (blood - 8 - hu) * _subarachnoid(bleed, anatomy, inner, rough)
    hu = hu + (blood - 4 - hu) * _flooded(bleed, head, anatomy, inner, rough)
    for clot in bleed.clots:
        within = soft_step(anatomy.deep + 0.01, space.edge) * anatomy.brain
        rim = _share(clot, space, rough, clot.swelling) * within
        hu = np.where(hu < 55, hu - 11 * rim, hu)
        hu = hu + (blood - hu) * _share(clot, space, rough) * within
    return hu


def _share(clot: Clot, space: Space, rough: Array, wider: float = 0.0) -> Array:
    """The share of each voxel that a clot, or the rim that is `wider` than it, takes."""
    away = sum(np.square((p - c) / (a + wider)) for p, c, a in zip(space[:3], clot.centre, clot.axes, strict=True))
    size = min(clot.axes) + wider
    return soft_step((1 + clot.ragged * rough - np.sqrt(away)) * size, max(space.edge, 0.4 * wider))


def _tangled(bleed: Bleed, space: Space) -> Array:
    """What wide vessels and the chalk at their ends add."""
    added = np.zeros(space.shape, np.float32)
    for i, path in enumerate(bleed.tangle):
        width = np.linspace(0.026, 0.016, len(path))
        added = np.maximum(added, 24 * soft_step(tube(space, path, width), space.edge))
        if i < 2:
            added = np.maximum(added, 120 * soft_step(tube(space, path[-2:], np.full(2, 0.014)), space.edge))
    return added


def _subarachnoid(bleed: Bleed, anatomy: Anatomy, inner: Space, rough: Array) -> Array:
    """Share of blood in cisterns, fissures and sulci: most beside the source, less further away and up."""
    if bleed.source is None:
        return np.zeros(inner.shape, np.float32)
    away = np.sqrt(sum(np.square(p - c) for p, c in zip(inner[:3], bleed.source, strict=True)))
    fill = soft_step(bleed.spread * (1 + 0.3 * rough) - away, 0.09) * soft_step(0.22 - inner.z, 0.06)
    return np.clip(2 * anatomy.cisterns, 0, 1) * fill  # blood widens what it fills


def _flooded(bleed: Bleed, head: Head, anatomy: Anatomy, inner: Space, rough: Array) -> Array:
    """Share of blood in the ventricles: it sinks to the back, and a small bleed fills only that part."""
    if bleed.flood == 0:
        return np.zeros(inner.shape, np.float32)
    level = 0.5 - 1.0 * bleed.flood
    lying = soft_step(inner.y + 0.06 * rough - level, 0.05)
    return np.minimum(ventricle_share(head, inner), anatomy.ventricles) * lying
