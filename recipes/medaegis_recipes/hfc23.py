"""hfc23-table1 to hfc23-table6: HFC-23's tables, and HFC-21's where they are the same."""

from __future__ import annotations

from medaegis.experiment import Part, joined_recipe
from medaegis_recipes import brain, components, detectors, lesions, natural_images, rivals, semi_white_box
from medaegis_recipes._parts import both, on, vgg16
from medaegis_recipes.detectors import SIX

MORE = {"attack": ("mim", "tim", "pgd", "cw_linf"), "matrix": False}
BRAIN = (Part(brain.brain, "brain"),)
ONE = {"substitutes": ("same",)}

table1 = joined_recipe(
    "hfc23-table1",
    "MIM, TIM, PGD and CW with HFC against six detectors",
    (*both(detectors.fundus, detectors.chest_xray, MORE, {"attack": ("bim", "mim")}), *BRAIN),
    paper="HFC-23 Table I",
)
table2 = joined_recipe(
    "hfc23-table2",
    "HFC against its competitors on two data sets",
    both(rivals.fundus, rivals.chest_xray, {"detectors": SIX}),
    paper="HFC-23 Table II, HFC-21 Table 3",
    aliases=("hfc21-table3",),
)
table3 = joined_recipe(
    "hfc23-table3",
    "HFC with 1 to 64 Gaussian components",
    on("fundus", components.fundus, {"detectors": SIX}, {}),
    paper="HFC-23 Table III",
)
table4 = joined_recipe(
    "hfc23-table4",
    "Attacks made on a substitute network, on two data sets",
    vgg16(both(semi_white_box.fundus, semi_white_box.chest_xray, ONE, ONE)),
    paper="HFC-23 Table IV, HFC-21 Table 4",
    aliases=("hfc21-table4",),
)
table5 = joined_recipe(
    "hfc23-table5", "Hiding in natural and in medical images", (Part(natural_images.recipe),), paper="HFC-23 Table V"
)
table6 = joined_recipe(
    "hfc23-table6",
    "Lesions that a classifier has never seen",
    both(lesions.fundus, lesions.recipe),
    paper="HFC-23 Table VI and Fig. 8",
    question="Does the HFC score notice synthetic lesions, and how often do they change the decision?",
    aliases=("hfc23-fig8",),
)
