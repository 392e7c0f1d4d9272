"""What phantoms of volumes share: how a scan sees a head, random fields, and solids that voxels lie in or beside.

Coordinates are (x, y, z), x to the right of the image, y downwards, z from the first slice to the last; x and y run
from -1 to 1 over a slice and z from -REACH to REACH over the stack, all in one unit, so that anatomy scales.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from medaegis.data._phantom_parts import Array, splines

REACH = 0.6  # half the stack's height, in half sides of a slice: 144 mm of slices that are 240 mm wide


class Space(NamedTuple):
    """Anatomical coordinates of every voxel, each (d, h, w), and the width of a soft edge at this resolution."""

    x: Array
    y: Array
    z: Array
    edge: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Depth, height and width in voxels."""
        depth, height, width = self.x.shape
        return depth, height, width


class Pose(NamedTuple):
    """How a scan sees the head: turned about x, y and z (radians), enlarged by `zoom`, moved by `shift`."""

    turns: tuple[float, float, float]
    zoom: float
    shift: tuple[float, float, float]


def voxels(depth: int, size: int, pose: Pose) -> Space:
    """The anatomical coordinates of every voxel centre of a volume (depth, size, size) seen with `pose`.

    Example:
        >>> still = Pose((0.0, 0.0, 0.0), 1.0, (0.0, 0.0, 0.0))
        >>> voxels(2, 4, still).z[:, 0, 0]
        array([-0.3,  0.3], dtype=float32)
    """
    flat = (2 * np.arange(size, dtype=np.float32) + 1) / size - 1
    high = ((2 * np.arange(depth, dtype=np.float32) + 1) / depth - 1) * REACH
    z, y, x = np.meshgrid(high - pose.shift[2], flat - pose.shift[1], flat - pose.shift[0], indexing="ij")
    parts = [x, y, z]
    for axis, angle in enumerate(pose.turns):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        parts[a], parts[b] = cos * parts[a] - sin * parts[b], sin * parts[a] + cos * parts[b]
    return Space(*((part / pose.zoom).astype(np.float32) for part in parts), edge=max(0.012, 0.7 / size))


def cloud(rng: Generator, shape: tuple[int, int, int], *cells: int) -> Array:
    """A random field (d, h, w), mean 0 and variance about 1, with each of `cells` bumps to a slice's side, summed.

    Example:
        >>> cloud(np.random.default_rng(0), (4, 8, 8), 3).shape
        (4, 8, 8)
    """
    depth, height, width = shape
    field = np.zeros(shape, np.float32)
    for count in cells:
        tall = max(2, round(REACH * count))
        knots = rng.standard_normal((tall + 3, count + 3, count + 3), np.float32)
        field += np.einsum(
            "zk,yl,xm,klm->zyx",
            splines(tall, depth),
            splines(count, height),
            splines(count, width),
            knots,
            optimize=True,
        )
    return field / np.float32(0.33 * len(cells) ** 0.5)  # 0.33: the splines' share of the variance that a voxel keeps


def warped(space: Space, rng: Generator, strength: float) -> Space:
    """The same voxels with anatomy bent smoothly, so that no two heads, and no two halves of one, are alike."""
    moves = [strength * cloud(rng, space.shape, 3) for _ in range(3)]
    return space._replace(x=space.x + moves[0], y=space.y + moves[1], z=space.z + moves[2])


def pushed(space: Space, centre: tuple[float, float, float], radius: float) -> Space:
    """The same voxels with the anatomy pressed aside by a mass of `radius` at `centre`."""
    away = [space.x - centre[0], space.y - centre[1], space.z - centre[2]]
    reach = np.sqrt(sum(np.square(part) for part in away)) + np.float32(1e-4)
    share = np.cbrt(np.clip(1 - (radius / reach) ** 3, 0, None)).astype(np.float32)
    return space._replace(
        **{name: (c + share * part).astype(np.float32) for name, c, part in zip("xyz", centre, away, strict=True)}
    )


def ball(space: Space, centre: tuple[float, float, float], axes: tuple[float, float, float]) -> Array:
    """How deep each voxel lies in an ellipsoid, in units of length; negative outside.

    Example:
        >>> still = Pose((0.0, 0.0, 0.0), 1.0, (0.0, 0.0, 0.0))
        >>> ball(voxels(1, 1, still), (0, 0, 0), (0.2, 0.1, 0.3)).item()
        0.10000000149011612
    """
    away = sum(np.square((p - c) / a) for p, c, a in zip(space[:3], centre, axes, strict=True))
    return ((1 - np.sqrt(away)) * min(axes)).astype(np.float32)


def tube(space: Space, path: Array, radii: Array) -> Array:
    """How deep each voxel lies in a tube along `path` (t, 3) whose radius (t,) changes evenly; negative outside.

    Example:
        >>> still = Pose((0.0, 0.0, 0.0), 1.0, (0.0, 0.0, 0.0))
        >>> line = np.array([[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0]])
        >>> round(tube(voxels(1, 1, still), line, np.array([0.2, 0.1])).item(), 6)
        0.15
    """
    depth = np.full(space.shape, -10, np.float32)
    for a, b, thin, thick in zip(path[:-1], path[1:], radii[:-1], radii[1:], strict=True):
        along = np.asarray(b - a, np.float32)
        away = [p - np.float32(c) for p, c in zip(space[:3], a, strict=True)]
        at = np.clip(sum(p * c for p, c in zip(away, along, strict=True)) / max(float(along @ along), 1e-8), 0, 1)
        gap = np.sqrt(sum(np.square(p - at * c) for p, c in zip(away, along, strict=True)))
        np.maximum(depth, (thin + (thick - thin) * at - gap).astype(np.float32), out=depth)
    return depth


def mirrored(space: Space) -> Space:
    """The same voxels with both sides of the head laid on the right one, for anatomy that comes in pairs."""
    return space._replace(x=np.abs(space.x))
