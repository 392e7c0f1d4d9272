"""The attackers that a defence is tried against, by name: the paper's, and stronger ones that know all of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, NamedTuple, TypeVar

from torch import nn

from medaegis._errors import require
from medaegis.attack import (
    HFC,
    AdamStep,
    Attack,
    Attacker,
    Guide,
    LowResolution,
    Space,
    Tanh,
    apgd,
    bim,
    cw_l2,
    cw_linf,
    dim,
    feature_attack,
    fgsm,
    mim,
    pgd,
    pgd_l2,
    tim,
    transfer,
)
from medaegis.defend import JPEGDraws, Shielded, ShieldGuard, shield_logit

Known = TypeVar("Known")
Group = Literal["conventional", "adaptive", "beyond"]
Need = Literal["", "hfc", "guide", "substitute", "other", "cushion"]
CONTENT = 1.0
"""Margin of the logits at which the stronger attacks are content and leave the rest of their steps to the Shield."""
ADAM_PATH = 10.0
"""Length of all steps together in tanh coordinates, of which about 5 span the budget."""
LOW_PATH = 4.0
"""The same in budgets, on coarser grids."""
DRAWS = 3
HALF = Fraction(1, 2)


class Knowledge(NamedTuple):
    """What attackers know of a defence.

    Attributes:
        system: Cushion, classifier and Shields; of a blind attacker, Cushion and classifier.
        guard: the thresholds; None for a blind attacker.
        kappa: confidence of CW-Linf, the mean gap of the clean logits.
        hfc: the feature constraint on the classifier's layers.
        guide: natural features to imitate.
        substitute: another classifier of the same cases.
        other: another defence of the same classifier, trained independently.
        plain: the system with a Cushion whose backward pass is the identity.
    """

    system: nn.Module
    guard: ShieldGuard | None
    kappa: float
    hfc: HFC | None = None
    guide: Guide | None = None
    substitute: nn.Module | None = None
    other: Shielded | None = None
    plain: Shielded | None = None


Make = Callable[[Knowledge, float, int], Attacker]


@dataclass(frozen=True)
class Adversary:
    """One attacker.

    Args:
        name: in settings.
        title: in tables.
        group: whether the paper has it, and among which.
        make: from knowledge, Linf budget and steps to the attack.
        need: what it must know beside the system.
        blind: follows the classifier alone, behind its Cushion, so that its images are the same for all Shields.
        scale: its own budget as a share of the Linf budget: the paper gives L2 attacks half as many levels.
    """

    name: str
    title: str
    group: Group
    make: Make
    need: Need = ""
    blind: bool = False
    scale: Fraction = Fraction(1)


def white_box(known: Knowledge, eps: float, steps: int, *, kappa: float | None = None) -> Attack:
    """WB of the paper: sign steps of 2 eps / steps on J = -S + CW-Linf, from a random start."""
    floor = known.kappa if kappa is None else kappa
    return cw_linf(eps, steps=steps, kappa=floor).plus(shield_logit, name="WB")


def _strong(known: Knowledge, eps: float, steps: int) -> Attack:
    """WB that is content with a small margin of the logits and keeps the best iterate by (fooled, accepted, J)."""
    return white_box(known, eps, steps, kappa=CONTENT).against(_there(known.guard))


def _momentum(known: Knowledge, eps: float, steps: int) -> Attack:
    return _strong(known, eps, steps).with_momentum().decaying("cosine")


def _fine(known: Knowledge, eps: float, steps: int) -> Attack:
    made = cw_linf(eps, steps=steps, step_size=eps / 32, kappa=CONTENT).plus(shield_logit, name="WB, fine steps")
    return made.against(_there(known.guard))


def _adam(known: Knowledge, eps: float, steps: int, space: Space | None = None) -> Attack:
    chosen = Tanh() if space is None else space
    size = ADAM_PATH / steps if space is None else LOW_PATH * eps / steps
    return _strong(known, eps, steps).over(chosen, AdamStep(size)).decaying("cosine")


def _coarse(factor: float) -> Make:
    return lambda known, eps, steps: _adam(known, eps, steps, LowResolution(factor))


def _auto(known: Knowledge, eps: float, steps: int) -> Attack:
    return apgd(eps, steps=steps).plus(shield_logit).against(_there(known.guard))


def _eot(known: Knowledge, eps: float, steps: int) -> Attack:
    return _adam(known, eps, max(1, steps // DRAWS)).through(JPEGDraws(), draws=DRAWS)


def _with_hfc(known: Knowledge, eps: float, steps: int) -> Attack:
    return _strong(known, eps, steps).plus(_there(known.hfc))


def _there(value: Known | None) -> Known:
    assert value is not None, "a plan gives attackers what they need"
    return value


def _blind(
    name: str, title: str, make: Make, *, group: Group = "conventional", need: Need = "", scale: Fraction = Fraction(1)
) -> Adversary:
    return Adversary(name, title, group, make, need, blind=True, scale=scale)


ADVERSARIES = {
    one.name: one
    for one in (
        _blind("fgsm", "FGSM", lambda known, eps, steps: fgsm(eps)),
        _blind("bim", "BIM", lambda known, eps, steps: bim(eps, steps=steps)),
        _blind("pgd", "PGD", lambda known, eps, steps: pgd(eps, steps=steps)),
        _blind("mim", "MIM", lambda known, eps, steps: mim(eps, steps=steps)),
        _blind("dim", "DIM", lambda known, eps, steps: dim(eps, steps=steps)),
        _blind("tim", "TIM", lambda known, eps, steps: tim(eps, steps=steps)),
        _blind("cw_linf", "CW-Linf", lambda known, eps, steps: cw_linf(eps, steps=steps, kappa=known.kappa)),
        _blind("pgd_l2", "PGD-L2", lambda known, eps, steps: pgd_l2(eps, steps=steps), scale=HALF),
        _blind("cw_l2", "CW-L2", lambda known, eps, steps: cw_l2(eps, steps=steps), scale=HALF),
        _blind(
            *("transfer", "TF"),
            lambda known, eps, steps: transfer(_there(known.substitute), pgd(eps, steps=steps)),
            need="substitute",
        ),
        _blind(
            *("fea", "Fea"),
            lambda known, eps, steps: feature_attack(eps, _there(known.guide), steps=steps),
            group="adaptive",
            need="guide",
        ),
        _blind(
            *("hfc", "HFC"),
            lambda known, eps, steps: pgd(eps, steps=steps).plus(_there(known.hfc)),
            group="adaptive",
            need="hfc",
        ),
        Adversary("wb", "WB", "adaptive", white_box),
        Adversary(
            "wb_d",
            "WB_d",
            "adaptive",
            lambda known, eps, steps: white_box(known, eps, steps).decaying(after=steps // 2),
        ),
        Adversary("wb-momentum", "WB, momentum, decay, best", "beyond", _momentum),
        Adversary("wb-fine", "WB, fine steps, best", "beyond", _fine),
        Adversary("wb-auto", "WB by Auto-PGD", "beyond", _auto),
        Adversary(
            *("wb-selective", "WB, selective projection", "beyond"),
            lambda known, eps, steps: _strong(known, eps, steps).projecting("selective"),
        ),
        Adversary(
            *("wb-orthogonal", "WB, orthogonal projection", "beyond"),
            lambda known, eps, steps: _strong(known, eps, steps).projecting("orthogonal"),
        ),
        Adversary(
            *("wb-restarts", "WB, momentum, 3 restarts", "beyond"),
            lambda known, eps, steps: _momentum(known, eps, steps).restarting(3),
        ),
        Adversary("wb-hfc", "WB + HFC", "beyond", _with_hfc, need="hfc"),
        Adversary("adam", "WB by Adam on tanh", "beyond", _adam),
        Adversary("adam-2", "WB by Adam, 1/2 resolution", "beyond", _coarse(2.0)),
        Adversary("adam-4", "WB by Adam, 1/4 resolution", "beyond", _coarse(4.0)),
        Adversary("adam-8", "WB by Adam, 1/8 resolution", "beyond", _coarse(8.0)),
        Adversary(
            *("adam-identity", "WB by Adam, identity BPDA", "beyond"),
            lambda known, eps, steps: transfer(_there(known.plain), _adam(known, eps, steps)),
            need="cushion",
        ),
        Adversary("adam-eot", "WB by Adam, over JPEG qualities", "beyond", _eot, need="cushion"),
        Adversary(
            *("adam-other", "WB by Adam, from another Shield", "beyond"),
            lambda known, eps, steps: transfer(_there(known.other), _adam(known, eps, steps)),
            need="other",
        ),
    )
}
"""Every attacker by name, in the order of tables."""


HIDEABLE = ("fgsm", "bim", "pgd", "mim", "dim", "tim", "cw_linf", "pgd_l2")
"""Those that HFC can be added to, as in "bim+hfc" (Aegis Table 2)."""


def adversary(name: str) -> Adversary:
    """The attacker of a name, or with HFC, as "bim+hfc".

    Raises:
        InputError: there is none.

    Example:
        >>> adversary("bim+hfc").title
        'BIM + HFC'
    """
    base, _, added = name.partition("+")
    good = name in ADVERSARIES or (base in HIDEABLE and added == "hfc")
    require(good, "attackers", "recipe", f"names among {tuple(ADVERSARIES)}, or as bim+hfc", name)
    one = ADVERSARIES[base]
    if not added:
        return one

    def hide(known: Knowledge, eps: float, steps: int) -> Attacker:
        plain = one.make(known, eps, steps)
        assert isinstance(plain, Attack), "hideable attackers follow an objective"
        return plain.plus(_there(known.hfc))

    return replace(one, name=name, title=f"{one.title} + HFC", group="adaptive", make=hide, need="hfc")


def budget_of(adversary: Adversary, eps: Fraction) -> Fraction:
    """The attacker's own budget at a Linf budget.

    Example:
        >>> budget_of(ADVERSARIES["pgd_l2"], Fraction(16, 256)) * 256
        Fraction(8, 1)
    """
    return eps * adversary.scale
