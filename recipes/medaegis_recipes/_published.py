"""The papers' figures, from published.csv, as plans take them: in percent, of ResNet-50 but where a name says VGG-16.

Every table of the three papers is there, as printed. Of the HFC papers: `hiding` (HFC-21 Table 2, HFC-23 Table I, also
of `brain`), `rivals` (HFC-23 Table II) and `rivals-2021` (HFC-21 Table 3: one figure differs), `components` (HFC-23
Table III for fundus, the supplement's Table 1 for chest-xray; hfc is K), `semi-white-box` and `semi-white-box-vgg16`
(HFC-23 Table IV, whose half on fundus is HFC-21 Table 4), `natural-images` (HFC-23 Table V), `ood-lesions` (HFC-23
Table VI; attack is the lesions), `stress` (HFC-21 Table 1; attack is up or down, detector the layer, activations in
hundredths) and `direction` (HFC-23 Fig. 3; attack is the pair, cosines in hundredths).

Of Medical Aegis: `cushion-stress` (Table 1; hfc is the Cushion, detector the layer, activations in hundredths),
`cushion-detectors` (Table 2; "KD behind jpeg:80"), `defence` and `defence-vgg16` (Tables 3 and 4), and of Table 5, both
of VGG-16, `defence-layers` (hfc is the activations that the Shield reads) and `defence-cushions` (hfc is the Cushion;
without an attack, the classifier's own AUC).
"""

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


def component_figures(first: int, data: str = "fundus") -> Published:
    """Those of the sweeps over K; tables call HFC of the first K "with" and of others "HFC, K = 4"."""
    lead = f"K = {first}"
    found = published("components", data)
    return {(a, e, "with" if k == lead else f"HFC, {k}", d, m): value for (a, e, k, d, m), value in found.items()}
