"""One figure under several seeds, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medaegis.report._read import Row
from medaegis.report._tables import (
    SUCCESS,
    VARIANT_LABELS,
    Column,
    Grid,
    Line,
    Scope,
    cell,
    detectors_of,
    lookup,
    variants_of,
)

METRICS = ("AUC", "TPR@90", "undetected")


def seeds_grid(table: Sequence[Row], by_seed: Mapping[int, Sequence[Row]], scope: Scope) -> Grid | None:
    """Every seed's figures of one attack and budget, the table's own (their mean) first; None for a run of one seed.

    Args:
        table: the run's table.
        by_seed: the table of each seed.
        scope: attack and budget.

    Example:
        >>> seeds_grid([], {}, Scope("CXR", "net", "BIM", "1/256")) is None
        True
    """
    if not by_seed:
        return None
    columns = (Column("mean", ("",)), *(Column(f"seed {seed}", ("",)) for seed in by_seed))
    variants = variants_of(table, scope)
    wanted = [(SUCCESS, "", variant) for variant in variants]
    wanted += [(m, name, v) for name in detectors_of(table, scope) for m in METRICS for v in variants]
    lines = [
        Line(
            f"{detector} {metric}, {VARIANT_LABELS.get(variant, variant)}".strip(),
            tuple(cell(lookup(rows, scope, metric, detector, variant)) for rows in (table, *by_seed.values())),
        )
        for metric, detector, variant in wanted
    ]
    return Grid("Figure", columns, tuple(lines))
