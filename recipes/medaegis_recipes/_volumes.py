"""The phantom that stands in for the paper's private head CTs, and the user's own volumes in its place."""

from __future__ import annotations

from typing import Any

from medaegis_recipes._published import Published

PHANTOM = "phantom-brain"
BUDGET = "1/256"
"""Of HFC-23 Table I."""
STANDS_IN = (
    "Volumes are phantoms: the paper's 1,486 head CTs are private. Give your own with --data DIR, a folder of NIfTI "
    "files or DICOM series for each class, and --set window=40,80."
)


def own_or_phantom(settings: Any) -> Any:
    """Settings with the user's folder where one is given, by its layout; with the phantom where none is."""
    own = settings.data is not None and settings.source == PHANTOM
    return settings.model_copy(update={"source": None}) if own else settings


def at_budget(figures: Published, eps: tuple[str, ...]) -> tuple[Published, tuple[str, ...]]:
    """The paper's figures beside those of the only budget, and what to say where it is not the paper's."""
    if len(eps) != 1 or eps[0] == BUDGET:
        return figures, ()
    moved = {(attack, eps[0], *rest): value for (attack, _, *rest), value in figures.items()}
    return moved, (
        f"Budget {eps[0]}, where the paper has {BUDGET}, of which the published figures beside ours are: at {BUDGET} "
        "small networks are hardly fooled (hfc23-fig9), and detectors that learn from an attack would have too little.",
    )
