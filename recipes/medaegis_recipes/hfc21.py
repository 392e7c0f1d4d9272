"""hfc21-table1, hfc21-table2, hfc21-supp1: tables of HFC-21 that HFC-23 does not have; its others are aliases there."""

from __future__ import annotations

from medaegis.experiment import joined_recipe
from medaegis_recipes import components, detectors, stress_test
from medaegis_recipes._parts import both, several
from medaegis_recipes.detectors import SIX

table1 = joined_recipe(
    "hfc21-table1",
    "Features of medical and of natural images under stress",
    several(stress_test.recipe, ("fundus", "cifar10")),
    paper="HFC-21 Table 1",
)
table2 = joined_recipe(
    "hfc21-table2",
    "Six detectors and HFC on two data sets",
    both(detectors.fundus, detectors.chest_xray, {"matrix": False}),
    paper="HFC-21 Table 2, supplement Fig. 1",
    aliases=("hfc21-supp-fig1",),
)
supp1 = joined_recipe(
    "hfc21-supp1",
    "HFC with 1 to 64 Gaussian components on two data sets",
    both(components.fundus, components.chest_xray, {"detectors": SIX}),
    paper="HFC-21 supplement Table 1",
)
