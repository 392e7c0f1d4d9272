"""From the stored results of the curves to table rows, per-case outcomes, checks and facts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medaegis.experiment._content import Content, Row, percent
from medaegis.experiment._context import Context
from medaegis.experiment._curves import EVERY, MINIMAL, TRANSFER, CurvePlan, CurvePoint
from medaegis.experiment._facts import data_facts, estimates, model_facts, notes_of, split_facts
from medaegis.experiment._stages_model import AdversarialCases
from medaegis.experiment._weakness import Check, Outcome, adaptive_check, alive, not_below, not_run, reaches_all
from medaegis.measure import share

CONTROLS = ("noise", TRANSFER)
ONE_STEP = "one step along a straight line need not arrive, and goes too far with a large budget"
ITERATED = tuple(name for name in EVERY if name not in (*CONTROLS, *MINIMAL, "fgsm", "pgd_l2"))


def curve_content(plan: CurvePlan, context: Context) -> Content:
    """Everything that goes into the run folder of the curves."""
    return Content(_rows(plan, context), _cases(plan, context), _facts(plan, context))


def title(plan: CurvePlan, name: str) -> str:
    """What tables call an attack.

    Example:
        >>> from medaegis.experiment._curves import CurveSettings, curve_plan
        >>> small = CurveSettings(source="phantom-chest", model="small-resnet", weights=None, size=32, attacks="fgsm")
        >>> title(curve_plan(small, dataset="phantoms"), "fgsm")
        'FGSM'
    """
    return ("TF " if name == TRANSFER else "") + plan.points[name][0].named.build().name


def test_groups(cases: AdversarialCases, context: Context) -> list[str]:
    """The patient of each case of AdvTest."""
    data = cases.classifier.split.images.dataset(context)
    return [data.groups[i] for i in cases.split(context).test]


def _rows(plan: CurvePlan, context: Context) -> list[Row]:
    where = {"dataset": plan.dataset, "model": plan.settings.model, "hfc": "", "detector": "", "published": None}
    clean = where | {"attack": "", "eps": ""}
    figures = estimates(context.get(plan.cases.classifier).info["test"])
    rows = [Row(metric=name, **clean, **percent(figure)) for name, figure in figures.items()]
    groups = test_groups(plan.cases, context)
    for name in plan.settings.attacks:
        for eps in plan.settings.eps:
            figure = share(plan.fooled(name, eps, context).numpy(), groups=groups)
            rows.append(Row(attack=title(plan, name), eps=eps, metric="Adv. Acc", **where, **percent(figure)))
    return rows


def _cases(plan: CurvePlan, context: Context) -> list[dict[str, Any]]:
    return [
        line
        for name, points in plan.points.items()
        for point in points
        for line in point_lines(point, title(plan, name), context)
    ]


def point_lines(point: CurvePoint, attack: str, context: Context) -> list[dict[str, Any]]:
    """One line for each case of AdvTest under one attack at one budget."""
    data = point.cases.classifier.split.images.dataset(context)
    found = context.get(point).tensors
    shared = {"attack": attack, "eps": point.named.eps or "", "hfc": ""}
    shared |= {"kind": "adversarial", "detector": "", "score": float("nan"), "threshold": float("nan")}
    return [
        {"case": data.names[place], "group": data.groups[place], "label": data.class_names[data.labels[place]]}
        | {"prediction": data.class_names[int(found["prediction"][i])], "fooled": bool(found["fooled"][i])}
        | {size: float(found[size][i]) for size in ("objective", "linf", "rms")}
        | {count: int(found[count][i]) for count in ("steps", "zero_gradient", "stuck")}
        | shared
        for i, place in enumerate(point.cases.split(context).test)
    ]


def _facts(plan: CurvePlan, context: Context) -> dict[str, Any]:
    classifier = plan.cases.classifier
    images = classifier.split.images
    data = images.dataset(context)
    return {
        "data": data_facts(images, data, split_facts(plan.cases, plan.settings.split, context)),
        "model": model_facts(classifier, context),
        "adaptive": None,
        "scores": False,
        "checks": [check.fact() for check in curve_checks(plan, context)],
        "warnings": notes_of(data),
        "differs": list(plan.differs),
        "attack": {name: f"{points[0].named.steps} steps" for name, points in plan.points.items()}
        | _substitute(plan, context),
        "history": context.get(classifier).info["history"],
    }


def _substitute(plan: CurvePlan, context: Context) -> dict[str, str]:
    if plan.substitute is None:
        return {}
    accuracy = context.get(plan.substitute).info["test"]["clean accuracy"]
    return {"substitute": f"{plan.substitute.model}, clean accuracy {accuracy[0]:.1f} %"}


def curve_checks(plan: CurvePlan, context: Context) -> list[Check]:
    """The signs of a too weak attack that curves can show."""
    names = [name for name in plan.settings.attacks if name not in CONTROLS]
    stored = [context.get(point).tensors for name in names for point in plan.points[name]]
    checks = [alive(*(torch.cat([tensors[key] for tensors in stored]) for key in ("stuck", "steps")))] if stored else []
    for name in names:
        if name == "fgsm":
            checks.append(not_run("FGSM reaches 100 % as the budget grows", ONE_STEP))
            continue
        outcomes = [(eps, Outcome(title(plan, name), plan.fooled(name, eps, context))) for eps in plan.settings.eps]
        checks.append(reaches_all(f"{title(plan, name)} reaches 100 % as the budget grows", outcomes))
    own = [name for name in ITERATED if name in plan.points]
    checks += [_against(plan, name, "fgsm", "is not below a single step", context) for name in own]
    checks += [_against(plan, name, TRANSFER, "is not below transfer", context) for name in (*own, "fgsm")]
    checks.append(adaptive_check((), ()))
    return checks


def _against(plan: CurvePlan, name: str, other: str, words: str, context: Context) -> Check:
    """At the budget where the comparison is worst for the attack."""
    if name not in plan.points or other not in plan.points:
        return not_run(f"{name} {words}", f"{other} or {name} is not among the attacks")
    found: list[tuple[int, Check]] = []
    for eps in plan.settings.eps:
        ours, theirs = plan.fooled(name, eps, context), plan.fooled(other, eps, context)
        pair = (Outcome(f"{title(plan, name)} {eps}", ours), Outcome(f"{title(plan, other)} {eps}", theirs))
        found.append((_lead(ours, theirs), not_below(f"{title(plan, name)} {words}", *pair)))
    worst = min(found, key=lambda entry: entry[0])[1]
    return worst._replace(text=f"At the least favourable budget: {worst.text}")


def _lead(ours: Tensor, theirs: Tensor) -> int:
    return int(ours.sum() - theirs.sum())
