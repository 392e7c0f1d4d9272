"""From the stored results of the stress test to table rows, per-case activations, checks and facts."""

from __future__ import annotations

import itertools
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from medaegis.attack import parse_fraction
from medaegis.experiment._content import Content, Row, percent
from medaegis.experiment._context import Context
from medaegis.experiment._several import clean_rows, set_title, several_facts
from medaegis.experiment._stages_cushion import cushion_of, shown_model
from medaegis.experiment._stress import Published, Stressed, StressPlan, stress_totals
from medaegis.experiment._weakness import MOST_ZERO, Check, adaptive_check, not_run
from medaegis.measure import Estimate, LayerStress, change_ratio, mean

WAYS = ("down", "up")
TO_NONE = "change ratio to no Cushion"
_CASES = pa.schema(
    [(name, pa.string()) for name in ("dataset", "model", "case", "group", "label", "layer", "way", "eps")]
    + [(name, pa.float64()) for name in ("before", "after")]
    + [("zero_gradient", pa.int64())]
)


def stress_content(plan: StressPlan, context: Context) -> Content:
    """Everything that goes into the run folder of the stress test."""
    rows, cases = clean_rows(plan.classifiers, context), []
    for name, runs in plan.alike:
        rows += clean_rows({name: runs[0].classifier}, context) if cushion_of(runs[0].classifier) != "none" else []
        for run in runs:
            rows += _rows(plan, name, run, context)
            cases += _cases(name, run, context)
    facts = several_facts(plan.classifiers, plan.settings.split, context)
    facts |= {"checks": [check.fact() for check in stress_checks(plan, context)], "differs": list(plan.differs)}
    facts["attack"] = {"BIM": f"{plan.settings.steps} steps, objective mean(f) or -mean(f) of one layer at a time"}
    if plan.settings.cushions != ("none",):
        facts["attack"]["Cushions"] = f"{', '.join(plan.settings.cushions)}; BIM follows their surrogate gradients"
    return Content(rows, cases, facts, columns=_CASES)


def _groups(run: Stressed, context: Context) -> list[str]:
    data = run.classifier.split.images.dataset(context)
    return [data.groups[i] for i in run.index(context)]


def _rows(plan: StressPlan, name: str, run: Stressed, context: Context) -> list[Row]:
    groups, title = _groups(run, context), set_title(name)
    where = {"dataset": title, "model": shown_model(run.classifier), "eps": run.eps, "hfc": "", "detector": ""}
    bare, cushion = _clean_without(plan, name, run, context), cushion_of(run.classifier)
    rows: list[Row] = []
    for one in run.layers(context):
        for way in WAYS:
            for metric, figure in _figures(one, way, groups, bare.get(one.layer)).items():
                told = plan.published.get(Published(title, run.eps, one.layer, way, metric, cushion))
                rows.append(Row(**where, attack=f"{way} {one.layer}", metric=metric, **percent(figure), published=told))
    return rows


def _clean_without(plan: StressPlan, name: str, run: Stressed, context: Context) -> dict[str, Tensor]:
    """Mean activations of clean images without a Cushion, by layer; none where the plan has no two to compare."""
    same = [other for other in plan.runs[name] if other.eps == run.eps]
    bare = [other for other in same if cushion_of(other.classifier) == "none"]
    if not bare or len(same) == 1:
        return {}
    return {one.layer: one.before for one in bare[0].layers(context)}


def _figures(one: LayerStress, way: str, groups: list[str], bare: Tensor | None) -> dict[str, Estimate]:
    """What HFC-21 Table 1 and Aegis Table 1 have, and the ratio of HFC-23 Fig. 4.

    "change ratio" is relative to clean images behind the same Cushion, as the network sees them; Aegis Table 1's own
    figures are relative to clean images without one.
    """
    before, after = one.before.double().numpy(), (one.down if way == "down" else one.up).double().numpy()
    gap = (one.lowered if way == "down" else one.raised).double().numpy()
    return {
        "change ratio": change_ratio(before, after, groups=groups),
        **({} if bare is None else {TO_NONE: change_ratio(bare.double().numpy(), after, groups=groups)}),
        "activation before": mean(before, groups=groups),
        "activation after": mean(after, groups=groups),
        "activation difference": mean(gap, groups=groups),
    }


def _cases(name: str, run: Stressed, context: Context) -> list[dict[str, Any]]:
    data, index = run.classifier.split.images.dataset(context), run.index(context)
    return [
        {"dataset": set_title(name), "model": shown_model(run.classifier)}
        | {"case": data.names[place], "group": data.groups[place]}
        | {"label": data.class_names[data.labels[place]], "layer": one.layer, "way": way, "eps": run.eps}
        | {"before": float(one.before[i]), "after": float(after[i]), "zero_gradient": int(zero[i])}
        for one in run.layers(context)
        for way, after, zero in (("down", one.down, one.zero_down), ("up", one.up, one.zero_up))
        for i, place in enumerate(index)
    ]


def stress_checks(plan: StressPlan, context: Context) -> list[Check]:
    """The signs of a too weak stress test."""
    outcomes = [run.layers(context) for runs in plan.runs.values() for run in runs]
    totals = [stress_totals(layers) for layers in outcomes]
    stuck, right = (torch.cat([pair[i] for pair in totals]) for i in (0, 1))
    rate = float(stuck.sum()) / (len(stuck) * plan.settings.steps)
    return [
        Check(
            "Gradients are alive",
            rate <= MOST_ZERO,
            f"{100 * rate:.2f} % of all steps had a gradient of exactly zero while the layer was not silent; "
            "at most 1 % is expected.",
        ),
        Check(
            "Activations go the way asked",
            bool(right.float().mean() >= 1 - MOST_ZERO),
            f"{int(right.sum())} of {len(right)} mean activations (layers, cases, down and up) ended no worse than "
            "they began; at most 1 % may miss.",
        ),
        _more_budget(plan, context),
        adaptive_check((), ()),
    ]


def _more_budget(plan: StressPlan, context: Context) -> Check:
    """A larger budget must change the mean activation of every layer at least as far."""
    name, falls, pairs = "More budget, more change", 0, 0
    for _name, runs in plan.alike:
        ordered = sorted(runs, key=lambda run: parse_fraction(run.eps, "recipe"))
        for small, large in itertools.pairwise(ordered):
            for near, far in zip(small.layers(context), large.layers(context), strict=True):
                falls += int(far.down.mean() > near.down.mean()) + int(far.up.mean() < near.up.mean())
                pairs += 2
    if not pairs:
        return not_run(name, "there is one budget only")
    text = f"In {pairs - falls} of {pairs} comparisons (data sets, layers, down and up) the larger budget gets further"
    return Check(name, falls == 0, f"{text}; all must.")
