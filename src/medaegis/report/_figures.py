"""Vector drawings of stored scores: one small picture a panel, ready to stand inside a page."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from markupsafe import Markup, escape

from medaegis.report._read import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#333333"
BINS = 28
COMPRESS_BEYOND = 25.0  # spread of all scores over the clean ones' spread from which the axis is compressed
MARGINS = (0.55, 0.14, 0.1, 0.45)  # inches left, right, above and below axes of percentages: "100" and a label fit
HALF_FULL = 50.0  # a percentage above which an axis runs to 100
SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",  # real text: sharp, searchable, read aloud
    "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
    "font.size": 9.0,
    "axes.linewidth": 0.7,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
}


@dataclass(frozen=True)
class Stroke:
    """How one kind of image is drawn: colour, dash pattern (empty: solid) and width in points.

    Colours are those of Okabe and Ito, the light ones darkened until they have a contrast of 3 to 1 on a card.
    """

    label: str
    colour: str
    dash: tuple[float, ...] = ()
    width: float = 1.6
    filled: bool = False


class Series(NamedTuple):
    """Scores of one kind of image."""

    stroke: Stroke
    scores: Floats


class Curve(NamedTuple):
    """A receiver operating characteristic: rates in [0, 1], from (0, 0) to (1, 1)."""

    false_positive: Floats
    true_positive: Floats


STROKES = {
    "clean": Stroke("clean", "#0072B2", filled=True, width=1.2),
    "noise": Stroke("noise (control)", "#2E86C1", (1.2, 1.6), 1.6),
    "without": Stroke("attacked, without HFC", "#D55E00", (5.0, 2.5), 1.6),
    "with": Stroke("attacked, with HFC", "#000000", (), 1.9),
    "": Stroke("attacked", "#D55E00", (5.0, 2.5), 1.6),
    "threshold": Stroke("threshold (aim: 90 % of clean pass)", "#555555", (6.0, 2.0, 1.2, 2.0), 1.0),
    "guessing": Stroke("guessing", "#767676", (2.0, 2.0), 0.8),
    "false alarms": Stroke("10 % false alarms (TPR@90)", "#555555", (6.0, 2.0, 1.2, 2.0), 1.0),
}


def roc(clean: Floats, attacked: Floats) -> Curve:
    """Trace the ROC of stored scores; higher scores mean more adversarial and ties share a step.

    Args:
        clean: (n,) scores of clean images, finite.
        attacked: (m,) scores of attacked images, finite.

    Returns:
        The curve, n and m at least 1.

    Example:
        >>> roc(np.array([0.0, 1.0]), np.array([1.0, 2.0])).true_positive.tolist()
        [0.0, 0.5, 1.0, 1.0]
    """
    cuts = np.unique(np.concatenate([clean, attacked]))[::-1]
    rates = [1.0 - np.searchsorted(np.sort(scores), cuts, side="left") / scores.size for scores in (clean, attacked)]
    return Curve(np.concatenate([[0.0], rates[0]]), np.concatenate([[0.0], rates[1]]))


def area(curve: Curve) -> float:
    """The area under a drawn curve, to compare the drawing with the table.

    Example:
        >>> area(roc(np.array([0.0, 1.0]), np.array([1.0, 2.0])))
        0.875
    """
    return float(np.trapezoid(curve.true_positive, curve.false_positive))


def histogram_svg(series: Sequence[Series], threshold: float, *, name: str, alt: str) -> Markup:
    """Draw score histograms over one another; scores beyond the axis are counted in its outermost bars.

    Args:
        series: scores, finite, the clean ones first.
        threshold: the detector's threshold, NaN to leave it out.
        name: a name that no other drawing of the page has; ids are made from it.
        alt: the drawing in words.

    Returns:
        An svg element.

    Example:
        >>> svg = histogram_svg([Series(STROKES["clean"], np.arange(9.0))], 7.0, name="h", alt="Scores")
        >>> svg.startswith("<svg")
        True
    """
    with drawing(3.6, 2.25, percent=True) as (figure, axes):
        axis = _score_axis(series)
        for stroke, scores in series:
            counts, edges = np.histogram(np.clip(axis.forward(scores), axis.low, axis.high), axis.edges)
            shares = 100.0 * counts / max(scores.size, 1)
            if stroke.filled:
                axes.stairs(shares, edges, fill=True, color=stroke.colour, alpha=0.28, linewidth=0)
            axes.stairs(shares, edges, **line_style(stroke))
        position = float(axis.forward(np.array([threshold]))[0])
        if axis.low <= position <= axis.high:
            axes.axvline(position, **line_style(STROKES["threshold"]))
        _label_scores(axes, axis)
        return svg_text(figure, name, alt)


def roc_svg(curves: Sequence[tuple[Stroke, Curve]], *, name: str, alt: str) -> Markup:
    """Draw ROC curves with the diagonal of guessing and the 10 % line of TPR@90.

    Args:
        curves: each with its stroke.
        name: a name that no other drawing of the page has.
        alt: the drawing in words.

    Returns:
        An svg element.

    Example:
        >>> curve = roc(np.array([0.0, 1.0]), np.array([1.0, 2.0]))
        >>> roc_svg([(STROKES["without"], curve)], name="r", alt="ROC").startswith("<svg")
        True
    """
    with drawing(3.0, 2.75, percent=True) as (figure, axes):
        axes.plot([0, 100], [0, 100], **line_style(STROKES["guessing"]))
        axes.axvline(10.0, **line_style(STROKES["false alarms"]))
        for stroke, curve in curves:
            axes.plot(100 * curve.false_positive, 100 * curve.true_positive, clip_on=False, **line_style(stroke))
        axes.set(xlim=(0, 100), ylim=(0, 100), aspect="equal", xticks=range(0, 101, 25), yticks=range(0, 101, 25))
        axes.set(xlabel="clean images flagged (%)", ylabel="attacked images flagged (%)")
        return svg_text(figure, name, alt)


def band_svg(
    x: Sequence[float],
    band: tuple[Sequence[float], Sequence[float], Sequence[float]],
    strokes: tuple[Stroke, Stroke],
    others: Sequence[tuple[Sequence[float], Sequence[float]]],
    *,
    ticks: Sequence[float],
    name: str,
    alt: str,
) -> Markup:
    """Draw shares against budgets on a logarithmic axis, with their interval, before the other curves in grey.

    Args:
        x: budgets in 1/256, ascending, above 0.
        band: low end, value and high end of each share, in percent.
        strokes: of this curve and of the others.
        others: budgets and shares of each other curve.
        ticks: budgets to label.
        name: a name that no other drawing of the page has.
        alt: the drawing in words.

    Returns:
        An svg element.

    Example:
        >>> strokes = (STROKES["without"], STROKES["guessing"])
        >>> band = [0, 50], [10, 60], [20, 70]
        >>> band_svg([1, 2], band, strokes, [], ticks=[1, 2], name="b", alt="A").startswith("<svg")
        True
    """
    low, value, high = band
    with drawing(3.0, 2.3, percent=True) as (figure, axes):
        for places, shares in others:
            axes.plot(places, shares, **line_style(strokes[1]))
        axes.fill_between(x, low, high, color=strokes[0].colour, alpha=0.22, linewidth=0)
        axes.plot(x, value, marker="o", markersize=3, **line_style(strokes[0]))
        axes.set_xscale("log", base=2)
        axes.set_xticks(list(ticks), labels=[f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set(ylim=(-3, 103), yticks=range(0, 101, 25), xlabel="budget (1/256)", ylabel="fooled (%)")
        return svg_text(figure, name, alt)


class LayerCurve(NamedTuple):
    """One variant's values by layer, with the ends of their intervals, NaN where there are none."""

    stroke: Stroke
    values: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def layers_svg(curves: Sequence[LayerCurve], *, label: str, name: str, alt: str) -> Markup:
    """Draw values against the number of the layer, from 1, with their intervals.

    Args:
        curves: each with one value a layer.
        label: of the vertical axis; "percent" makes it run from 0 to 100 where values fill it.
        name: a name that no other drawing of the page has.
        alt: the drawing in words.

    Returns:
        An svg element.

    Example:
        >>> curve = LayerCurve(STROKES["with"], [50.0, 60.0], [40.0, 50.0], [60.0, 70.0])
        >>> layers_svg([curve], label="percent", name="l", alt="A").startswith("<svg")
        True
    """
    from matplotlib.ticker import MaxNLocator

    with drawing(3.6, 2.4, percent=label == "percent") as (figure, axes):
        count = max(len(curve.values) for curve in curves)
        for curve in curves:
            places = range(1, len(curve.values) + 1)
            axes.fill_between(places, curve.low, curve.high, color=curve.stroke.colour, alpha=0.16, linewidth=0)
            axes.plot(places, curve.values, marker="o", markersize=2.2, **line_style(curve.stroke))
        ends = (end for curve in curves for end in (*curve.values, *curve.high))
        top = max((end for end in ends if math.isfinite(end)), default=1.0)
        full = label == "percent" and top > HALF_FULL
        axes.set(ylim=(-3, 103) if full else (0, 1.04 * top or 1.0), xlim=(0.5, count + 0.5))
        axes.set(xlabel="layer", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return svg_text(figure, name, alt)


class _ScoreAxis(NamedTuple):
    """A score axis: linear, or compressed on both sides of the clean median so that far groups stay on the page."""

    centre: float
    width: float
    compressed: bool
    low: float
    high: float

    def forward(self, scores: Floats) -> Floats:
        return np.arcsinh((scores - self.centre) / self.width) if self.compressed else scores

    def inverse(self, positions: Floats) -> Floats:
        return np.sinh(positions) * self.width + self.centre if self.compressed else positions

    @property
    def edges(self) -> Floats:
        return np.linspace(self.low, self.high, BINS + 1)


def _score_axis(series: Sequence[Series]) -> _ScoreAxis:
    filled = [s.scores for s in series if s.scores.size] or [np.array([0.0, 1.0])]
    ends = np.array([np.percentile(scores, [1, 99]) for scores in filled])
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    quarters = np.percentile(filled[0], [25, 50, 75])
    width = float(quarters[2] - quarters[0]) or max(abs(high - low) / 10, 1e-9)
    compressed = (high - low) / width > COMPRESS_BEYOND
    axis = _ScoreAxis(float(quarters[1]), width, compressed, low, high)
    placed = axis.forward(np.array([low, high]))
    pad = 0.02 * float(placed[1] - placed[0]) or 0.5
    return axis._replace(low=float(placed[0]) - pad, high=float(placed[1]) + pad)


def _label_scores(axes: Axes, axis: _ScoreAxis) -> None:
    axes.set(xlim=(axis.low, axis.high), ylim=(0, None), ylabel="images (%)")
    if not axis.compressed:
        axes.set_xlabel("score (higher = more suspicious)")
        axes.locator_params(axis="x", nbins=5)
        return
    span = axis.high - axis.low
    positions = np.linspace(axis.low + 0.06 * span, axis.high - 0.06 * span, 5)
    values = [_rounded(v) for v in axis.inverse(positions)]
    axes.set_xticks(axis.forward(np.array(values)).tolist(), labels=[_short(v) for v in values])
    axes.set_xlabel("score, compressed scale (higher = more suspicious)", fontsize=8)


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")


def _short(value: float) -> str:
    """A tick label of at most two digits and a power."""
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}".replace("-", "\u2212")
    return f"{value:.3g}".replace("-", "\u2212")


def line_style(stroke: Stroke) -> dict[str, Any]:
    """A stroke as matplotlib's settings of a line."""
    style = (0, tuple(length / stroke.width for length in stroke.dash)) if stroke.dash else "-"
    return {"color": stroke.colour, "linestyle": style, "linewidth": stroke.width}


@contextmanager
def drawing(width: float, height: float, *, percent: bool = False) -> Generator[tuple[Figure, Axes]]:
    """A transparent figure of so many inches with one pair of axes, in the house's style.

    Args:
        width: in inches.
        height: in inches.
        percent: numbers on the vertical axis are percentages, so panels share fixed margins and line up; otherwise
            margins fit the labels, which takes twice as long.
    """
    import matplotlib
    import matplotlib.style
    from matplotlib.figure import Figure

    with matplotlib.style.context(["default", SETTINGS]):
        figure = Figure(figsize=(width, height), layout=None if percent else "constrained")
        figure.patch.set_alpha(0.0)
        axes = figure.subplots()
        if percent:
            left, right, top, bottom = MARGINS
            figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height)
        axes.patch.set_alpha(0.0)
        yield figure, axes


def svg_text(figure: Figure, name: str, alt: str) -> Markup:
    """A figure as an svg element that can stand inside a page.

    Args:
        figure: what was drawn.
        name: a name that no other drawing of the page has; ids are made from it.
        alt: the drawing in words.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context({"svg.hashsalt": name}):
        FigureCanvasSVG(figure).print_svg(buffer, metadata=nothing)  # savefig draws the same twice
    return Markup(_inline(buffer.getvalue(), name, alt))  # matplotlib escapes its text, _inline the alt


def _inline(svg: str, name: str, alt: str) -> str:
    """Make a stand-alone drawing fit for a page: no prologue, no page-wide style, ids that only it has."""
    match = re.search(r"<svg\b[^>]*viewBox=\"([^\"]+)\"[^>]*>(.*)</svg>", svg, re.DOTALL)
    assert match is not None, "matplotlib writes one svg element with a viewBox"
    body = re.sub(r"<style\b.*?</style>|<metadata>.*?</metadata>|<!--.*?-->", "", match[2], flags=re.DOTALL)
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", body))
    body = re.sub(r" id=\"([^\"]+)\"", lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", body)
    body = re.sub(r"(url\(#|href=\"#)", rf"\g<1>{name}-", body)
    body = re.sub(r"\s*\n\s*", "\n", body)
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {spaces} class="plot" viewBox="{match[1]}" role="img" aria-label="{escape(alt)}">{body}</svg>'


def finite(scores: Floats) -> Floats:
    """The scores that are there."""
    return scores[np.isfinite(scores)]


def only(values: Floats) -> float:
    """The one value that all agree on, or NaN."""
    found = np.unique(finite(values))
    return float(found[0]) if found.size == 1 else math.nan
