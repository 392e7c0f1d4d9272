"""hfc23-fig1 to hfc23-fig9: HFC-23's figures, and HFC-21's where they are the same; Fig. 8 is Table VI's."""

from __future__ import annotations

from medaegis.experiment import Part, joined_recipe
from medaegis_recipes import detectors, gradient_direction, stress_test, vulnerability_3d
from medaegis_recipes._parts import both, on, several, vgg16

BIM = {"attack": ("bim",), "eps": ("1/256",), "matrix": False}
BUDGETS = BIM | {"eps": ("1/256", "2/256", "4/256")}

fig2 = joined_recipe(
    "hfc23-fig2",
    "The direction in which attacks push features",
    several(gradient_direction.recipe, ("fundus", "cifar10")),
    paper="HFC-23 Figs. 2 and 3, HFC-21 Fig. 2",
    aliases=("hfc23-fig3", "hfc21-fig2"),
)
fig4 = joined_recipe(
    "hfc23-fig4",
    "Features of medical and of natural images, block by block",
    several(stress_test.recipe, ("fundus", "chest_xray", "cifar10"), {"eps": ("1/256",)}),
    paper="HFC-23 Fig. 4",
)
fig5 = joined_recipe(
    "hfc23-fig5",
    "Six detectors and HFC over the budget",
    vgg16(both(detectors.fundus, detectors.chest_xray, BUDGETS, {"eps": ("4/256", "8/256")})),
    paper="HFC-23 Fig. 5, HFC-21 Fig. 3",
    aliases=("hfc21-fig3",),
)
fig6 = joined_recipe(
    "hfc23-fig6", "Detectors on every layer", on("fundus", detectors.fundus, BIM, {}), paper="HFC-23 Fig. 6"
)
fig7 = joined_recipe(
    "hfc23-fig7",
    "Where attacked images lie among clean ones",
    on("chest_xray", detectors.chest_xray, BIM, {}),
    paper="HFC-23 Figs. 1 and 7, HFC-21 Fig. 1",
    aliases=("hfc23-fig1", "hfc21-fig1"),
)
fig9 = joined_recipe(
    "hfc23-fig9",
    "Are volumes more vulnerable than images?",
    (Part(vulnerability_3d.recipe, "brain"),),
    paper="HFC-23 Fig. 9",
)
