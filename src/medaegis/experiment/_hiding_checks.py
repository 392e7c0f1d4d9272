"""Signs of a too weak attack, looked for in every run (PITFALLS: a weak attack makes a detector look good)."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from medaegis.experiment._context import Context

if TYPE_CHECKING:
    from medaegis.experiment._hiding import HidingPlan, Variant

MOST_ZERO = 0.01
MOST_LOST = 0.05


def weakness_checks(plan: HidingPlan, context: Context) -> list[dict[str, Any]]:
    """Each check as name, passed and text, for manifest.json."""
    checks = [_zero_gradients(plan, context)]
    for hidden in (False, True):
        variants = [v for v in plan.variants if bool(v.attacked.bank) is hidden]
        variants.sort(key=lambda v: Fraction(v.attacked.choice.eps))
        checks += [_grows(variants, context, hidden), _reaches_all(variants[-1], context, hidden)]
    return checks


def _zero_gradients(plan: HidingPlan, context: Context) -> dict[str, Any]:
    stuck, total = 0, 0
    for variant in plan.variants:
        tensors = context.get(variant.attacked).tensors
        stuck += int(tensors["stuck"].sum())
        total += int(tensors["steps"].sum())
    rate = stuck / max(1, total)
    text = (
        f"{stuck} of {total} steps ({100 * rate:.2f} %) had a gradient of exactly zero while the case was not fooled; "
        "at most 1 % is expected."
    )
    return {"name": "Gradients are alive", "passed": rate <= MOST_ZERO, "text": text}


def _success(variant: Variant, context: Context) -> float:
    return context.get(variant.attacked).tensors["fooled"].double().mean().item()


def _grows(variants: list[Variant], context: Context, hidden: bool) -> dict[str, Any]:
    rates = [_success(v, context) for v in variants]
    steps = ", ".join(f"{v.attacked.choice.eps}: {100 * r:.1f} %" for v, r in zip(variants, rates, strict=True))
    passed = all(later >= earlier - MOST_LOST for earlier, later in itertools.pairwise(rates))
    name = f"More budget, more success ({'with' if hidden else 'without'} HFC)"
    return {"name": name, "passed": passed, "text": f"Success by budget: {steps}."}


def _reaches_all(variant: Variant, context: Context, hidden: bool) -> dict[str, Any]:
    rate, eps = _success(variant, context), variant.attacked.choice.eps
    name = f"Success is complete at the largest budget ({'with' if hidden else 'without'} HFC)"
    text = f"At {eps} the attack fools {100 * rate:.1f} % of cases; a lower figure than 100 % asks for a larger budget."
    return {"name": name, "passed": rate >= 1 - MOST_LOST, "text": text}
