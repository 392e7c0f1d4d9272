"""The published figures of HFC-21 Tables 2 and 3, and of HFC-23 Tables I to III, by data set; percent."""

from __future__ import annotations

# data set -> attack -> (Adv. Acc, KD AUC, KD TPR, MAHA AUC, MAHA TPR), without -> with HFC; HFC-21 Table 2, HFC-23 Table I
_HIDING = {
    "fundus": {
        "BIM": ((99.5,), (99.0, 74.2), (96.8, 20.5), (99.6, 6.4), (99.5, 0.0)),
        "PGD": ((99.5,), (99.4, 73.4), (98.6, 13.2), (100.0, 4.2), (100.0, 0.0)),
        "CW-Linf": ((99.5,), (99.5, 74.7), (99.1, 19.6), (99.8, 33.0), (99.5, 0.0)),
        "MIM": ((99.5,), (98.8, 72.0), (96.3, 10.0), (100.0, 7.8), (100.0, 0.0)),
        "TIM": ((95.9,), (99.3, 69.9), (98.2, 18.2), (100.0, 8.5), (100.0, 0.0)),
    },
    "chest-xray": {
        "BIM": ((90.9,), (100.0, 73.1), (100.0, 6.8), (100.0, 0.0), (100.0, 0.0)),
        "PGD": ((90.9,), (100.0, 82.3), (100.0, 50.5), (100.0, 0.0), (100.0, 0.0)),
        "CW-Linf": ((98.9,), (99.2, 71.5), (98.4, 15.7), (100.0, 22.4), (100.0, 0.0)),
        "MIM": ((98.1,), (100.0, 67.9), (100.0, 7.9), (100.0, 0.0), (100.0, 0.0)),
        "TIM": ((85.8,), (99.3, 74.6), (98.8, 11.0), (100.0, 5.4), (100.0, 0.0)),
    },
}
_MEASURES = (("", "Adv. Acc"), ("KD", "AUC"), ("KD", "TPR@90"), ("MAHA", "AUC"), ("MAHA", "TPR@90"))
# data set -> competitor -> Adv. Acc, KD AUC, MAHA AUC; HFC-23 Table II
_RIVALS = {
    "fundus": {
        "Random guide": (100.0, 75.1, 86.1),
        "Closest guide": (81.5, 77.0, 64.0),
        "KDE": (100.0, 51.6, 86.5),
        "LID": (95.9, 87.6, 85.4),
        "with": (99.5, 74.2, 6.4),
    },
    "chest-xray": {
        "Random guide": (94.8, 77.0, 64.0),
        "Closest guide": (53.1, 80.1, 38.3),
        "KDE": (100.0, 58.2, 66.9),
        "LID": (70.9, 84.0, 66.6),
        "with": (95.8, 70.8, 0.0),
    },
}
# K -> KD AUC, MAHA AUC on Fundoscopy; HFC-23 Table III
_COMPONENTS = {
    **{1: (75.8, 5.9), 2: (78.5, 5.6), 4: (77.9, 6.2), 8: (77.8, 7.1)},
    **{16: (73.6, 8.2), 32: (73.3, 8.6), 64: (74.2, 7.6), 128: (74.4, 5.9)},
}

Published = dict[tuple[str, ...], float]


def hiding_figures(data: str) -> Published:
    """Every attack without and with HFC at 1/256, ResNet-50; the papers give one Adv. Acc an attack, for HFC's."""
    found: Published = {}
    for attack, figures in _HIDING[data].items():
        for (detector, metric), values in zip(_MEASURES, figures, strict=True):
            ways = ("without", "with") if len(values) == 2 else ("with",)
            found |= {
                (attack, "1/256", way, detector, metric): value for way, value in zip(ways, values, strict=True)
            }
    return found


def rival_figures(data: str) -> Published:
    """BIM with each competitor of HFC at 1/256, ResNet-50."""
    measures = (("", "Adv. Acc"), ("KD", "AUC"), ("MAHA", "AUC"))
    return {
        ("BIM", "1/256", way, *measure): value
        for way, values in _RIVALS[data].items()
        for measure, value in zip(measures, values, strict=True)
    }


def component_figures(first: int) -> Published:
    """BIM with HFC of K components at 1/256 on Fundoscopy; the recipe's first K is called "with"."""
    return {
        ("BIM", "1/256", "with" if k == first else f"HFC, K = {k}", detector, "AUC"): value
        for k, values in _COMPONENTS.items()
        for detector, value in zip(("KD", "MAHA"), values, strict=True)
    }
