"""The ways in which an attack can hide, by the names that settings have."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from medaegis._errors import require
from medaegis.attack import Projection
from medaegis.experiment._rivals import RIVALS
from medaegis.experiment._stages_attack import HIDDEN, AttackChoice, Attacked, ChosenWeights
from medaegis.experiment._stages_detect import CleanScores
from medaegis.experiment._stages_model import AdversarialCases, Bank, TrainFeatures
from medaegis.experiment._white_box import WAYS, white_boxes

if TYPE_CHECKING:
    from medaegis.experiment._hiding import HidingSettings

PROJECTIONS: dict[str, Projection] = {"selective": "selective", "orthogonal": "orthogonal"}
HFC_KINDS = ("hfc", *PROJECTIONS, "chosen", "released")
RELEASED_WEIGHT = 2.0  # the released code has no factor 1/2


def hidings(
    settings: HidingSettings,
    choice: AttackChoice,
    cases: AdversarialCases,
    features: TrainFeatures,
    clean: CleanScores,
) -> tuple[Attacked, ...]:
    """One attack without anything, then hidden in every way that the settings name.

    Args:
        settings: which ways, and what they are made of.
        choice: the attack.
        cases: of the attacked network.
        features: Train features of the network on which images are made; that is a substitute where it is not the
            attacked one.
        clean: the attacked network's detectors.

    Raises:
        InputError: an unknown way of hiding, or one that asks for more of the attacked network than an attacker with a
            substitute has.
    """
    known = (*HFC_KINDS, *RIVALS, *WAYS)
    wrong = [name for name in settings.hiding if name not in known]
    require(not wrong, "hiding", "recipe", f"names among {known}", wrong)
    substitute = None if features.classifier == cases.classifier else features.classifier
    headless = [name for name in settings.hiding if name == "kde" and not features.penultimate]
    fix = "Take a substitute with a dense layer."
    require(not headless, "hiding", "recipe", "without kde, which reads a penultimate layer", headless, fix)
    secret = [name for name in settings.hiding if substitute and name in (*WAYS, "chosen")]
    fix = "Those need the attacked network itself, or its detectors."
    require(not secret, "hiding", "recipe", "made of the substitute alone where there is one", secret, fix)
    found = [Attacked(cases, choice, seed=settings.seed)]
    for name in settings.hiding:
        if name in RIVALS:
            rival = Attacked(cases, choice, seed=settings.seed, rival=name, features=features, label=RIVALS[name])
            found.append(rival)
        elif name in WAYS:
            followed = white_boxes((name,), clean)
            found += [Attacked(cases, choice, seed=settings.seed, followed=f, label=f.label) for f in followed]
        else:
            counts = settings.components if name == "hfc" else settings.components[:1]
            found += [_hfc(settings, name, count, choice, cases, features) for count in counts]
    return tuple(replace(attacked, substitute=substitute) for attacked in found)


def _hfc(
    settings: HidingSettings,
    name: str,
    components: int,
    choice: AttackChoice,
    cases: AdversarialCases,
    features: TrainFeatures,
) -> Attacked:
    bank = Bank(features, components=components, seed=settings.seed, released=name == "released")
    weight = settings.hfc_weight * (RELEASED_WEIGHT if name == "released" else 1.0)
    chosen = ChosenWeights(cases, choice, bank, seed=settings.seed) if name == "chosen" else None
    words = {"chosen": "HFC, chosen weights", "released": "HFC, released code"}
    words |= {projection: f"HFC, {projection}" for projection in PROJECTIONS}
    first = components == settings.components[0]
    label = words.get(name, HIDDEN if first else f"HFC, K = {components}")
    projection = PROJECTIONS.get(name, "none")
    return Attacked(cases, choice, bank, weight, settings.seed, projection=projection, chosen=chosen, label=label)
