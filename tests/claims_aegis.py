"""What the Medical Aegis paper claims, and what is held against it."""

from __future__ import annotations

from typing import Any

from claims_evidence import Claim, at_least, at_most, drops_at_most, lower

DEFENCES = ("defence-fundus", "defence-chest-xray")
ALONE = ("defence-fundus-paper", "defence-chest-xray-paper")
"""Where the Shield alone was tried."""
AEGIS = ("defence-fundus-aegis", "defence-chest-xray-aegis")
"""Where Medical Aegis was tried."""
TABLE_2 = "aegis-table2"
BOTH_CUSHIONS = (f"{TABLE_2}/cushion-detectors-fundus", "cushion-detectors-chest-xray")
BLOCKS = 8
"""Residual blocks of the ResNet-18 of the stress tests."""
CONVENTIONAL = ("FGSM", "BIM", "PGD", "MIM", "DIM", "TIM", "CW-Linf", "PGD-L2", "TF")
CW_L2 = "CW-L2"
ADAPTIVE = ("Fea", "HFC", "WB", "WB_d")
SHIELD = "Shield, paper"
CUSHIONED = tuple(
    f"Medical Aegis ({cushion}), paper" for cushion in ("jpeg:90", "jpeg:80", "jpeg:70", "bits:3", "bits:4", "tv:0.03")
)
NET = "resnet18"


def raised(layer: int, way: str = "up") -> str:
    return f"{way} network.layer{layer // 2 + 1}.{layer % 2}.relu#2"


def _taps(*numbers: int) -> tuple[str, ...]:
    return tuple(f"Medical Aegis (jpeg:80), paper, tap {one}" for one in numbers)


def _aegis(*attacks: str, defence: str | tuple[str, ...] = "Medical Aegis (jpeg:80), paper") -> dict[str, Any]:
    return {
        "attack": attacks,
        "eps": ("16/256", "8/256" if {"PGD-L2", CW_L2} & {*attacks} else ""),
        "metric": "AUC",
        "detector": defence,
    }


def _hidden(defence: str) -> dict[str, Any]:
    return {"hfc": "with", "metric": "AUC", "detector": defence}


def of_the_defence() -> list[Claim]:
    return [
        Claim(
            "Aegis Table 1",
            "JPEG lessens how far features are raised, stronger compression more",
            tuple(
                ask
                for weaker, stronger in (
                    (NET, f"{NET} behind jpeg:90"),
                    (f"{NET} behind jpeg:90", f"{NET} behind jpeg:70"),
                )
                for ask in lower(
                    "aegis-table1",
                    than={"model": weaker},
                    by=("dataset", "attack"),
                    model=stronger,
                    attack=tuple(raised(layer) for layer in range(BLOCKS)),
                    metric="change ratio to no Cushion",
                )
            ),
            ("aegis-table1",),
        ),
        Claim(
            "Aegis Table 2",
            "Behind JPEG-80 every detector's AUC against HFC rises",
            tuple(
                lower(
                    *BOTH_CUSHIONS,
                    than={"model": f"{NET} behind jpeg:80"},
                    by=("attack", "eps", "detector"),
                    model=NET,
                    hfc="with",
                    detector=("KD", "MAHA", "LID", "DNN"),
                    metric="AUC",
                )
            ),
            (TABLE_2, BOTH_CUSHIONS[1]),
        ),
        Claim(
            "Aegis Table 2",
            "The Shield alone finds MIM, BIM, PGD and CW hidden by HFC with at least 98",
            tuple(at_least(98, TABLE_2, **_hidden(SHIELD))),
            (TABLE_2,),
        ),
        Claim(
            "Aegis Table 2",
            "Medical Aegis finds them with at least 99",
            tuple(at_least(99, TABLE_2, **_hidden("Medical Aegis (jpeg:80), paper"))),
            (TABLE_2,),
        ),
        Claim(
            "Aegis Table 3",
            "The Shield alone finds conventional attacks at 16/256 with at least 89",
            tuple(at_least(89, *ALONE, **_aegis(*CONVENTIONAL, CW_L2, defence=SHIELD))),
            DEFENCES,
        ),
        Claim(
            "Aegis Table 4",
            "The Shield alone finds WB and WB_d with at least 90",
            tuple(at_least(90, *ALONE, **_aegis("WB", "WB_d", defence=SHIELD))),
            DEFENCES,
        ),
        Claim(
            "Aegis Table 3",
            "Medical Aegis finds conventional attacks but CW-L2 at 16/256 with at least 99",
            tuple(at_least(99, *AEGIS, **_aegis(*CONVENTIONAL))),
            DEFENCES,
        ),
        Claim(
            "Aegis Table 3",
            "It finds CW-L2 with at least 92",
            tuple(at_least(92, *AEGIS, **_aegis(CW_L2))),
            DEFENCES,
        ),
        Claim(
            "Aegis Table 4",
            "Medical Aegis finds Fea, HFC, WB and WB_d with at least 98",
            tuple(at_least(98, *AEGIS, **_aegis(*ADAPTIVE))),
            DEFENCES,
        ),
        Claim(
            "Aegis 4.3",
            "Nearly no attack defeats it, although the attacker knows all of it: at least 98 in the worst case",
            tuple(at_least(98, *AEGIS, **_aegis("Worst case"))),
            DEFENCES,
        ),
        Claim(
            "Aegis Table 5",
            "A Shield on either of the two shallow taps alone finds WB with at least 97",
            tuple(at_least(97, "defence-layers", **_aegis("WB", defence=_taps(1, 2)))),
            ("defence-layers",),
        ),
        Claim(
            "Aegis Table 5",
            "On either of the two deep taps alone it is defeated by WB (at most 42)",
            tuple(at_most(42, "defence-layers", **_aegis("WB", defence=_taps(3, 4)))),
            ("defence-layers",),
        ),
        Claim(
            "Aegis 4.4, Table 5",
            "All four taps together find CW-L2 and WB better than any single one",
            tuple(
                ask
                for attack in (CW_L2, "WB")
                for ask in lower(
                    "defence-layers",
                    than={"detector": "Medical Aegis (jpeg:80), paper"},
                    by=("attack", "eps"),
                    **_aegis(attack, defence=_taps(1, 2, 3, 4)),
                )
            ),
            ("defence-layers",),
        ),
        Claim(
            "Aegis Table 5",
            "With any of the Cushions WB stays at 99 or more",
            tuple(at_least(99, "defence-cushions", **_aegis("WB", defence=CUSHIONED))),
            ("defence-cushions",),
        ),
        Claim(
            "Aegis 4.4",
            "Cushions cost the classifier little: at most 3 points of AUC",
            tuple(
                drops_at_most(3, "defence-cushions", than={"detector": SHIELD}, detector=CUSHIONED, metric="clean AUC")
            ),
            ("defence-cushions",),
        ),
    ]
