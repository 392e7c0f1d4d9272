"""Detectors without and behind a Cushion, side by side: Aegis Table 2."""

from __future__ import annotations

from collections.abc import Sequence

from medaegis.report._read import Row
from medaegis.report._tables import SUCCESS, Column, Grid, Line, Scope, cell, detectors_of, lookup, unique, variants_of

METRICS = (SUCCESS, "AUC", "TPR@90", "TNR achieved", "undetected")
BEHIND = " behind "
NONE = "no Cushion"


def stands_behind(model: str) -> str:
    """What tables call the Cushion that a model stands behind.

    Example:
        >>> stands_behind("resnet18 behind jpeg:80"), stands_behind("resnet18")
        ('behind jpeg:80', 'no Cushion')
    """
    _, found, cushion = model.partition(BEHIND)
    return f"behind {cushion}" if found else NONE


def has_cushions(table: Sequence[Row]) -> bool:
    """Whether a table compares a network behind some Cushion with the same behind another or none.

    Example:
        >>> has_cushions([])
        False
    """
    models = unique(r.model for r in table)
    networks = {model.partition(BEHIND)[0] for model in models}
    return len(models) > len(networks)


def cushion_grids(table: Sequence[Row]) -> dict[str, Grid]:
    """By caption, what detectors notice without and behind each Cushion; none where no detector or Cushion is compared.

    Args:
        table: the rows of table.csv.

    Returns:
        A grid a data set and budget: rows attacks and detectors, hidden by HFC where the run hides them; columns
        measures, for each Cushion.

    Example:
        >>> cushion_grids([])
        {}
    """
    if not (has_cushions(table) and any(r.detector for r in table)):
        return {}
    places = dict.fromkeys((r.dataset, r.eps) for r in table if r.attack)
    return {f"Without and behind a Cushion: {dataset}, {eps}": _grid(table, dataset, eps) for dataset, eps in places}


def _grid(table: Sequence[Row], dataset: str, eps: str) -> Grid:
    own = [r for r in table if r.dataset == dataset and r.eps in (eps, "")]
    models = unique(r.model for r in own)
    columns = tuple(Column(metric, tuple(stands_behind(model) for model in models)) for metric in METRICS)
    lines: list[Line] = []
    for attack in unique(r.attack for r in own if r.attack):
        scopes = [Scope(dataset, model, attack, eps) for model in models]
        way = variants_of(own, scopes[0])[-1]
        hidden = " + HFC" if way == "with" else ""
        for detector in detectors_of(own, scopes[0]):
            found = [
                lookup(own, scope, metric, "" if metric == SUCCESS else detector, way)
                for metric in METRICS
                for scope in scopes
            ]
            lines.append(Line(f"{attack}{hidden}: {detector}", tuple(cell(row) for row in found)))
    return Grid("Attack and detector", columns, tuple(lines))
