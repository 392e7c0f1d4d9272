"""Put a run's tables, drawings and words into one page."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any, cast

from markupsafe import Markup

from medaegis.report._beside import beside, whose
from medaegis.report._crossed import crossings, difference_grid
from medaegis.report._curves import curve_findings, success_curves
from medaegis.report._cushions import cushion_grids
from medaegis.report._defence import defence_study
from medaegis.report._defence_words import defence_glossary
from medaegis.report._direction import direction_study
from medaegis.report._glossary import DETECTORS, glossary
from medaegis.report._headline import Finding, headline, other_attacks
from medaegis.report._layers import layer_panels
from medaegis.report._lesions import lesion_findings, lesion_glossary, lesion_grid
from medaegis.report._panels import embedding_map, histogram_groups, roc_groups
from medaegis.report._pictures import show
from medaegis.report._read import RunFolder, read_run
from medaegis.report._seeds import seeds_grid
from medaegis.report._stress import stress_study
from medaegis.report._stress_cushions import stress_cushion_study
from medaegis.report._study import Study
from medaegis.report._tables import blocks, cell, scopes, unique
from medaegis.report._unnoticed import white_box_grid

TEMPLATES = "templates"
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def render_report(run_dir: Path) -> Path:
    """Write report.html, one self-contained page, into a finished run folder.

    Nothing is computed again: numbers come from table.csv, drawings from stored scores. The page appears whole
    or not at all, and the same folder gives the same bytes.

    Args:
        run_dir: the folder that a recipe filled.

    Returns:
        The path of the page.

    Raises:
        DataError: the folder or one of its files is missing or damaged.

    Example:
        >>> render_report(Path("runs/demo")).name  # doctest: +SKIP
        'report.html'
    """
    run_dir = Path(run_dir)
    page = render_page(read_run(run_dir))
    target, unfinished = run_dir / "report.html", run_dir / f".report.{os.getpid()}.html"
    try:
        unfinished.write_text(page, encoding="utf-8", newline="\n")
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)
    return target


def render_page(run: RunFolder) -> str:
    """Make the page's text from a run folder's contents; see `render_report`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("medaegis.report", TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    cast("dict[str, Any]", environment.filters).update(duration=duration, date=date, plain=plain, cell=cell)
    return environment.get_template("page.html.j2").render(_context(run)) + "\n"


def _context(run: RunFolder) -> dict[str, Any]:
    table = run.table
    attacks = unique(row.attack for row in table if row.attack)
    detectors = unique(row.detector for row in table if row.detector)
    metrics = unique(row.metric for row in table)
    defences, lesions = defence_study(table, run.training), lesion_grid(table)
    stressed = stress_cushion_study(table) or stress_study(table)
    study = stressed or direction_study(table, run.channels) or defences
    curves = None if detectors or study else success_curves(table)
    plain_page = study is None and lesions is None and curves is None
    words = glossary(attacks, detectors, metrics) if lesions is None else lesion_glossary(metrics)
    words = words if defences is None else defence_glossary(attacks, metrics)
    return {
        "manifest": run.manifest,
        "findings": lesion_findings(table) if lesions else _findings(run, study, curved=curves is not None),
        "other_attacks": other_attacks(table) if plain_page else (),
        "blocks": blocks(table) if plain_page else (),
        "white_boxes": {scope: white_box_grid(table, scope) for scope in scopes(table)},
        "differences": {scope: difference_grid(run.differences, scope) for scope in scopes(table)},
        "seeds": {scope: seeds_grid(table, run.by_seed, scope) for scope in scopes(table)},
        "first_seed": next(iter(run.by_seed), None),
        "crossings": crossings(run.matrix),
        "cushions": cushion_grids(table),
        "beside": beside(table) if plain_page else None,
        "whose": {scope: whose(table, scope) for scope in scopes(table)},
        "first_place": whose(table, scopes(table)[0]) if plain_page and scopes(table) else "",
        "unfollowed": [name for name in detectors if name not in run.manifest.followed],
        "curves": curves,
        "lesions": lesions,
        "study": study,
        "gallery": None if run.gallery is None else show(run.gallery),
        "histograms": histogram_groups(run),
        "rocs": roc_groups(run),
        "layers": layer_panels(run.layers),
        "map": None if run.embedding is None else embedding_map(run.embedding),
        "rows": table,
        "glossary": words,
        "long_names": DETECTORS,
        "css": Markup(resources.files("medaegis.report").joinpath(TEMPLATES, "report.css").read_text("utf-8")),
    }


def _findings(run: RunFolder, study: Study | None, *, curved: bool) -> tuple[Finding, ...]:
    if study is not None:
        return study.findings
    return curve_findings(run.table) if curved else headline(run.table)


def duration(seconds: float) -> str:
    """A time span in words.

    Example:
        >>> duration(3671), duration(0.42), duration(75)
        ('1 h 1 min', '0.4 s', '1 min 15 s')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def date(iso: str) -> str:
    """An ISO time as people write it; text that is none stays as it is.

    Example:
        >>> date("2026-03-01T14:05:09+00:00")
        '1 March 2026, 14:05 UTC'
    """
    try:
        when = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    zone = f" {when.tzname()}" if when.tzinfo else ""
    return f"{when.day} {MONTHS[when.month - 1]} {when.year}, {when:%H:%M}{zone}"


def plain(value: Any) -> str:
    """A setting as text: words and numbers as they are, lists and groups as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping | list):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
