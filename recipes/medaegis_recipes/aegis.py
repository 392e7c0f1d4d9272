"""aegis-table1 to aegis-table5: the tables of Medical Aegis."""

from __future__ import annotations

from medaegis.experiment import Row, joined_recipe
from medaegis_recipes import cushion_detectors, defence, defence_parts, stress_test_cushion
from medaegis_recipes._parts import both, on, several, vgg16

CONVENTIONAL = ("fgsm", "bim", "pgd", "mim", "dim", "tim", "cw_linf", "pgd_l2", "cw_l2", "transfer")
ADAPTIVE = ("fea", "hfc", "wb", "wb_d")
HIDDEN = ("mim+hfc", "bim+hfc", "pgd+hfc", "cw_linf+hfc")
FULL = {"defences": ("paper", "paper@jpeg:80"), "eps": ("16/256",), "curve": ()}
TINY = {"eps": ("16/256",), "curve": ()}


def _among_detectors(row: Row) -> Row | None:
    """A figure of the Shield as Table 2 has it: a detector's, of the attack that HFC hides, and the same metrics."""
    attack, hidden, _ = row.attack.partition(" + HFC")
    if not hidden or row.metric not in ("AUC", "TPR@90", "undetected"):
        return None
    cushioned = row.model if row.detector.startswith("Shield") else f"{row.model} behind jpeg:80"
    return row._replace(attack=attack, hfc="with", model=cushioned)


table1 = joined_recipe(
    "aegis-table1",
    "Features under stress behind a Cushion",
    several(stress_test_cushion.recipe, ("fundus",)),
    paper="Aegis Table 1",
)
table2 = joined_recipe(
    "aegis-table2",
    "Known detectors, the Shield and Medical Aegis against attacks that HFC hides",
    (
        *on("fundus", cushion_detectors.fundus, {}, {}),
        *on(
            *("fundus", defence.fundus, FULL | {"attackers": HIDDEN}, TINY | {"attackers": ("bim+hfc",)}),
            rows=_among_detectors,
        ),
    ),
    paper="Aegis Table 2",
)
table3 = joined_recipe(
    "aegis-table3",
    "Shield and Medical Aegis against conventional attacks",
    vgg16(
        both(
            defence.fundus,
            defence.chest_xray,
            FULL | {"attackers": CONVENTIONAL},
            TINY | {"attackers": ("fgsm", "pgd", "cw_linf")},
        )
    ),
    paper="Aegis Table 3",
)
table4 = joined_recipe(
    "aegis-table4",
    "Shield and Medical Aegis against adaptive attacks",
    vgg16(
        both(
            defence.fundus,
            defence.chest_xray,
            FULL | {"attackers": ADAPTIVE},
            TINY | {"attackers": ("hfc", "wb")},
        )
    ),
    paper="Aegis Table 4",
)
table5 = joined_recipe(
    "aegis-table5",
    "Which taps the Shield needs, and which Cushion",
    (
        *on("fundus", defence_parts.layers, {}, {}, "taps"),
        *on("fundus", defence_parts.cushions, {}, {"defences": ("paper@none", "paper@jpeg:80")}, "Cushions"),
    ),
    paper="Aegis Table 5",
)
