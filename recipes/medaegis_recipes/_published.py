"""The papers' figures, from published.csv, as plans take them; all are ResNet-50's, in percent."""

from __future__ import annotations

import csv
from importlib import resources

Published = dict[tuple[str, ...], float]
_KEY = ("attack", "eps", "hfc", "detector", "metric")


def published(figures: str, data: str) -> Published:
    """The figures of one experiment on one data set, by (attack, eps, hfc, detector, metric).

    The papers give one Adv. Acc for an attack without and with HFC; it stands for the latter.
    """
    text = resources.files("medaegis_recipes").joinpath("published.csv").read_text(encoding="utf-8")
    rows = [row for row in csv.DictReader(text.splitlines()) if (row["figures"], row["data"]) == (figures, data)]
    return {tuple(row[name] for name in _KEY): float(row["value"]) for row in rows}


def component_figures(first: int) -> Published:
    """Those of HFC-23 Table III (Fundoscopy); tables call HFC of the first K "with" and of others "HFC, K = 4"."""
    lead = f"K = {first}"
    found = published("components", "fundus")
    return {(a, e, "with" if k == lead else f"HFC, {k}", d, m): value for (a, e, k, d, m), value in found.items()}
