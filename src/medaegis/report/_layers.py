"""Drawings of what was measured at every layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from medaegis.report._figures import STROKES, LayerCurve, Stroke, layers_svg
from medaegis.report._read import LayerLine
from medaegis.report._tables import Cell, Column, Grid, Line, number, unique

OTHERS = {
    "first step": Stroke("first step", "#0072B2", (5.0, 2.5)),
    "last step": Stroke("last step", "#000000"),
    "Train": Stroke("normal (Train) images", "#0072B2", (1.2, 1.6)),
}
OWN = "own loss"


@dataclass(frozen=True)
class LayerPanel:
    """One measure at every layer."""

    title: str
    svg: Markup
    legend: tuple[Stroke, ...]
    notes: tuple[str, ...]
    grid: Grid


def layer_panels(lines: Sequence[LayerLine]) -> tuple[LayerPanel, ...]:
    """Draw each measure of layers.csv against the layers, in the file's order.

    Args:
        lines: what the run stored; may be empty.

    Example:
        >>> layer_panels([])
        ()
    """
    measures = unique(line.measure for line in lines)
    return tuple(_panel(m, i, [line for line in lines if line.measure == m]) for i, m in enumerate(measures))


def _panel(measure: str, number: int, lines: list[LayerLine]) -> LayerPanel:
    drawn = [line for line in lines if not line.layer.startswith(OWN)]
    layers, variants = unique(line.layer for line in drawn), unique(line.variant for line in drawn)
    curves = tuple(_curve(variant, layers, drawn) for variant in variants)
    ends = "; ".join(
        f"{c.stroke.label}: {c.values[0]:.3g} at the first, {c.values[-1]:.3g} at the last" for c in curves
    )
    title = measure[0].upper() + measure[1:]
    alt = f"{title} at {len(layers)} layers. {ends}."
    svg = layers_svg(curves, label=_unit(measure), name=f"layers-{number}", alt=alt)
    legend, notes = tuple(curve.stroke for curve in curves), (*_own(lines), _layers_note(layers))
    return LayerPanel(title, svg, legend, notes, _numbers(layers, curves))


def _numbers(layers: Sequence[str], curves: Sequence[LayerCurve]) -> Grid:
    """The numbers behind the drawing."""
    columns = tuple(Column(curve.stroke.label, ("",)) for curve in curves)
    lines = tuple(
        Line(f"{i + 1}: {layer}", tuple(_cell(c.values[i], c.low[i], c.high[i]) for c in curves))
        for i, layer in enumerate(layers)
    )
    return Grid("Layer", columns, lines)


def _cell(value: float, low: float, high: float) -> Cell:
    if not math.isfinite(value):
        return Cell("n/a", reason="not measured at this layer")
    return Cell(number(value), f"[{number(low)}, {number(high)}]" if math.isfinite(low) else "")


def _curve(variant: str, layers: Sequence[str], lines: list[LayerLine]) -> LayerCurve:
    found = {line.layer: line for line in lines if line.variant == variant}
    none = LayerLine("", "", "", math.nan, math.nan, math.nan)
    mine = [found.get(layer, none) for layer in layers]
    stroke = OTHERS.get(variant) or STROKES.get(variant) or Stroke(variant, "#555555")
    return LayerCurve(stroke, [m.value for m in mine], [m.low for m in mine], [m.high for m in mine])


def _unit(measure: str) -> str:
    return "components" if measure.startswith("components") else "percent"


def _own(lines: list[LayerLine]) -> tuple[str, ...]:
    own = [line for line in lines if line.layer.startswith(OWN)]
    if not own:
        return ()
    return (f"The attack's own loss has {' and '.join(f'{o.value:.1f} % at the {o.variant}' for o in own)}.",)


def _layers_note(layers: Sequence[str]) -> str:
    return f"Layers 1 to {len(layers)}: {layers[0]} … {layers[-1]}."
