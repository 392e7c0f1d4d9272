"""The attacks of the papers by name. Budgets and step sizes are in pixel units: write `1/256`."""

from __future__ import annotations

import math
from typing import Literal

from medaegis.attack._attack import Attack
from medaegis.attack._constraints import Linf, check_eps
from medaegis.attack._diverse import DiverseInput
from medaegis.attack._l2 import L2, L2Norm
from medaegis.attack._margins import Margin
from medaegis.attack._noise import NoiseBall
from medaegis.attack._objectives import Nothing, Objective, cross_entropy
from medaegis.attack._schedule import schedule
from medaegis.attack._steps import L2Step, SignStep
from medaegis.attack._translation import TranslationSmoothing


def fgsm(eps: float, *, objective: Objective = cross_entropy) -> Attack:
    """Fast gradient sign method: one step of size `eps` (Goodfellow et al. 2015).

    Args:
        eps: Linf budget in pixel units, [0, 1).
        objective: what is made small.

    Raises:
        InputError: `eps` is out of range.

    Example:
        >>> fgsm(eps=1 / 256).steps
        1
    """
    check_eps(eps, "fgsm")
    return Attack("FGSM", objective, Linf(eps), SignStep(eps), 1)


def bim(
    eps: float, *, steps: int | None = None, step_size: float | None = None, objective: Objective = cross_entropy
) -> Attack:
    """Basic iterative method: sign steps from the clean image (Kurakin et al. 2017; HFC-21 eq. 2).

    Args:
        eps: Linf budget in pixel units, [0, 1).
        steps: number of steps T >= 1; None takes 2 eps / step_size.
        step_size: alpha in pixel units; None takes 2 eps / steps, or, without `steps`, the papers' 0.02/256.
        objective: what is made small.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> bim(eps=2 / 256, steps=40).step.size * 256
        0.1
    """
    return _sign_attack("BIM", eps, steps, step_size, objective, random_start=False)


def pgd(
    eps: float, *, steps: int | None = None, step_size: float | None = None, objective: Objective = cross_entropy
) -> Attack:
    """Projected gradient descent: BIM from a random start U(-eps, eps) (Madry et al. 2018; HFC-21 section 2).

    Args:
        eps: Linf budget in pixel units, [0, 1).
        steps: number of steps T >= 1; None takes 2 eps / step_size.
        step_size: alpha in pixel units; None takes 2 eps / steps, or, without `steps`, the papers' 0.02/256.
        objective: what is made small.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> pgd(eps=1 / 256).random_start
        True
    """
    return _sign_attack("PGD", eps, steps, step_size, objective, random_start=True)


def mim(
    eps: float,
    *,
    steps: int | None = None,
    step_size: float | None = None,
    decay: float = 1.0,
    norm: Literal["l1", "l2"] = "l1",
    objective: Objective = cross_entropy,
) -> Attack:
    """Momentum iterative method: BIM along a running sum of normalised gradients (Dong et al. 2018).

    Args:
        eps: Linf budget in pixel units, [0, 1).
        steps: number of steps T >= 1; None takes 2 eps / step_size.
        step_size: alpha in pixel units; None takes 2 eps / steps, or, without `steps`, the papers' 0.02/256.
        decay: mu; 1.0 in the paper, 0.5 in the code released with HFC-21.
        norm: of the gradient; `"l1"` in the paper, `"l2"` in the released code.
        objective: what is made small.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> mim(eps=1 / 256, steps=10).step.decay
        1.0
    """
    return _sign_attack("MIM", eps, steps, step_size, objective, random_start=False).with_momentum(decay, norm=norm)


def tim(
    eps: float,
    *,
    steps: int | None = None,
    step_size: float | None = None,
    kernel: int = 7,
    decay: float = 0.0,
    objective: Objective = cross_entropy,
) -> Attack:
    """Translation-invariant method: BIM on gradients smoothed with a Gaussian kernel (Dong et al. 2019).

    Args:
        eps: Linf budget in pixel units, [0, 1).
        steps: number of steps T >= 1; None takes 2 eps / step_size.
        step_size: alpha in pixel units; None takes 2 eps / steps, or, without `steps`, the papers' 0.02/256.
        kernel: odd side of the kernel, which spans 3 standard deviations on each side.
        decay: momentum, 0 for none; the paper combines it with MIM as TI-MI-FGSM.
        objective: what is made small.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> tim(eps=1 / 256, steps=10).transform.size
        7
    """
    attack = _sign_attack("TIM", eps, steps, step_size, objective, random_start=False)
    return _moving(attack.through(TranslationSmoothing(kernel)), decay)


def dim(
    eps: float,
    *,
    steps: int | None = None,
    step_size: float | None = None,
    smallest: float = 0.9,
    probability: float = 0.5,
    decay: float = 0.0,
    objective: Objective = cross_entropy,
) -> Attack:
    """Diverse input method: BIM whose every pass sees the image at a random size and place (Xie et al. 2019).

    Args:
        eps: Linf budget in pixel units, [0, 1).
        steps: number of steps T >= 1; None takes 2 eps / step_size.
        step_size: alpha in pixel units; None takes 2 eps / steps, or, without `steps`, the papers' 0.02/256.
        smallest: smallest share of each side, (0, 1].
        probability: of changing an image, [0, 1].
        decay: momentum, 0 for none; the paper combines it with MIM as M-DI-FGSM.
        objective: what is made small.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> dim(eps=1 / 256, steps=10).transform.probability
        0.5
    """
    attack = _sign_attack("DIM", eps, steps, step_size, objective, random_start=False)
    return _moving(attack.through(DiverseInput(smallest, probability)), decay)


def cw_linf(eps: float, *, steps: int | None = None, step_size: float | None = None, kappa: float = math.inf) -> Attack:
    """PGD on the margin of the logits, which the papers call CW-Linf (HFC-21 eq. 3); not Carlini's tau descent.

    Args:
        eps: Linf budget in pixel units, [0, 1).
        steps: number of steps T >= 1; None takes 2 eps / step_size.
        step_size: alpha in pixel units; None takes 2 eps / steps, or, without `steps`, the papers' 0.02/256.
        kappa: confidence at which a case is content; infinity for none. HFC-23: `logit_gap(model, x)` of the data;
            the released code: 100.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> cw_linf(eps=1 / 256, kappa=3.0).objective
        Margin(kappa=3.0)
    """
    return _sign_attack("CW-Linf", eps, steps, step_size, Margin(kappa), random_start=True)


def pgd_l2(
    eps: float,
    *,
    steps: int | None = None,
    step_size: float | None = None,
    norm: L2Norm = "rms",
    objective: Objective = cross_entropy,
) -> Attack:
    """Projected gradient descent in an L2 ball, from a random start in it (Madry et al. 2018).

    Args:
        eps: budget; with `"rms"` a root mean square in pixel units, `8/256` in Aegis; with `"l2"` the plain norm.
        steps: number of steps T >= 1; None takes 2 eps / step_size, or 100 with `"l2"` and no `step_size`.
        step_size: length of a step in the same norm; None takes 2 eps / steps, or, without `steps`, 0.02/256.
        norm: how lengths are measured; SPEC section 3 explains why a plain norm of 8/256 is nothing.
        objective: what is made small.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> pgd_l2(eps=8 / 256, steps=40).constraint
        L2(eps=0.03125, norm='rms')
    """
    ball = L2(eps, norm)
    if norm == "l2" and steps is None and step_size is None:
        steps = 100
    count, size = schedule("pgd_l2", eps, steps, step_size, largest=1.0 if norm == "rms" else math.inf)
    return Attack("PGD-L2", objective, ball, L2Step(size, norm), count, random_start=True)


def noise(eps: float, *, kind: Literal["uniform", "gaussian", "sign"] = "uniform") -> Attack:
    """Random noise inside the budget, the control that follows no gradient.

    Args:
        eps: Linf budget in pixel units, [0, 1).
        kind: `"uniform"` U(-eps, eps); `"gaussian"` N(0, (eps/2)^2) cut at eps; `"sign"` every pixel at +eps or -eps,
            the strongest noise of the budget and the one that matches an attack's norm.

    Raises:
        InputError: `eps` is out of range or `kind` unknown.

    Example:
        >>> noise(eps=1 / 256).steps
        0
    """
    check_eps(eps, "noise")
    return Attack("Noise", Nothing(), NoiseBall(eps, kind), SignStep(0.0), 0, random_start=True)


def _sign_attack(
    name: str, eps: float, steps: int | None, step_size: float | None, objective: Objective, *, random_start: bool
) -> Attack:
    check_eps(eps, name.lower())
    count, size = schedule(name.lower(), eps, steps, step_size)
    return Attack(name, objective, Linf(eps), SignStep(size), count, random_start=random_start)


def _moving(attack: Attack, decay: float) -> Attack:
    return attack if decay == 0 else attack.with_momentum(decay)
