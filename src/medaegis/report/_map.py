"""The map of the features: a drawing of the stored t-SNE, and on each dot a place to point at or to step to."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from medaegis.report._figures import drawing, svg_text
from medaegis.report._pictures import png_bytes
from medaegis.report._read import Embedding, Floats, Gallery
from medaegis.report._tables import unique

RASTER_BEYOND = 3000  # dots from which a scatter plot is kept as pixels, to keep the page small
TOUCHED = 1500  # dots up to which each can be pointed at
FACE_BYTES = 900_000  # of PNG; base64 makes them a third larger
FACE_SIDE = 64  # pixels of a face that is taken from the gallery
CLEAN_MARKERS = (("#0072B2", "o"), ("#00876A", "s"), ("#2E86C1", "p"), ("#767676", "P"))
ATTACK_MARKERS = (("#D55E00", "^"), ("#B0588A", "v"), ("#8A6D3B", "<"), ("#767676", ">"))
HIDDEN_MARKERS = (("#000000", "X"), ("#B57600", "D"), ("#857A00", "*"), ("#555555", "h"))


@dataclass(frozen=True)
class Marker:
    """How one group of a scatter plot is drawn; `shape` is matplotlib's letter for it."""

    label: str
    colour: str
    shape: str


@dataclass(frozen=True)
class Dot:
    """One dot that can be pointed at: its place in percent of the drawing, its words, and the number of its face.

    `face` is None where the case has no picture; `left` tells whether the words go to the dot's left.
    """

    x: float
    y: float
    group: str
    case: str
    face: int | None
    left: bool


@dataclass(frozen=True)
class Map:
    """The scatter plot of the embedding with its legend.

    Args:
        svg: the drawing.
        markers: of the groups.
        samples: each marker drawn alone.
        counts: the dots of each marker.
        dots: those that can be pointed at; none where there are too many.
        faces: pictures of cases, as data addresses.
        points: every dot in numbers: case, group and coordinates as text.
    """

    svg: Markup
    markers: tuple[Marker, ...]
    samples: tuple[Markup, ...]
    counts: tuple[int, ...]
    dots: tuple[Dot, ...]
    faces: tuple[Markup, ...]
    points: tuple[tuple[str, str, str, str], ...]


def embedding_map(embedding: Embedding, gallery: Gallery | None = None) -> Map | None:
    """Draw the stored two-dimensional embedding; None where it holds no dot.

    Args:
        embedding: coordinates, groups and, where the run stored them, names and pictures of the cases.
        gallery: a case without a stored picture takes its face from here.

    Returns:
        The drawing, its legend and its dots.

    Example:
        >>> embedding_map(Embedding(np.zeros(0), np.zeros(0), np.array([], dtype=np.str_))) is None
        True
    """
    there = np.flatnonzero(np.isfinite(embedding.x) & np.isfinite(embedding.y))
    if not there.size:
        return None
    x, y, group = embedding.x[there], embedding.y[there], embedding.group[there].tolist()
    cases = [str(name) for name in embedding.case[there]] if embedding.case.size else [""] * there.size
    marks = markers(unique(group))
    alt = "Map of the network features; groups: " + ", ".join(m.label for m in marks)
    svg, places = scatter_svg(x, y, group, marks, name="map", alt=alt)
    samples = tuple(marker_svg(mark, name=f"mark-{i}") for i, mark in enumerate(marks))
    pictures = _pictures(cases, [embedding.picture[i] for i in there] if embedding.picture else [], gallery)
    numbers = {name: i for i, name in enumerate(pictures)}
    dots = [
        Dot(round(px, 2), round(py, 2), name, case, numbers.get(case), px > 50)
        for (px, py), name, case in zip(places.tolist(), group, cases, strict=True)
    ]
    faces = tuple(Markup("data:image/png;base64," + base64.b64encode(png).decode()) for png in pictures.values())
    points = tuple((c, g, f"{a:.2f}", f"{b:.2f}") for c, g, a, b in zip(cases, group, x, y, strict=True))
    counts = tuple(group.count(mark.label) for mark in marks)
    return Map(svg, marks, samples, counts, tuple(dots) if len(dots) <= TOUCHED else (), faces, points)


def _pictures(cases: Sequence[str], stored: Sequence[bytes], gallery: Gallery | None) -> dict[str, bytes]:
    """A picture a case, as far as there are any and the page has room."""
    shown = {} if gallery is None else {case.name: i for i, case in enumerate(gallery.text.cases)}
    found: dict[str, bytes] = {}
    for i, case in enumerate(cases):
        if case in found or not case:
            continue
        picture = stored[i] if stored else b""
        if not picture and gallery is not None and case in shown:
            image = gallery.clean[shown[case]]
            every = max(1, max(image.shape[1:]) // FACE_SIDE)
            picture = png_bytes(image[:, ::every, ::every])
        if picture and sum(map(len, found.values())) + len(picture) <= FACE_BYTES:
            found[case] = picture
    return found


def markers(groups: Sequence[str]) -> tuple[Marker, ...]:
    """Give each group of an embedding a colour and a shape of its own, by family: clean, attacked, attacked with HFC.

    Example:
        >>> [m.shape for m in markers(["clean, NORMAL", "BIM", "BIM + HFC"])]
        ['o', '^', 'X']
    """
    used = {"clean": 0, "hidden": 0, "attack": 0}
    families = {"clean": CLEAN_MARKERS, "hidden": HIDDEN_MARKERS, "attack": ATTACK_MARKERS}
    found: list[Marker] = []
    for name in groups:
        family = "clean" if name.startswith(("clean", "noise")) else "hidden" if "HFC" in name else "attack"
        colour, shape = families[family][used[family] % len(families[family])]
        used[family] += 1
        found.append(Marker(name, colour, shape))
    return tuple(found)


def scatter_svg(
    x: Floats, y: Floats, group: Sequence[str], marks: Sequence[Marker], *, name: str, alt: str
) -> tuple[Markup, NDArray[np.float64]]:
    """Draw a two-dimensional embedding, one dot a case.

    Args:
        x: (n,) first coordinate.
        y: (n,) second coordinate.
        group: (n,) the label of each dot's marker.
        marks: the groups in drawing order, the last on top.
        name: a name that no other drawing of the page has.
        alt: the drawing in words.

    Returns:
        An svg element, and (n, 2) places of the dots in percent of its width and height, from its upper left corner.

    Example:
        >>> dots = np.arange(3.0)
        >>> svg, places = scatter_svg(dots, dots, ["a"] * 3, markers(["a"]), name="s", alt="Dots")
        >>> bool((np.diff(places[:, 0]) > 0).all() and (np.diff(places[:, 1]) < 0).all())
        True
    """
    labels = np.asarray(group)
    with drawing(5.6, 4.6) as (figure, axes):
        for mark in marks:
            here = labels == mark.label
            dots = axes.scatter(x[here], y[here], s=16, c=mark.colour, marker=mark.shape, alpha=0.9)
            dots.set(linewidths=0.3, edgecolors="white", rasterized=labels.size > RASTER_BEYOND)
        axes.spines[:].set_visible(True)
        axes.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
        axes.set(xlabel="t-SNE axis 1 (no unit)", ylabel="t-SNE axis 2 (no unit)")
        svg = svg_text(figure, name, alt)
        pixels = axes.transData.transform(np.column_stack([x, y]))
        shares = 100.0 * np.asarray(pixels) / np.asarray(figure.bbox.size)
        return svg, np.column_stack([shares[:, 0], 100.0 - shares[:, 1]])


def marker_svg(mark: Marker, *, name: str) -> Markup:
    """Draw one marker alone, for a legend in the page's own text; it is decoration, so it has no words."""
    with drawing(0.2, 0.2) as (figure, axes):
        axes.set_axis_off()
        axes.scatter([0], [0], s=40, c=mark.colour, marker=mark.shape, linewidths=0.3, edgecolors="white")
        return svg_text(figure, name, "")
