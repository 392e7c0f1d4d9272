"""Signs of a too weak attack, looked for in every run of the hiding experiment."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import torch

from medaegis.attack import parse_fraction
from medaegis.experiment._attack_checks import TRANSFER
from medaegis.experiment._context import Context
from medaegis.experiment._named_attack import SINGLE, WHY_NOT, comparisons
from medaegis.experiment._stages_attack import HIDDEN, PLAIN, Attacked, Probe, by_its_own_network
from medaegis.experiment._weakness import (
    MOST_LOST,
    Check,
    Outcome,
    adaptive_check,
    alive,
    lower_objective,
    not_below,
    not_run,
)
from medaegis.experiment._white_box import followed_by

if TYPE_CHECKING:
    from medaegis.experiment._hiding import HidingPlan, Variant


def weakness_checks(plan: HidingPlan, context: Context) -> list[dict[str, Any]]:
    """Each check as name, passed and text, for manifest.json."""
    checks = [_zero_gradients(plan, context)]
    attacks = list(dict.fromkeys(v.attacked.choice.shown for v in plan.variants))
    several = len(attacks) > 1
    for attack in attacks:
        for hides in dict.fromkeys(v.attacked.hides for v in plan.variants if v.attacked.followed is None):
            variants = [v for v in plan.variants if (v.attacked.choice.shown, v.attacked.hides) == (attack, hides)]
            variants.sort(key=lambda v: _budget(v))
            of = f"{attack}, {_words(hides)}" if several else _words(hides)
            checks += [_grows(variants, context, of), _reaches_all(variants[-1], context, of)]
    for variant in plan.shown:
        checks += _comparisons(plan, variant.attacked, context)
    checks.append(_transfer(plan, context))
    checks.append(adaptive_check(list(plan.detectors), followed_detectors(plan)))
    return [check.fact() for check in checks]


def is_adaptive(plan: HidingPlan) -> bool:
    """Whether one of the attacks was made to deceive the detectors."""
    return any(variant.attacked.hides != PLAIN for variant in plan.variants)


def followed_detectors(plan: HidingPlan) -> tuple[str, ...]:
    """The detectors that at least one attack knew in full and followed."""
    known = [followed_by(variant.attacked.hides, plan.detectors) for variant in plan.variants]
    return tuple(label for label in plan.detectors if any(label in followed for followed in known))


def _budget(variant: Variant) -> Fraction:
    return parse_fraction(variant.attacked.choice.eps, "recipe")


def _zero_gradients(plan: HidingPlan, context: Context) -> Check:
    stored = [context.get(variant.attacked).tensors for variant in plan.variants]
    return alive(*(torch.cat([tensors[name] for tensors in stored]) for name in ("stuck", "steps")))


def _success(variant: Variant, context: Context) -> float:
    return by_its_own_network(context.get(variant.attacked).tensors).double().mean().item()


def _words(hides: str) -> str:
    return f"{hides} HFC" if hides in (PLAIN, HIDDEN) else hides


def _grows(variants: list[Variant], context: Context, of: str) -> Check:
    rates = [_success(v, context) for v in variants]
    steps = ", ".join(f"{v.attacked.choice.eps}: {100 * r:.1f} %" for v, r in zip(variants, rates, strict=True))
    passed = all(later >= earlier - MOST_LOST for earlier, later in itertools.pairwise(rates))
    where = "on the substitute, by budget" if variants[0].attacked.substitute else "by budget"
    return Check(f"More budget, more success ({of})", passed, f"Success {where}: {steps}.")


def _reaches_all(variant: Variant, context: Context, of: str) -> Check:
    rate, eps = _success(variant, context), variant.attacked.choice.eps
    name = f"Success is complete at the largest budget ({of})"
    whom = "fools the substitute in" if variant.attacked.substitute else "fools"
    text = (
        f"At {eps} the attack {whom} {100 * rate:.1f} % of cases; a lower figure than 100 % asks for a larger budget."
    )
    return Check(name, rate >= 1 - MOST_LOST, text)


def _comparisons(plan: HidingPlan, attacked: Attacked, context: Context) -> list[Check]:
    """One step, more steps and more restarts, at the shown budget, on the first cases."""
    named, of = attacked.choice.named, f"({_words(attacked.hides)})"
    if plan.settings.checks == 0:
        return [not_run(f"{name} {of}", "switched off with checks=0") for name in WHY_NOT]
    found: list[Check] = []
    for name, other in comparisons(named).items():
        title = f"{name} {of}"
        if other is None:
            found.append(not_run(title, WHY_NOT[name]))
            continue
        probe = Probe(attacked, other, plan.settings.checks)
        places, whole = torch.as_tensor(probe.places(context)), context.get(attacked).tensors
        theirs = context.get(probe).tensors
        own = {key: whole[key][places] for key in theirs}
        if attacked.hides != PLAIN and name == SINGLE:  # HFC gives up success for hiding, one step less so
            pair = ((words, kept["objective"]) for words, kept in ((named.words, own), (other.words, theirs)))
            found.append(lower_objective(title, *pair))
            continue
        mine = Outcome(named.words, by_its_own_network(own))
        found.append(not_below(title, mine, Outcome(other.words, by_its_own_network(theirs))))
    return found


def _transfer(plan: HidingPlan, context: Context) -> Check:
    """The attack on the attacked network's own gradients against the same made on the substitute."""
    if plan.substitute is None:
        return not_run(TRANSFER, "this recipe has no substitute network")
    probe = plan.in_the_open
    if probe is None:
        return not_run(TRANSFER, "switched off with checks=0")
    places = torch.as_tensor(probe.places(context))
    made = context.get(plan.shown[0].attacked).tensors["fooled"][places]
    words = probe.named.words
    white = Outcome(f"{words} on the network itself", context.get(probe).tensors["fooled"])
    return not_below(TRANSFER, white, Outcome("the same made on the substitute", made))
