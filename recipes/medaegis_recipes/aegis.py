"""aegis-table1 to aegis-table5: the tables of Medical Aegis."""

from __future__ import annotations

from medaegis.experiment import joined_recipe
from medaegis_recipes import cushion_detectors, defence, defence_parts, stress_test_cushion
from medaegis_recipes._parts import among_detectors, both, on, several, vgg16

CONVENTIONAL = ("fgsm", "bim", "pgd", "mim", "dim", "tim", "cw_linf", "pgd_l2", "cw_l2", "transfer")
ADAPTIVE = ("fea", "hfc", "wb", "wb_d")
HIDDEN = ("mim+hfc", "bim+hfc", "pgd+hfc", "cw_linf+hfc")
FULL = {"defences": ("paper", "paper@jpeg:80"), "eps": ("16/256",), "curve": ()}
TINY = {"eps": ("16/256",), "curve": ()}

table1 = joined_recipe(
    "aegis-table1",
    "Features under stress behind a Cushion",
    several(stress_test_cushion.recipe, ("fundus",)),
    paper="Aegis Table 1",
)
AMONG = FULL | {"attackers": HIDDEN}, TINY | {"attackers": ("bim+hfc",)}
table2 = joined_recipe(
    "aegis-table2",
    "Known detectors, the Shield and Medical Aegis against attacks that HFC hides",
    (*on("fundus", cushion_detectors.fundus, {}, {}), *on("fundus", defence.fundus, *AMONG, rows=among_detectors)),
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
