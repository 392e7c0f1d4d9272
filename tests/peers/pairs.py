"""Which attack of ours meets which attack of a peer, and whether the two are defined alike."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from medaegis import attack as attacks
from medaegis import run_attack
from medaegis.attack import Attack, Attacker, CaseRandom, apgd, bim, dim, fgsm, mim, pgd, pgd_l2, tim
from medaegis.attack._random import case_seeds
from peers.toolboxes import Run, art, foolbox, from_start, torchattacks
from peers.worlds import CASES, World

EPS, STEPS = 4 / 256, 8
STEP = EPS / 4
LENGTH, LENGTH_STEP = 0.5, 0.125
SEED, CW_STEPS = 5, 100


class Pair(NamedTuple):
    """Two implementations of one attack.

    Attributes:
        attack: name of ours.
        peer: toolbox and class.
        ours: our attack.
        theirs: runs the peer's.
        channels: what images the peer can take.
        wide: whether the peer computes in float64 when it is given float64.
        targeted: whether the peer can be targeted.
        same_start: whether the peer is handed our random start.
    """

    attack: str
    peer: str
    ours: Attacker
    theirs: Run
    channels: tuple[int, ...] = (1, 3)
    wide: bool = True
    targeted: bool = True
    same_start: bool = False


def ours(attack: Attacker, world: World) -> Tensor:
    """Our images."""
    generator = torch.Generator().manual_seed(SEED)
    return run_attack(attack, world.net, world.x, world.y, target=world.target, generator=generator).x


def theirs(pair: Pair, world: World) -> Tensor:
    """The peer's images, from our random start where the attack has one."""
    if not pair.same_start:
        return pair.theirs(world)
    seeds = case_seeds(len(world.x), torch.Generator().manual_seed(SEED))
    region = pair.ours.constraint.around(world.x)
    return from_start(pair.theirs, world, region.start(CaseRandom.from_seeds(seeds.tolist())))


def _still(attack: Attack) -> Attack:
    return replace(attack, random_start=False)


_FGSM, _BIM = fgsm(EPS), bim(EPS, steps=STEPS, step_size=STEP)
_PGD, _MIM = pgd(EPS, steps=STEPS, step_size=STEP), mim(EPS, steps=STEPS, step_size=STEP)
_L2 = _still(pgd_l2(LENGTH, steps=STEPS, step_size=LENGTH_STEP, norm="l2"))
_TIM = tim(EPS, steps=STEPS, step_size=STEP, kernel=15)
_DIM = dim(EPS, steps=STEPS, step_size=STEP, probability=0.0)
_BOX = {"eps": EPS, "alpha": STEP, "steps": STEPS}
_FOOL = {"abs_stepsize": STEP, "steps": STEPS}
_ART = {"eps": EPS, "eps_step": STEP, "max_iter": STEPS}
_ART_L2 = {"eps": LENGTH, "eps_step": LENGTH_STEP, "max_iter": STEPS, "norm": 2}
_ART_PGD = "ProjectedGradientDescentPyTorch"
_FOOL_L2 = {"abs_stepsize": LENGTH_STEP, "steps": STEPS, "random_start": False}
_BOX_L2 = {"eps": LENGTH, "alpha": LENGTH_STEP, "steps": STEPS, "random_start": False}

SAME: tuple[Pair, ...] = (
    Pair("FGSM", "torchattacks FGSM", _FGSM, torchattacks("FGSM", eps=EPS)),
    Pair("FGSM", "foolbox LinfFastGradientAttack", _FGSM, foolbox("LinfFastGradientAttack", EPS), targeted=False),
    Pair("FGSM", "ART FastGradientMethod", _FGSM, art("FastGradientMethod", eps=EPS), wide=False),
    Pair("BIM", "torchattacks BIM", _BIM, torchattacks("BIM", **_BOX)),
    Pair("BIM", "torchattacks PGD, no start", _BIM, torchattacks("PGD", **_BOX, random_start=False)),
    Pair("BIM", "foolbox LinfBasicIterativeAttack", _BIM, foolbox("LinfBasicIterativeAttack", EPS, **_FOOL)),
    Pair("BIM", "ART BasicIterativeMethod", _BIM, art("BasicIterativeMethod", **_ART), wide=False),
    Pair("PGD", "torchattacks PGD", _PGD, torchattacks("PGD", **_BOX), same_start=True),
    Pair("PGD", "foolbox LinfPGD", _PGD, foolbox("LinfPGD", EPS, **_FOOL), same_start=True),
    Pair("PGD", f"ART {_ART_PGD}", _PGD, art(_ART_PGD, **_ART, num_random_init=1), wide=False, same_start=True),
    Pair("MIM", "torchattacks MIFGSM", _MIM, torchattacks("MIFGSM", **_BOX, decay=1.0)),
    Pair("MIM", "ART MomentumIterativeMethod", _MIM, art("MomentumIterativeMethod", **_ART, decay=1.0), wide=False),
    Pair("PGD-L2", f"ART {_ART_PGD}", _L2, art(_ART_PGD, **_ART_L2), wide=False),
    Pair("TIM", "torchattacks TIFGSM", _TIM, torchattacks("TIFGSM", **_BOX, diversity_prob=0.0), (3,), wide=False),
    Pair("DIM, p = 0", "torchattacks DIFGSM", _DIM, torchattacks("DIFGSM", **_BOX, diversity_prob=0.0)),
)
_FOOL_MIM = "LinfMomentumIterativeFastGradientMethod"
OTHER: tuple[Pair, ...] = (
    Pair("MIM", f"foolbox {_FOOL_MIM}", _MIM, foolbox(_FOOL_MIM, EPS, **_FOOL)),
    Pair("PGD-L2", "torchattacks PGDL2", _L2, torchattacks("PGDL2", **_BOX_L2)),
    Pair("PGD-L2", "foolbox L2PGD", _L2, foolbox("L2PGD", LENGTH, **_FOOL_L2)),
)

_APGD, APGD_STEPS = apgd(EPS, steps=20, loss="ce"), 20
_BOX_APGD = {"eps": EPS, "steps": APGD_STEPS, "loss": "ce"}
_ART_APGD = {"eps": EPS, "eps_step": 2 * EPS, "max_iter": APGD_STEPS, "nb_random_init": 1}
SEARCHES: tuple[Pair, ...] = (
    Pair("APGD", "torchattacks APGD", _APGD, torchattacks("APGD", **_BOX_APGD), wide=False, targeted=False),
    Pair(
        "APGD", "ART AutoProjectedGradientDescent", _APGD, art("AutoProjectedGradientDescent", **_ART_APGD), wide=False
    ),
)


def boundary_pairs() -> tuple[Pair, ...]:
    """CW-L2 and DeepFool, which look for the smallest perturbation; none while medaegis lacks them."""
    found: list[Pair] = []
    if hasattr(attacks, "deepfool"):
        deepfool = attacks.deepfool(eps=None, steps=50, overshoot=0.02)
        boxes = {
            "torchattacks DeepFool": torchattacks("DeepFool", steps=50, overshoot=0.02),
            "foolbox L2DeepFoolAttack": foolbox("L2DeepFoolAttack", None, steps=50, overshoot=0.02),
            "ART DeepFool": art("DeepFool", max_iter=50, epsilon=0.02, batch_size=CASES),
        }
        found += [Pair("DeepFool", peer, deepfool, run, wide=False, targeted=False) for peer, run in boxes.items()]
    if hasattr(attacks, "cw_l2"):
        boxes = {
            "torchattacks CW": torchattacks("CW", c=5, steps=CW_STEPS, lr=0.01),
            "foolbox L2CarliniWagnerAttack": foolbox(
                "L2CarliniWagnerAttack", None, steps=CW_STEPS, binary_search_steps=6
            ),
            "ART CarliniL2Method": art(  # 12 times as slow as the others, so it gets fewer steps
                "CarliniL2Method", max_iter=CW_STEPS // 5, binary_search_steps=4, batch_size=CASES, initial_const=1e-2
            ),
        }
        cw = attacks.cw_l2(eps=None, steps=CW_STEPS)
        found += [Pair("CW-L2", peer, cw, run, wide=False) for peer, run in boxes.items()]
    return tuple(found)
