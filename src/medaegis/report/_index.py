"""One page over a folder of runs: what each asked and found, on what, at which scale, and whether its checks passed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from medaegis._errors import DataError
from medaegis.report._differs import FAMILIES
from medaegis.report._frame import pages, style, write_whole
from medaegis.report._headline import Finding
from medaegis.report._page import findings_of, render_report, study_of
from medaegis.report._read import Manifest, read_run
from medaegis.report._tables import unique

NO_PAPER = "Beyond the papers"
PAPERS = {
    "HFC-21": "HFC-21: A Hierarchical Feature Constraint to Camouflage Medical Adversarial Attacks (MICCAI 2021)",
    "HFC-23": "HFC-23: the journal version of HFC-21",
    "Aegis": "Aegis: Medical Aegis, the defence",
    NO_PAPER: NO_PAPER,
}
ROMAN = {"I": 1, "II": 2, "III": 3, "IV": 4, "V": 5, "VI": 6}


@dataclass(frozen=True)
class Listed:
    """One run of the index.

    Args:
        folder: its name below the index.
        address: of its report, as a relative link.
        manifest: of the run.
        finding: the one that leads its page, or None where it found nothing to say.
        more: how many further findings there are.
        datasets: as its table names them.
        passed: checks of the attack's strength that passed.
        failed: those that did not, in words.
        not_run: checks that were not run.
        parts: titles and addresses of the pages of a joined run's parts.
    """

    folder: str
    address: str
    manifest: Manifest
    finding: Finding | None
    more: int
    datasets: tuple[str, ...]
    passed: int
    failed: tuple[str, ...]
    not_run: int
    parts: tuple[tuple[str, str], ...] = ()

    @property
    def scale(self) -> str:
        """The version of the recipe with its network and size."""
        manifest = self.manifest
        size = manifest.settings.get("size")
        version = "tiny" if manifest.recipe.endswith("(tiny)") else manifest.scale
        return ", ".join(
            part for part in (manifest.model.name, f"{size} px" if isinstance(size, int) else "", version or "") if part
        )


@dataclass(frozen=True)
class Shelf:
    """The runs that follow one paper."""

    title: str
    anchor: str
    runs: tuple[Listed, ...]


@dataclass(frozen=True)
class Unread:
    """A folder that cannot be read, and why."""

    folder: str
    reason: str


def is_run(folder: Path) -> bool:
    """Whether a folder is a finished run; one that holds runs is none.

    Example:
        >>> is_run(Path("."))
        False
    """
    return (folder / "manifest.json").is_file() and (folder / "table.csv").is_file()


def render_index(folder: Path) -> Path:
    """Write index.html, one self-contained page over the runs in a folder; draws the reports that are missing.

    Nothing is computed again. A run that cannot be read is listed with the reason, so that one damaged folder does
    not hide the others.

    Args:
        folder: holds run folders.

    Returns:
        The path of the page.

    Raises:
        DataError: the folder is missing or holds no finished run.

    Example:
        >>> render_index(Path("runs")).name  # doctest: +SKIP
        'index.html'
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"The folder {folder} does not exist. Give a run's folder, or one that holds runs.")
    found = sorted(path for path in folder.iterdir() if is_run(path))
    if not found:
        raise DataError(
            f"The folder {folder} is no finished run (it has no manifest.json and table.csv) and holds none. "
            "Give the folder that `medaegis run` printed, or the one above it."
        )
    runs: list[Listed] = []
    unread: list[Unread] = []
    for path in found:
        try:
            runs.append(_listed(path))
        except DataError as error:
            unread.append(Unread(path.name, str(error)))
    page = pages().get_template("index.html.j2")
    text = page.render(title=folder.resolve().name, shelves=shelves(runs), unread=unread, css=style()) + "\n"
    return write_whole(folder / "index.html", text)


def _listed(path: Path) -> Listed:
    run = read_run(path)
    if not (path / "report.html").is_file():
        render_report(path)
    findings, checks = findings_of(run, study_of(run)), run.manifest.checks
    return Listed(
        path.name,
        f"{quote(path.name)}/report.html",
        run.manifest,
        findings[0] if findings else None,
        max(len(findings) - 1, 0),
        unique(row.dataset for row in run.table),
        sum(check.passed is True for check in checks),
        tuple(check.name for check in checks if check.passed is False),
        sum(check.passed is None for check in checks),
        tuple((part.name, f"{quote(path.name)}/{quote(part.name)}/report.html") for part in _parts(path)),
    )


def _parts(path: Path) -> list[Path]:
    """The runs inside a run, which joins them; draws reports that are missing, and leaves out what cannot be drawn."""
    return [part for part in sorted(path.iterdir()) if part.is_dir() and is_run(part) and _drawn(part)]


def _drawn(run: Path) -> bool:
    if not (run / "report.html").is_file():
        try:
            render_report(run)
        except DataError:
            return False
    return True


def shelves(runs: Sequence[Listed]) -> tuple[Shelf, ...]:
    """Runs by the first paper that they follow, in the papers' order of tables; others last.

    Example:
        >>> shelves([])
        ()
    """
    by_paper: dict[str, list[Listed]] = {name: [] for name in (*FAMILIES, NO_PAPER)}
    for run in runs:
        paper = run.manifest.paper or ""
        by_paper[next((name for name in FAMILIES if name in paper), NO_PAPER)].append(run)
    return tuple(
        Shelf(PAPERS[name], name.lower().replace(" ", "-"), tuple(sorted(own, key=_place)))
        for name, own in by_paper.items()
        if own
    )


def _place(run: Listed) -> tuple[str, int, str]:
    """Tables before figures, by number, then by name."""
    kind, number = _first_item(run.manifest.paper or "")
    return ({"Table": "a", "Fig": "b"}.get(kind, "c"), number, run.folder)


def _first_item(paper: str) -> tuple[str, int]:
    """The first table or figure that a recipe names.

    Example:
        >>> _first_item("HFC-23 Table VI"), _first_item("HFC-23 Figs. 2 and 3"), _first_item("")
        (('Table', 6), ('Fig', 2), ('', 0))
    """
    match = re.search(r"(Table|Fig)s?\.? (\d+|[IVX]+)", paper)
    if match is None:
        return "", 0
    return match[1], ROMAN[match[2]] if match[2] in ROMAN else int(match[2]) if match[2].isdigit() else 0
