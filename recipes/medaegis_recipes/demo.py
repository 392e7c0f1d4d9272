"""demo: the whole story on phantoms, in a few minutes on two cores and without internet."""

from __future__ import annotations

from medaegis.experiment import HidingSettings, Recipe, hiding_plan

recipe = Recipe(
    name="demo",
    title="Can an attack hide? A demonstration on synthetic images",
    question="A small classifier of synthetic chest images is attacked: do detectors notice, also once it hides (HFC)?",
    settings=HidingSettings(
        source="phantom-chest",
        size=224,
        cases=900,
        model="small-resnet",
        weights=None,
        epochs=18,
        train_batch=32,
        eps=("1/256", "2/256"),
        hiding=("hfc", "white-box"),
    ),
    plan=lambda settings: hiding_plan(
        settings,
        dataset="Chest phantoms",
        differs=(
            "Synthetic images and a small network: this run shows the mechanism, not the papers' figures.",
            "Image kind, size and learning rate were chosen, out of about 15 settings tried, because the effect shows "
            "at 1/256; most others showed less. It is no evidence of how common that is.",
        ),
    ),
    tiny={
        "cases": 240,
        "size": 48,
        "epochs": 8,
        "train_batch": 16,
        "learning_rate": 2e-3,
        "eps": ("8/256",),
        "steps": 4,
    },
    paper="HFC-21 Table 2 and Fig. 3, on phantoms",
)
