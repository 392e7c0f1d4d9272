"""The attacks of the papers by name. Budgets and step sizes are in pixel units: write `1/256`."""

from __future__ import annotations

import math
from typing import Literal

from medaegis._errors import is_int, is_number, require
from medaegis.attack._attack import Attack
from medaegis.attack._constraints import Linf, check_eps
from medaegis.attack._noise import NoiseBall
from medaegis.attack._objectives import Nothing, Objective, cross_entropy
from medaegis.attack._steps import MomentumStep, SignStep

STEP_SIZE = 0.02 / 256
"""alpha of HFC-21 section 5.1."""


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
    check_eps(eps, "mim")
    count, size = _schedule("mim", eps, steps, step_size)
    return Attack("MIM", objective, Linf(eps), MomentumStep(size, decay, norm), count)


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
    count, size = _schedule(name.lower(), eps, steps, step_size)
    return Attack(name, objective, Linf(eps), SignStep(size), count, random_start=random_start)


def _schedule(owner: str, eps: float, steps: int | None, step_size: float | None) -> tuple[int, float]:
    whole = steps is None or (is_int(steps) and steps >= 1)
    require(whole, "steps", owner, "an int >= 1", steps)
    good = step_size is None or (is_number(step_size) and 0 < step_size < 1)
    require(good, "step_size", owner, "a number in (0, 1), as in 0.02/256", step_size)
    if steps is None:
        size = STEP_SIZE if step_size is None else step_size
        return max(1, math.ceil(2 * eps / size - 1e-9)), size
    return steps, 2 * eps / steps if step_size is None else step_size
