"""What the phantoms share: the roster of patients, random fields, growing curves, painting at four times the size.

Coordinates are (x, y) in [-1, 1] over the image, x to the right and y downwards, so that anatomy scales with the image.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from medaegis._errors import require

Array: TypeAlias = NDArray[np.floating[Any]]

OVERSAMPLING = 4
STEPS = 14  # points of a curve
_RANGES = {"n": (1, 10**9), "size": (32, 1024), "depth": (8, 256), "seed": (0, 2**32 - 1)}
# Eight images of six patients: the last two patients have a second image. Labels of neighbours differ.
_PATIENTS = (0, 1, 2, 3, 4, 5, 4, 5)
_VISITS = (0, 0, 0, 0, 0, 0, 1, 1)


class Phantoms(NamedTuple):
    """Made-up images with labels and patients.

    Attributes:
        images: (n, 3, size, size), uint8.
        labels: (n,), int64; 0 healthy, 1 diseased.
        groups: n patient ids; images of one patient show one anatomy and share a label.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    groups: tuple[str, ...]


class View(NamedTuple):
    """How one image sees the anatomy: turned by `angle` (radians), enlarged by `zoom`, moved by `shift`."""

    angle: float
    zoom: float
    shift: tuple[float, float]


class Curves(NamedTuple):
    """Polylines: points (k, t, 2) and the heading (k, t), in radians, at each point."""

    points: Array
    headings: Array


Render: TypeAlias = Callable[[Generator, Generator, bool, int], Array]


def make_phantoms(render: Render, kind: tuple[int, str], n: int, size: int, seed: int) -> Phantoms:
    """Draw n cases with `render`.

    Args:
        render: takes the patient's generator, the image's, whether diseased, and the size; gives (3, h, w) in [0, 1].
        kind: a number, which sets this kind's random draws apart, and a name, which begins each patient id.
        n: number of images.
        size: height and width in pixels.
        seed: a non-negative int below 2**32, one word of the seed sequence.

    Raises:
        InputError: an argument is not an int in its range.
    """
    number, name = kind
    check_counts(f"{name}_phantoms", n=n, size=size, seed=seed)
    images = np.empty((n, 3, size, size), np.uint8)
    labels = np.empty(n, np.int64)
    groups: list[str] = []
    for i in range(n):
        patient, visit = 6 * (i // 8) + _PATIENTS[i % 8], _VISITS[i % 8]
        # Four words always: a seed sequence reads missing words as zeros, so that (s, 1) would equal (s, 1, 0).
        generators = [default_rng([seed, number, patient, word]) for word in (0, 1 + visit)]
        labels[i] = (patient + default_rng([seed, number, patient // 2, 3]).integers(2)) % 2
        image = render(generators[0], generators[1], bool(labels[i]), size)
        images[i] = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
        groups.append(f"{name}-s{seed}-p{patient:05d}")
    return Phantoms(images, labels, tuple(groups))


def check_counts(owner: str, **counts: int) -> None:
    """Raise `InputError` unless each of `n`, `size`, `depth` and `seed` that is given is an int in its range."""
    for argument, value in counts.items():
        low, high = _RANGES[argument]
        good = isinstance(value, (int, np.integer)) and not isinstance(value, bool) and low <= value <= high  # pyright: ignore[reportUnnecessaryIsInstance]  # callers may be untyped
        require(good, argument, owner, f"an int in [{low}, {high}]", value)


def grid(size: int, view: View) -> tuple[Array, Array]:
    """Anatomical x and y, each (size, size), of every pixel centre of an image seen with `view`."""
    line = (2 * np.arange(size, dtype=np.float32) + 1) / size - 1
    dx, dy = line[None, :] - view.shift[0], line[:, None] - view.shift[1]
    cos, sin = np.cos(view.angle) / view.zoom, np.sin(view.angle) / view.zoom
    return (cos * dx + sin * dy).astype(np.float32), (cos * dy - sin * dx).astype(np.float32)


def place(points: Array, view: View) -> Array:
    """Where anatomical points (..., 2) lie in an image seen with `view`: the inverse of `grid`."""
    cos, sin = view.zoom * np.cos(view.angle), view.zoom * np.sin(view.angle)
    turn = np.array([[cos, sin], [-sin, cos]], np.float32)
    return points @ turn + np.array(view.shift, np.float32)


@cache
def splines(cells: int, size: int) -> Array:
    """Cubic B-splines (size, cells + 3), `cells` of them to the image's side."""
    centre = (np.arange(size, dtype=np.float32)[:, None] + 0.5) * (cells / size)
    away = np.abs(centre - np.arange(-1, cells + 2, dtype=np.float32)[None, :])
    near, far = np.clip(1 - away, 0, None), np.clip(2 - away, 0, None)
    return ((far**3 - 4 * near**3) / 6).astype(np.float32)


def blurred(image: Array, sigma: float) -> Array:
    """A square `image` (..., size, size) behind a Gaussian blur of `sigma`, in anatomical units."""
    size = image.shape[-1]
    line = np.arange(size, dtype=np.float32) * np.float32(2 / (sigma * size))
    weights = np.exp(-0.5 * np.square(line[:, None] - line[None, :]))
    weights /= weights.sum(axis=1, keepdims=True)  # a flat image stays flat up to the border
    return weights @ image @ weights.T


def smooth_field(rng: Generator, size: int, *cells: int) -> Array:
    """A random field (size, size), mean 0 and variance about 1, with each of `cells` bumps to a side, summed."""
    field = np.zeros((size, size), np.float32)
    for count in cells:
        spread = splines(count, size)
        field += spread @ rng.standard_normal((count + 3, count + 3), np.float32) @ spread.T
    return field / np.float32(0.48 * len(cells) ** 0.5)  # 0.48: the splines' share of the variance that a pixel keeps


def soft_step(x: Array, width: float) -> Array:
    """0 where x is far below 0, 1 far above, with a smooth edge of about `width`."""
    return (0.5 + 0.5 * np.tanh(x / width)).astype(np.float32)


def grow(rng: Generator, start: Array, heading: Array, length: Array, bend: Array, wobble: float = 0.12) -> Curves:
    """Curves from each start (k, 2): `bend` (k,) is the total turn in radians, `wobble` the random turn a step."""
    turns = wobble * rng.standard_normal((len(start), STEPS), np.float32)
    headings = heading[:, None] + np.cumsum(turns + bend[:, None] / STEPS, axis=1)
    ahead = np.stack([np.cos(headings), np.sin(headings)], axis=-1) * (length / STEPS)[:, None, None]
    return Curves(start[:, None] + np.cumsum(ahead, axis=1), headings)


def sprout(rng: Generator, parents: Curves, each: int, length: tuple[float, float]) -> Curves:
    """`each` side branches from random points of every parent, at 25 to 60 degrees."""
    count = each * len(parents.points)
    which, at = np.repeat(np.arange(len(parents.points)), each), rng.integers(2, STEPS - 1, count)
    turn = rng.choice(np.array([-1.0, 1.0]), count) * rng.uniform(0.45, 1.0, count)
    heading = parents.headings[which, at] + turn
    return grow(rng, parents.points[which, at], heading, rng.uniform(*length, count), -0.6 * turn, 0.16)


class Canvas:
    """A gray picture painted at four times the size, so that edges come out smooth."""

    def __init__(self, size: int, view: View) -> None:
        self.size = size
        self.view = view
        self.image = Image.new("L", (OVERSAMPLING * size, OVERSAMPLING * size))
        self.draw = ImageDraw.Draw(self.image)

    def _pixels(self, points: Array) -> Array:
        return (place(points, self.view) + 1) * np.float32(0.5 * OVERSAMPLING * self.size)

    def line(self, points: Array, width: float, strength: float) -> None:
        """A polyline (t, 2) of `width` in anatomical units; `strength` in [0, 1] is the paint's value."""
        pixels = max(1, round(0.5 * OVERSAMPLING * self.size * self.view.zoom * width))
        self.draw.line(self._pixels(points).ravel().tolist(), fill=round(255 * strength), width=pixels)

    def blob(self, outline: Array, strength: float) -> None:
        """A filled polygon (t, 2)."""
        self.draw.polygon(self._pixels(outline).ravel().tolist(), fill=round(255 * strength))

    def coverage(self, blur: float = 0.0) -> Array:
        """The painting at its final size, (size, size) in [0, 1], blurred by `blur` (anatomical units)."""
        small = np.asarray(self.image.reduce(OVERSAMPLING), np.float32) / np.float32(255)
        return blurred(small, blur) if blur > 0 else small


def blot(rng: Generator, centre: Array, radius: float, raggedness: float) -> Array:
    """A closed irregular outline (16, 2) round `centre`."""
    angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    waves = rng.standard_normal(3) @ np.stack([np.cos((k + 2) * angle + rng.uniform(0, 6.3)) for k in range(3)])
    reach = radius * np.clip(1 + raggedness * waves, 0.5, 1.6)
    return centre + reach[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def refocus(rng: Generator, image: Array, blur: tuple[float, float], noise: tuple[float, float]) -> Array:
    """The picture (c, h, w) through a lens out of focus by `blur` (anatomical units) onto a sensor with `noise`."""
    seen = blurred(image, rng.uniform(*blur))
    grain = rng.uniform(*noise) * rng.standard_normal(image.shape, np.float32)
    return (seen + grain * np.sqrt(np.clip(seen, 0.02, 1))).astype(np.float32)
