"""From stored value changes to correlations, similarities, channels, checks and facts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import torch
from torch import Tensor

from medaegis.experiment._content import Content, Row, percent
from medaegis.experiment._context import Context
from medaegis.experiment._direction import (
    AMONG_ATTACKS,
    AMONG_ITERATIONS,
    ATTACKS,
    SHOWN,
    DirectionPlan,
    Moved,
    Pair,
    iterations,
)
from medaegis.experiment._several import clean_rows, set_title, several_facts
from medaegis.experiment._weakness import Check, Outcome, adaptive_check, alive, not_below
from medaegis.measure import change_correlation, consistent_channels, head_direction, share, similarity

MOST_ERROR = 1e-3
_CASES = pa.schema(
    [(name, pa.string()) for name in ("dataset", "case", "group", "label", "metric", "pair")]
    + [("similarity", pa.float64())]
)


class Scenario(NamedTuple):
    """One data set and target: what is compared.

    Attributes:
        title: data set and classes, as tables have it.
        run: the stage.
        target: the wanted class.
        changes: by attack and iterate, (n, d).
        channels: those that count, or None for all.
        direction: (d,) w_i,target - w_i,other of two classes; None of more.
        places: (n,) positions in the data.
        groups: (n,) patients.
    """

    title: str
    run: Moved
    target: int
    changes: dict[str, Tensor]
    channels: Tensor | None
    direction: Tensor | None
    places: list[int]
    groups: list[str]


def direction_content(plan: DirectionPlan, context: Context) -> Content:
    """Everything that goes into the run folder of the analysis."""
    rows, cases, channels = clean_rows(plan.classifiers, context), [], []
    for scenario in scenarios(plan, context):
        where = {"model": scenario.run.classifier.model, "eps": plan.settings.eps, "hfc": "", "detector": ""}
        where |= {"dataset": scenario.title}
        rows += [*_success(scenario, where, context), *_correlations(scenario, where)]
        for metric, names in _families(plan).items():
            more, lines = _similarities(plan, scenario, metric, names, where, context)
            rows, cases = rows + more, cases + lines
        channels += _channels(scenario)
    facts = several_facts(plan.classifiers, plan.settings.split, context)
    facts |= {"checks": [check.fact() for check in direction_checks(plan, context)], "differs": list(plan.differs)}
    facts["warnings"] += _left_out(plan, context)
    facts["attack"] = {"iterated": f"{plan.settings.steps} steps", "FGSM": "1 step"}
    return Content(rows, cases, facts, columns=_CASES, more=partial(_write_channels, lines=channels))


def scenarios(plan: DirectionPlan, context: Context) -> Iterator[Scenario]:
    """Every data set and target, in the plan's order."""
    for name, run in plan.runs.items():
        tensors, info = context.get(run)
        data = run.classifier.split.images.dataset(context)
        for target in info["targets"]:
            two = len(data.class_names) == 2
            origin = data.class_names[1 - target] if two else "other classes"
            end = ".change"
            start = f"{target}."
            changes = {
                key.removeprefix(start).removesuffix(end): value
                for key, value in tensors.items()
                if key.startswith(start) and key.endswith(end)
            }
            changes = {key: changes[key] for key in _order(changes, plan.settings.steps)}
            places = tensors[f"{target}.index"].tolist()
            yield Scenario(
                f"{set_title(name)}, {origin} to {data.class_names[target]}",
                run,
                target,
                changes,
                None if two else consistent_channels(tensors["weight"], target),
                head_direction(tensors["weight"], target, 1 - target) if two else None,
                places,
                [data.groups[i] for i in places],
            )


def _left_out(plan: DirectionPlan, context: Context) -> list[str]:
    """A warning for each target that had too few images."""
    said: list[str] = []
    for name, run in plan.runs.items():
        classes = run.classifier.split.images.dataset(context).class_names
        for target in context.get(run).info["left_out"]:
            text = "fewer than two test images that could be attacked towards it are classified rightly"
            said.append(f"{set_title(name)}: the target {classes[target]} is left out, as {text}.")
    return said


def _order(changes: dict[str, Tensor], steps: int) -> list[str]:
    """The stored names as attacks first, then iterates; the store sorts by text."""
    wanted = [*SHOWN, *(f"BIM {t}" for t in iterations(steps)[:-1])]
    return [name for name in wanted if name in changes]


def _families(plan: DirectionPlan) -> dict[str, dict[str, str]]:
    """By metric, the names shown and the changes behind them."""
    steps = iterations(plan.settings.steps)
    iterates = {str(t): f"BIM {t}" for t in steps[:-1]} | {str(steps[-1]): "BIM"}
    return {AMONG_ATTACKS: {name: name for name in SHOWN}, AMONG_ITERATIONS: iterates}


def _success(scenario: Scenario, where: dict[str, Any], context: Context) -> list[Row]:
    tensors = context.get(scenario.run).tensors
    figures = {
        name: share(tensors[f"{scenario.target}.{name}.fooled"].numpy(), groups=scenario.groups) for name in SHOWN
    }
    return [
        Row(**where, attack=name, metric="Adv. Acc", **percent(figure), published=None)
        for name, figure in figures.items()
    ]


def _correlations(scenario: Scenario, where: dict[str, Any]) -> list[Row]:
    if scenario.direction is None:
        return []
    rows: list[Row] = []
    for name in SHOWN:
        found = change_correlation(scenario.changes[name], scenario.direction, groups=scenario.groups)
        for metric, figure in (("Pearson correlation", found.pearson), ("Spearman correlation", found.spearman)):
            rows.append(Row(**where, attack=name, metric=metric, **percent(figure), published=None))
    return rows


def _similarities(
    plan: DirectionPlan,
    scenario: Scenario,
    metric: str,
    names: dict[str, str],
    where: dict[str, Any],
    context: Context,
) -> tuple[list[Row], list[dict[str, Any]]]:
    found = similarity(
        {shown: scenario.changes[key] for shown, key in names.items()},
        channels=scenario.channels,
        groups=scenario.groups,
    )
    data = scenario.run.classifier.split.images.dataset(context)
    rows: list[Row] = []
    lines: list[dict[str, Any]] = []
    for i, one in enumerate(found.names):
        for j, other in list(enumerate(found.names))[i + 1 :]:
            pair = f"{one}, {other}"
            told = plan.published.get(Pair(scenario.title, metric, pair))
            row = Row(**where, attack=pair, metric=metric, **percent(found.values[i][j]), published=None)
            rows.append(row._replace(published=None if told is None else 100 * told))
            lines += [
                {"dataset": scenario.title, "case": data.names[place], "group": data.groups[place]}
                | {"label": data.class_names[data.labels[place]], "metric": metric, "pair": pair}
                | {"similarity": float(found.cases[case, i, j])}
                for case, place in enumerate(scenario.places)
            ]
    return rows, lines


def _channels(scenario: Scenario) -> list[dict[str, Any]]:
    """What Fig. 2 is drawn from: of each channel, the weight difference and the mean change under BIM."""
    if scenario.direction is None:
        return []
    average = scenario.changes["BIM"].double().mean(dim=0)
    pairs = zip(scenario.direction.tolist(), average.tolist(), strict=True)
    return [{"group": scenario.title, "channel": i, "x": x, "y": y} for i, (x, y) in enumerate(pairs)]


def _write_channels(out: Path, *, lines: list[dict[str, Any]]) -> None:
    """channels.parquet, whole or not at all; an older one goes where there is none to write."""
    target, unfinished = out / "channels.parquet", out / ".channels.parquet.partial"
    if not lines:
        target.unlink(missing_ok=True)
        return
    pyarrow.parquet.write_table(pa.Table.from_pylist(lines), unfinished)
    os.replace(unfinished, target)


def direction_checks(plan: DirectionPlan, context: Context) -> list[Check]:
    """The signs of too weak attacks, and whether the closed form describes these networks."""
    found = list(scenarios(plan, context))
    columns: dict[str, list[Tensor]] = {key: [] for key in ("stuck", "steps")}
    fooled: dict[str, list[Tensor]] = {name: [] for name in ("FGSM", "BIM")}
    for scenario in found:
        tensors = context.get(scenario.run).tensors
        for key, parts in columns.items():
            parts += [tensors[f"{scenario.target}.{name}.{key}"] for name in ATTACKS]
        for name, parts in fooled.items():
            parts.append(tensors[f"{scenario.target}.{name}.fooled"])
    errors = [error for run in plan.runs.values() for error in context.get(run).info["closed_form_error"]]
    worst = float(np.max(errors))
    return [
        alive(*(torch.cat(parts) for parts in columns.values())),
        not_below(
            "BIM is not below a single step", *(Outcome(name, torch.cat(fooled[name])) for name in ("BIM", "FGSM"))
        ),
        Check(
            "Equation 12 is these networks' gradient",
            worst <= MOST_ERROR,
            f"The closed form differs from autograd at the penultimate features by at most {worst:.1e} of the largest "
            f"gradient; at most {MOST_ERROR:g} is expected.",
        ),
        adaptive_check((), ()),
    ]
