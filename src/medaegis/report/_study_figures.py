"""Vector drawings of studies: change by block, shares by budget or epoch, scatter with a fitted line, matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from medaegis.report._figures import INK, Stroke, drawing, line_style, svg_text
from medaegis.report._read import Floats

LOGARITHMIC_BEYOND = 300.0  # percent from which the axis of a ratio is compressed above 100
TICKS = (0, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000)
DARKEST = 1.25  # value at the dark end of a matrix's colours; 1 is the largest there is
DOT = "#0072B2"
FIT = Stroke("straight line fitted by least squares", "#D55E00", (), 1.6)


class Profile(NamedTuple):
    """One data set's change by block, in percent, with its interval."""

    stroke: Stroke
    low: Sequence[float]
    value: Sequence[float]
    high: Sequence[float]


def profile_svg(profiles: Sequence[Profile], layers: Sequence[str], *, name: str, alt: str) -> Markup:
    """Draw change ratios by block, one line a data set, with bands for the intervals.

    Args:
        profiles: one a data set, each with one number a layer; NaN leaves a gap.
        layers: their names, from the input on.
        name: a name that no other drawing of the page has.
        alt: the drawing in words.

    Returns:
        An svg element.

    Example:
        >>> one = Profile(FIT, [0.0, 1.0], [1.0, 2.0], [2.0, 3.0])
        >>> profile_svg([one], ["a", "b"], name="p", alt="Change").startswith("<svg")
        True
    """
    places = np.arange(1, len(layers) + 1)
    with drawing(3.6, 2.9) as (figure, axes):
        for stroke, low, value, high in profiles:
            axes.fill_between(places, np.asarray(low), np.asarray(high), color=stroke.colour, alpha=0.2, linewidth=0)
            axes.plot(places, value, marker="o", markersize=3, **line_style(stroke))
        axes.axhline(0.0, color=INK, linewidth=0.6)
        largest = max((abs(v) for profile in profiles for v in profile.value if v == v), default=0.0)
        if largest > LOGARITHMIC_BEYOND:
            axes.set_yscale("symlog", linthresh=100.0)
            ticks = [tick for tick in TICKS if tick <= 2 * largest]
            axes.set_yticks(ticks, labels=[f"{tick:,}" for tick in ticks])
            axes.minorticks_off()
        axes.set_xticks(places.tolist(), labels=[short_layer(layer) for layer in layers], rotation=60, ha="right")
        axes.set(xlabel="last activation of each block", ylabel="change (%)")
        return svg_text(figure, name, alt)


class Places(NamedTuple):
    """A horizontal axis: where values stand, which places are labelled and how, and whether it is logarithmic."""

    at: Sequence[float]
    ticks: Sequence[float]
    labels: Sequence[str]
    name: str
    logarithmic: bool = False


def shares_svg(
    profiles: Sequence[Profile], places: Places, *, label: str, name: str, alt: str, line: Stroke | None = None
) -> Markup:
    """Draw percentages from 0 to 100 against budgets or epochs, with bands for the intervals.

    Args:
        profiles: one a curve, each with one number a place; NaN leaves a gap, and no band.
        places: the horizontal axis.
        label: of the vertical axis.
        name: a name that no other drawing of the page has.
        alt: the drawing in words.
        line: how to draw a level line at 50 %; None for none.

    Returns:
        An svg element.

    Example:
        >>> one = Profile(FIT, [0.0, 1.0], [1.0, 2.0], [2.0, 3.0])
        >>> shares_svg([one], Places([1, 2], [1], ["1"], "epoch"), label="%", name="s", alt="A").startswith("<svg")
        True
    """
    one_line = not any("\n" in label for label in places.labels)  # what the fixed margins have room for
    with drawing(3.6, 2.6, percent=one_line) as (figure, axes):
        if line is not None:
            axes.axhline(50.0, **line_style(line))
        for stroke, low, value, high in profiles:
            axes.fill_between(
                places.at, np.asarray(low), np.asarray(high), color=stroke.colour, alpha=0.16, linewidth=0
            )
            axes.plot(places.at, value, marker="o", markersize=3, clip_on=False, **line_style(stroke))
        if places.logarithmic:
            axes.set_xscale("log", base=2)
        axes.set_xticks(list(places.ticks), labels=list(places.labels))
        axes.minorticks_off()
        axes.set(ylim=(-3, 103), yticks=range(0, 101, 25), xlabel=places.name, ylabel=label)
        return svg_text(figure, name, alt)


def short_layer(layer: str) -> str:
    """A layer's name without the parts that all of a network's activations share.

    Example:
        >>> short_layer("network.layer3.4.relu#3"), short_layer("relu")
        ('layer3.4', 'relu')
    """
    whole = layer.split("#")[0].removeprefix("network.")
    return whole.removesuffix(".relu")


def fit_svg(x: Floats, y: Floats, *, labels: tuple[str, str], name: str, alt: str) -> Markup:
    """Draw points with the straight line that fits them best.

    Args:
        x: (d,) finite.
        y: (d,) finite.
        labels: of the axes.
        name: a name that no other drawing of the page has.
        alt: the drawing in words.

    Returns:
        An svg element; without the line where all x are the same.

    Example:
        >>> dots = np.arange(3.0)
        >>> fit_svg(dots, dots, labels=("x", "y"), name="f", alt="Dots").startswith("<svg")
        True
    """
    with drawing(3.4, 2.9) as (figure, axes):
        axes.axhline(0.0, color="#767676", linewidth=0.6)
        axes.axvline(0.0, color="#767676", linewidth=0.6)
        axes.scatter(x, y, s=9, c=DOT, alpha=0.6, linewidths=0)
        if np.ptp(x) > 0:
            slope, start = np.polyfit(x, y, 1)
            ends = np.array([x.min(), x.max()])
            axes.plot(ends, slope * ends + start, **line_style(FIT))
        axes.set(xlabel=labels[0], ylabel=labels[1])
        return svg_text(figure, name, alt)


def matrix_svg(
    names: Sequence[str],
    values: Floats,
    *,
    name: str,
    alt: str,
    across: Sequence[str] | None = None,
    axes_names: tuple[str, str] = ("", ""),
) -> Markup:
    """Draw a matrix of cosines or shares as coloured squares with their numbers.

    Args:
        names: of the rows, m.
        values: (m, k), in [-1, 1]; NaN is left white and marked n/a.
        name: a name that no other drawing of the page has.
        alt: the drawing in words.
        across: names of the columns, k; None where they are those of the rows.
        axes_names: what stands across and what downwards, in words.

    Returns:
        An svg element.

    Example:
        >>> matrix_svg(["a", "b"], np.eye(2), name="m", alt="Cosines").startswith("<svg")
        True
    """
    from matplotlib import colormaps

    columns, blues = names if across is None else across, colormaps["Blues"]
    with drawing(0.9 + 0.52 * len(columns), 0.9 + 0.52 * len(names)) as (figure, axes):
        shades = np.ma.masked_invalid(np.clip(values, 0, 1))
        axes.pcolormesh(shades, cmap="Blues", vmin=0, vmax=DARKEST, edgecolors="white")
        for (i, j), value in np.ndenumerate(values):
            text = f"{value:z.2f}".replace("-", "\u2212") if np.isfinite(value) else "n/a"
            colour = _readable(blues(min(max(value, 0.0), 1.0) / DARKEST)) if np.isfinite(value) else INK
            axes.text(j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=8, color=colour)
        axes.set_xticks((np.arange(len(columns)) + 0.5).tolist(), labels=list(columns))
        axes.set_yticks((np.arange(len(names)) + 0.5).tolist(), labels=list(names))
        axes.set(xlabel=axes_names[0], ylabel=axes_names[1])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.invert_yaxis()
        axes.set_aspect("equal")
        return svg_text(figure, name, alt)


def _readable(colour: tuple[float, float, float, float]) -> str:
    """Black or white, whichever has more contrast on a colour: 4.5 to 1 at least, since the two meet at 4.58."""
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
    brightness = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if (brightness + 0.05) ** 2 > 1.05 * 0.05 else "white"
