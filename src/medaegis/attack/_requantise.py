"""What an attack is worth once its images went through storage of 8, 12 or 16 bits."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from medaegis._errors import is_int, require
from medaegis._types import Images, Labels
from medaegis.attack._checks import check_cases, check_classes
from medaegis.attack._objectives import Goal
from medaegis.attack._run import AttackResult
from medaegis.models import frozen, seeded

Bits = Literal[8, 12, 16]
DEPTHS: tuple[Bits, ...] = (8, 12, 16)


def requantise(
    result: AttackResult, model: nn.Module, y: Labels, *, bits: Bits, target: Labels | None = None, batch_size: int = 32
) -> AttackResult:
    """Store adversarial images at `bits` bits a value, and judge what comes back by the untouched network.

    Rounding moves a pixel by up to half a level, also away from the clean image: the result is in [0, 1], and it need
    not be in the attack's ball any more.

    Args:
        result: what `run_attack` made.
        model: the attacked network; left as it came, as by `run_attack`.
        y: true classes (n,).
        bits: 8 (a PNG or JPEG before compression), 12 or 16 (DICOM, 16-bit PNG).
        target: wanted classes (n,) of the attack, or None if it was untargeted.
        batch_size: cases that go through the network together.

    Returns:
        The result with `x` at the levels k / (2^bits - 1), and `logits`, `prediction` and `fooled` judged on it.
        `objective` is NaN, because the attack's objective is not known here; the counts of steps stay.

    Raises:
        InputError: `bits` is not 8, 12 or 16, or an argument has the wrong shape, type or range.

    Source: SPEC section 11.

    Example:
        >>> from medaegis.attack import bim, run_attack
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> x, y = torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 0])
        >>> stored = requantise(run_attack(bim(eps=1 / 256, steps=2), net, x, y), net, y, bits=8)
        >>> bool(((stored.x * 255 - (stored.x * 255).round()).abs() < 1e-4).all())
        True
    """
    rule, fix = f"one of {DEPTHS}", "They are the depths of PNG and DICOM files."
    require(is_int(bits) and bits in DEPTHS, "bits", "requantise", rule, bits, fix)
    check_cases(result.x, y, target, batch_size, owner="requantise")
    device = next((parameter.device for parameter in model.parameters()), result.x.device)
    x = rounded(result.x, bits)
    with frozen(model), seeded(0, device), torch.no_grad():
        check_classes(model, x[:1].to(device), y, target)
        parts = [model(batch.to(device).clone()) for batch in x.split(batch_size)]
    logits = torch.cat(parts).to(x.device)
    goal = Goal(y.long().to(x.device), None if target is None else target.long().to(x.device))
    unknown = torch.full_like(result.objective, torch.nan)
    return result._replace(
        x=x, fooled=goal.fooled(logits), prediction=logits.argmax(dim=1), logits=logits, objective=unknown
    )


def rounded(x: Images, bits: int) -> Images:
    """Images at the nearest of the levels k / (2^bits - 1), half-way values at the even k, as `numpy.rint` does.

    Example:
        >>> (rounded(torch.tensor([0.0, 0.49 / 255, 0.51 / 255, 1.0]), 8) * 255).tolist()
        [0.0, 0.0, 1.0, 255.0]
    """
    levels = 2**bits - 1
    return ((x.double() * levels).round() / levels).to(x.dtype)
