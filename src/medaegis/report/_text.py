"""The main figures of a run as plain text, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from medaegis.report._beside import beside, whose
from medaegis.report._curves import grid_text, success_curves
from medaegis.report._cushions import cushion_grids
from medaegis.report._defence_findings import defence_findings
from medaegis.report._defence_tables import terminal_tables
from medaegis.report._direction import direction_tables
from medaegis.report._lesions import lesion_text
from medaegis.report._read import Manifest, Row, read_run
from medaegis.report._stress import stress_tables
from medaegis.report._stress_cushions import stress_cushion_tables
from medaegis.report._study import grid_lines, grids_text, tables_text
from medaegis.report._tables import (
    SUCCESS,
    TRANSFER,
    Scope,
    comparison,
    detectors_of,
    figure,
    lookup,
    scopes,
    success_metrics,
    variants_of,
)
from medaegis.report._unnoticed import follows, ways_of

SHOWN = ("AUC", "TPR@90", "undetected")


def text_table(run_dir: Path) -> str:
    """The classifier's and detectors' figures of a finished run, one block a budget.

    Args:
        run_dir: the folder that a recipe filled.

    Raises:
        DataError: the folder or one of its files is missing or damaged.

    Example:
        >>> print(text_table(Path("runs/demo")))  # doctest: +SKIP
    """
    run = read_run(run_dir)
    table = run.table
    tried = terminal_tables(table)
    if tried:
        leads = [f"{finding.title}: {finding.lead}".replace("\u00a0", " ") for finding in defence_findings(table)]
        note = "Percent, with 95 % bootstrap intervals; (paper: \u2026) is the published figure. More in report.html."
        return "\n".join([*leads, *grids_text(tried), "", *_checks(run.manifest), note])
    studied = stress_cushion_tables(table) or stress_tables(table) or direction_tables(table)
    if studied:
        note = "95 % bootstrap intervals in brackets; what the figures are stands above each table."
        return "\n".join([*tables_text(table, studied), "", *_checks(run.manifest), note])
    lines = _clean(table)
    note = "Percent, with 95 % bootstrap intervals; (paper: …) is the published figure."
    told = lesion_text(table)
    if told:
        return "\n".join([*lines, "", *told, "", *(f"warning: {text}" for text in run.manifest.warnings), note])
    curves = None if any(row.detector for row in table) else success_curves(table)
    if curves is not None:
        lines += ["", *grid_text(curves)]
    else:
        for caption, grid in cushion_grids(table).items():
            lines += ["", caption, *grid_lines(grid)]
        together = beside(table)
        lines += [] if together is None else ["", *grid_lines(together)]
        lines += [line for scope in scopes(table) for line in ("", *_block(table, scope))]
    return "\n".join([*lines, "", *_checks(run.manifest), note])


def _clean(table: Sequence[Row]) -> list[str]:
    """Each classifier's clean figures."""
    lines: list[str] = []
    for dataset, model in dict.fromkeys((row.dataset, row.model) for row in table):
        own = [row for row in table if (row.dataset, row.model) == (dataset, model)]
        clean = [f"{row.metric} {figure(row)}" for row in own if row.metric.startswith("clean")]
        lines.append(f"{dataset}, {model}: " + ", ".join(clean))
    return lines


def _checks(manifest: Manifest) -> list[str]:
    """Warnings, and the checks of the attack's strength that did not pass."""
    run = [check for check in manifest.checks if check.passed is not None]
    failed = [f"  {check.name}. {check.text}" for check in run if not check.passed]
    head = f"{len(run) - len(failed)} of {len(run)} checks of the attack's strength passed"
    words = f"{head}; not:" if failed else f"{head}." if run else "No check of the attack's strength was run."
    return [*(f"warning: {text}" for text in manifest.warnings), words, *failed]


def _block(table: Sequence[Row], scope: Scope) -> list[str]:
    variants = variants_of(table, scope)
    names = [f"{variant} HFC" if variant else "" for variant in variants]
    labels = [f"{detector} {metric}" for detector in detectors_of(table, scope) for metric in SHOWN]
    width = max(20, *(len(label) + 1 for label in labels), 0)
    head = f"{scope.attack} {scope.eps} {whose(table, scope)}".ljust(width + 1)
    lines = [head + " " + "".join(name.ljust(40) for name in names)]
    for metric in success_metrics(table, scope) or (SUCCESS,):
        found = [lookup(table, scope, metric, variant=variant) for variant in variants]
        lines.append(
            "  "
            + metric.ljust(width if metric not in TRANSFER else max(28, width))
            + "".join(" " + figure(row).ljust(39) for row in found)
        )
    for detector in detectors_of(table, scope):
        for metric in SHOWN:
            rows = [lookup(table, scope, metric, detector, variant) for variant in variants]
            lines.append("  " + f"{detector} {metric}".ljust(width) + "".join(figure(row).ljust(40) for row in rows))
    return [line.rstrip() for line in (*lines, *_ways(table, scope), *_white_box(table, scope))]


def _ways(table: Sequence[Row], scope: Scope) -> list[str]:
    """All ways of hiding, where there are more than without and with HFC; intervals are the report's."""
    grid = comparison(table, scope, ("AUC",))
    if grid is None:
        return []
    lines = (replace(line, cells=tuple(replace(c, interval="") for c in line.cells)) for line in grid.lines)
    return [
        "",
        *(f"  {line}" for line in grid_lines(replace(grid, corner=f"{grid.corner}, no intervals", lines=tuple(lines)))),
    ]


def _white_box(table: Sequence[Row], scope: Scope) -> list[str]:
    """How far a white-box attack on each detector gets."""
    return [
        f"  {way} (an attacker who knows {name} in full): undetected {figure(row)}"
        for way in ways_of(table, scope)
        for name in detectors_of(table, scope)
        if follows(way, name) and (row := lookup(table, scope, "undetected", name, way))
    ]
