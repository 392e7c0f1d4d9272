"""Put a run's tables, drawings and words into one page, and its table into files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medaegis.report._beside import beside, whose
from medaegis.report._budgets import budget_group, budget_tables
from medaegis.report._crossed import crossings, difference_grid
from medaegis.report._curves import curve_findings, success_curves
from medaegis.report._cushions import cushion_grids
from medaegis.report._defence import defence_study
from medaegis.report._defence_words import defence_glossary
from medaegis.report._differs import differences_from_paper
from medaegis.report._direction import direction_study
from medaegis.report._export import Export, exports
from medaegis.report._frame import pages, style, write_whole
from medaegis.report._glossary import DETECTORS, glossary
from medaegis.report._headline import Finding, headline, other_attacks
from medaegis.report._layers import layer_panels
from medaegis.report._lesions import lesion_findings, lesion_glossary, lesion_grid
from medaegis.report._map import embedding_map
from medaegis.report._panels import histogram_groups, roc_groups
from medaegis.report._paper import counted_once, main_tables, paper_tables
from medaegis.report._pictures import show
from medaegis.report._read import RunFolder, read_run
from medaegis.report._seeds import seeds_grid
from medaegis.report._stress import stress_study
from medaegis.report._stress_cushions import stress_cushion_study
from medaegis.report._study import Study
from medaegis.report._tables import blocks, scopes, unique
from medaegis.report._unnoticed import white_box_grid


def render_report(run_dir: Path) -> Path:
    """Write report.html, one self-contained page, into a finished run folder, and its table as table.tex and table.md.

    Nothing is computed again: numbers come from table.csv, drawings from stored scores. Each file appears whole
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
    run = read_run(run_dir)
    study = study_of(run)
    files = exports(run, paper_tables(run, study))
    page = render_page(run, study, files)
    for file in files:
        if file.written:
            write_whole(run_dir / file.name, file.text)
    return write_whole(run_dir / "report.html", page)


def render_page(run: RunFolder, study: Study | None, files: tuple[Export, ...]) -> str:
    """Make the page's text from a run folder's contents; see `render_report`."""
    return pages().get_template("page.html.j2").render(_context(run, study), exports=files) + "\n"


def study_of(run: RunFolder) -> Study | None:
    """The study that a run is, if it is one: a stress test, a study of directions or a trial of defences."""
    table = run.table
    return (
        stress_cushion_study(table)
        or stress_study(table)
        or direction_study(table, run.channels)
        or defence_study(table, run.training)
    )


def findings_of(run: RunFolder, study: Study | None) -> tuple[Finding, ...]:
    """What a run found, in sentences, the verdict first."""
    if lesion_grid(run.table) is not None:
        return lesion_findings(run.table)
    if study is not None:
        return study.findings
    curved = not any(row.detector for row in run.table) and success_curves(run.table) is not None
    return curve_findings(run.table) if curved else headline(run.table)


def _context(run: RunFolder, study: Study | None) -> dict[str, Any]:
    table = run.table
    detectors = unique(row.detector for row in table if row.detector)
    lesions = lesion_grid(table)
    curves = None if detectors or study else success_curves(table)
    plain_page = study is None and lesions is None and curves is None
    return {
        "manifest": run.manifest,
        "findings": findings_of(run, study),
        "differs": differences_from_paper(run.manifest, table),
        "other_attacks": other_attacks(table) if plain_page else (),
        "main_tables": [counted_once(one) for one in main_tables(table)] if plain_page else (),
        "unfollowed": [name for name in detectors if name not in run.manifest.followed],
        "curves": curves,
        "lesions": lesions,
        "study": study,
        "gallery": None if run.gallery is None else show(run.gallery),
        "layers": layer_panels(run.layers),
        "map": None if run.embedding is None else embedding_map(run.embedding, run.gallery),
        "rows": table,
        "glossary": _words(run),
        "long_names": DETECTORS,
        "css": style(),
        **(_results(run) if plain_page else {}),
        "histograms": histogram_groups(run),
        "rocs": roc_groups(run),
    }


def _results(run: RunFolder) -> dict[str, Any]:
    """What only a page of attacks and detectors shows."""
    table = run.table
    cushions = cushion_grids(table)
    return {
        "blocks": blocks(table),
        "white_boxes": {scope: white_box_grid(table, scope) for scope in scopes(table)},
        "differences": {scope: difference_grid(run.differences, scope) for scope in scopes(table)},
        "seeds": {scope: seeds_grid(table, run.by_seed, scope) for scope in scopes(table)},
        "first_seed": next(iter(run.by_seed), None),
        "crossings": crossings(run.matrix),
        "cushions": cushions,
        "beside": beside(table),
        "whose": {scope: whose(table, scope) for scope in scopes(table)},
        "first_place": whose(table, scopes(table)[0]) if scopes(table) else "",
        "first_model": table[0].model if cushions else None,
        "by_budget": budget_group(table),
        "by_budget_tables": budget_tables(table),
    }


def _words(run: RunFolder) -> dict[str, str]:
    table = run.table
    attacks, metrics = unique(row.attack for row in table if row.attack), unique(row.metric for row in table)
    if defence_study(table, run.training) is not None:
        return defence_glossary(attacks, metrics)
    if lesion_grid(table) is not None:
        return lesion_glossary(metrics)
    return glossary(attacks, unique(row.detector for row in table if row.detector), metrics)
