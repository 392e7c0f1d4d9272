"""The stress test's page where networks stand behind Cushions: Aegis Table 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from medaegis.report._cushions import has_cushions, stands_behind
from medaegis.report._headline import Finding
from medaegis.report._read import Row
from medaegis.report._stress import RATIO, activations_table, budgets, layers_of, ratios_table, stress_group
from medaegis.report._study import Study, StudyGroup, StudyTable
from medaegis.report._tables import number, unique

TO_NONE = "change ratio to no Cushion"
READ = (
    "Change of the mean activation, in percent of its mean on clean images behind the same Cushion, once an attack "
    "through it (BPDA) does nothing but lower or raise it; each layer has attacks of its own. Bands are 95 % intervals "
    "over cases. A layer behind a ReLU cannot be lowered by more than 100 %."
)
NOTE = (
    "A change ratio is the change of a layer\u2019s mean activation in percent of its clean mean behind the same "
    "Cushion; the paper\u2019s figures are in percent of the clean mean without a Cushion, in a table of their own."
)


def stress_cushion_study(table: Sequence[Row]) -> Study | None:
    """Draw the stress test by Cushion; None where the table compares none.

    Args:
        table: the rows of table.csv.

    Returns:
        A group of drawings and up to three tables a data set and budget.

    Example:
        >>> stress_cushion_study([]) is None
        True
    """
    parts = _parts(table)
    if not parts:
        return None
    groups: list[StudyGroup] = []
    found: list[Finding] = []
    for dataset, rows in parts.items():
        ratios = [r for r in rows if r.metric == RATIO]
        for eps in budgets(ratios):
            group = stress_group(ratios, eps, len(groups), READ)
            groups.append(replace(group, title=f"{dataset}, {group.title[0].lower()}{group.title[1:]}"))
            found.append(_finding(dataset, [r for r in ratios if r.eps == eps]))
    return Study("Change by block and Cushion", NOTE, tuple(found), tuple(groups), stress_cushion_tables(table))


def stress_cushion_tables(table: Sequence[Row]) -> tuple[StudyTable, ...]:
    """The change ratios to both clean means, and the activations behind them, by data set and budget.

    Example:
        >>> stress_cushion_tables([])
        ()
    """
    return tuple(
        replace(one, caption=f"{dataset}. {one.caption}")
        for dataset, rows in _parts(table).items()
        for eps in budgets([r for r in rows if r.metric == RATIO])
        for one in _tables(rows, eps)
    )


def _tables(rows: Sequence[Row], eps: str) -> list[StudyTable]:
    first = ratios_table(rows, eps)
    found = [replace(first, caption=f"{first.caption}, to clean images behind the same Cushion")]
    if any(r.metric == TO_NONE for r in rows):
        second = ratios_table(rows, eps, TO_NONE)
        found.append(replace(second, caption=f"{second.caption}, to clean images without a Cushion"))
    return [*found, activations_table(rows, eps)]


def _parts(table: Sequence[Row]) -> dict[str, list[Row]]:
    """Each data set's rows with the Cushion in the data set's place, so that Cushions are compared as sets are."""
    rows = [r for r in table if r.attack]
    if not (has_cushions(table) and any(r.metric == RATIO for r in rows)):
        return {}
    return {
        name: [replace(r, dataset=stands_behind(r.model)) for r in rows if r.dataset == name]
        for name in unique(r.dataset for r in rows)
    }


def _finding(dataset: str, rows: Sequence[Row]) -> Finding:
    last = layers_of(rows)[-1]
    title = f"Stress test of {dataset} with a budget of {rows[0].eps} ({rows[0].model.partition(' ')[0]})"
    ends = {way: [r for r in rows if r.attack == f"{way} {last}" and math.isfinite(r.value)] for way in ("up", "down")}
    if not ends["up"] or not ends["down"]:
        return Finding(title, "The mean activation of the last block is zero on clean images: it has no ratio.", ())
    lead = f"At the last block, the mean activation can be raised by {_listed(ends['up'], 1)}."
    return Finding(title, lead, (f"It can be lowered by {_listed(ends['down'], -1)}.",))


def _listed(rows: Sequence[Row], sign: int) -> str:
    parts: list[str] = []
    for row in rows:
        low, high = sorted((sign * row.ci_low, sign * row.ci_high))
        interval = f"[{number(low)}, {number(high)}]"
        parts.append(f"{number(sign * row.value)}\u00a0% {interval} ({row.dataset}, n\u00a0=\u00a0{row.n})")
    return ", ".join(parts)
