"""The paper's table as values ready to print: one block an attack and budget, one cell a number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from medaegis.report._read import Row

VARIANT_LABELS = {"without": "without HFC", "with": "with HFC", "": "attack"}
CLEAN_METRICS = ("clean accuracy", "clean AUC")
SUCCESS = "Adv. Acc"
TRANSFER = ("Adv. Acc on the substitute", "transfer rate")
FURTHER = ("AUC vs clean+noise", "undetected")
MORE = {
    "Attacked images that fool the classifier, and those that do not": ("AUC, successful", "AUC, failed"),
    "With the choices of the released code (hfc-2021)": ("AUC, hfc-2021", "TPR@90, hfc-2021"),
}
WHITE_BOX = "white-box"
SIZES = ("mean Linf", "mean RMS", "mean L2")


@dataclass(frozen=True)
class Scope:
    """What one block of results is about."""

    dataset: str
    model: str
    attack: str
    eps: str


@dataclass(frozen=True)
class Cell:
    """One number as text: `value` is "n/a" where there is none, and `reason` then says why."""

    value: str
    interval: str = ""
    n: str = ""
    published: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Column:
    """A measure and the variants of the attack that it is shown for."""

    metric: str
    variants: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The variants in words."""
        return tuple(VARIANT_LABELS.get(variant, variant) for variant in self.variants)


@dataclass(frozen=True)
class Line:
    """One row of a printed table; rows of one `group` stand under its name, and a `marked` row stands out."""

    name: str
    cells: tuple[Cell, ...]
    group: str = ""
    marked: bool = False


@dataclass(frozen=True)
class Grid:
    """A printed table: a two-line head and its rows; `pairs` where a cell holds two figures, without and with HFC."""

    corner: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    pairs: bool = False


@dataclass(frozen=True)
class Block:
    """All numbers of one attack and budget: the classifier, the detectors, and what else was measured.

    `parts` are the success by class and after storage, and the sizes of the change; empty where not measured.
    `more` are further grids of the detectors by title.
    `comparison` has a line for every way of hiding, where there are more than two, white-box attacks left out.
    """

    scope: Scope
    classifier: Grid
    detectors: Grid
    further: Grid
    more: dict[str, Grid]
    parts: tuple[Grid, ...] = ()
    comparison: Grid | None = None


def is_white_box(way: str) -> bool:
    """Whether a way of hiding follows detectors in full.

    Example:
        >>> is_white_box("white-box KD, selective"), is_white_box("with")
        (True, False)
    """
    return way.startswith(f"{WHITE_BOX} ")


def budget(eps: str) -> float:
    """Turn a written budget into a number in pixel units; NaN where it cannot be read.

    Example:
        >>> budget("2/256")
        0.0078125
    """
    top, _, bottom = eps.partition("/")
    try:
        return float(top) / float(bottom or 1)
    except (ValueError, ZeroDivisionError):
        return math.nan


def unique(values: Iterable[str]) -> tuple[str, ...]:
    """The different values, in order of first appearance.

    Example:
        >>> unique(["KD", "BU", "KD"])
        ('KD', 'BU')
    """
    return tuple(dict.fromkeys(values))


def scopes(table: Sequence[Row]) -> tuple[Scope, ...]:
    """The blocks of a table: data sets, models and attacks in the table's order, budgets from small to large."""
    found = dict.fromkeys(Scope(r.dataset, r.model, r.attack, r.eps) for r in table if r.attack)
    first = {name: i for i, name in enumerate(unique(f"{s.dataset}\n{s.model}\n{s.attack}" for s in found))}
    return tuple(sorted(found, key=lambda s: (first[f"{s.dataset}\n{s.model}\n{s.attack}"], budget(s.eps))))


def variants_of(table: Sequence[Row], scope: Scope) -> tuple[str, ...]:
    """The variants of one attack: "without" and "with" HFC, as far as the table has them."""
    found = {r.hfc for r in table if (r.attack, r.eps) == (scope.attack, scope.eps)}
    named = tuple(v for v in ("without", "with") if v in found)
    return named or ("",)


def detectors_of(table: Sequence[Row], scope: Scope) -> tuple[str, ...]:
    """The detectors that the table has for one block, in the table's order."""
    return unique(r.detector for r in table if r.detector and _belongs(r, scope))


def lookup(table: Sequence[Row], scope: Scope, metric: str, detector: str = "", variant: str = "") -> Row | None:
    """Find a number; a row whose attack, budget or variant is empty holds for all of them.

    Returns:
        The most specific matching row, or None where the table has none.

    Example:
        >>> lookup([], Scope("CXR", "ResNet-50", "BIM", "1/256"), "AUC", "KD", "with") is None
        True
    """
    rows = [r for r in table if (r.metric, r.detector) == (metric, detector) and _belongs(r, scope)]
    rows = [r for r in rows if r.hfc in (variant, "")]
    return max(rows, key=lambda r: (bool(r.attack), bool(r.eps), bool(r.hfc)), default=None)


def _belongs(row: Row, scope: Scope) -> bool:
    same_model = (row.dataset, row.model) == (scope.dataset, scope.model)
    return same_model and row.attack in (scope.attack, "") and row.eps in (scope.eps, "")


def number(value: float, digits: int = 1) -> str:
    """A percentage as text; "n/a" for NaN, never a minus before zero.

    Example:
        >>> number(97.06), number(float("nan")), number(-0.001)
        ('97.1', 'n/a', '0.0')
    """
    return f"{value:z.{digits}f}" if math.isfinite(value) else "n/a"


def interval(row: Row, digits: int = 1) -> str:
    """A 95 % interval as text; says so where there is none."""
    if not (math.isfinite(row.ci_low) and math.isfinite(row.ci_high)):
        return "no interval"
    return f"[{number(row.ci_low, digits)}, {number(row.ci_high, digits)}]"


def reason(row: Row | None) -> str:
    """Why a number is missing, in words; empty where it is there."""
    if row is None:
        return "not measured in this run"
    if math.isfinite(row.value):
        return ""
    if row.n == 0:
        return "no case to measure it on (n = 0)"
    return "cannot be computed from these cases, for example because only one kind of case is left"


def cell(row: Row | None, digits: int = 1) -> Cell:
    """Print one number with its interval, its n and the published figure."""
    if row is None:
        return Cell("n/a", reason=reason(row))
    published = number(row.published, digits) if math.isfinite(row.published) else ""
    n = "" if row.n is None else f"n\u00a0=\u00a0{row.n}"
    if not math.isfinite(row.value):
        return Cell("n/a", n=n if row.n else "", published=published, reason=reason(row))
    return Cell(number(row.value, digits), interval(row, digits), n, published)


def figure(row: Row | None) -> str:
    """One number with its interval, its n and the published figure, as text for a terminal; "-" where there is none.

    Example:
        >>> figure(None)
        '-'
    """
    if row is None:
        return "-"
    published = "" if row.published != row.published else f" (paper: {number(row.published)})"
    return f"{number(row.value)} [{number(row.ci_low)}, {number(row.ci_high)}] n={row.n}{published}"


def blocks(table: Sequence[Row]) -> tuple[Block, ...]:
    """Arrange a table as in HFC-21 Table 2: rows detectors, columns measures without and with HFC.

    Args:
        table: the rows of table.csv.

    Returns:
        One block an attack and budget.

    Example:
        >>> blocks([])
        ()
    """
    return tuple(_block(table, scope) for scope in scopes(table))


def _block(table: Sequence[Row], scope: Scope) -> Block:
    variants = variants_of(table, scope)
    main = tuple(Column(metric, variants) for metric in ("AUC", "TPR@90"))
    further = (Column("TNR achieved", ("",)), *(Column(metric, variants) for metric in FURTHER))
    names = detectors_of(table, scope)

    def grid(columns: tuple[Column, ...]) -> Grid:
        return Grid("Detector", columns, tuple(_line(table, scope, columns, name) for name in names))

    more = {title: _measured(grid(tuple(Column(m, variants) for m in metrics))) for title, metrics in MORE.items()}
    return Block(
        scope,
        classifier=_classifier(table, scope, variants),
        detectors=grid(main),
        further=_measured(grid(further)),
        more={title: found for title, found in more.items() if found.lines},
        parts=_parts(table, scope),
        comparison=comparison(table, scope),
    )


def comparison(table: Sequence[Row], scope: Scope, metrics: tuple[str, ...] = ("AUC", "TPR@90")) -> Grid | None:
    """Every way of hiding of one attack and budget, white-box attacks left out; None where there are two at most.

    Example:
        >>> comparison([], Scope("CXR", "ResNet-50", "BIM", "1/256")) is None
        True
    """
    ways = unique(r.hfc for r in table if r.attack and r.hfc and _belongs(r, scope))
    ways = tuple(way for way in ways if not is_white_box(way))
    if len(ways) < 3:
        return None
    measured = [("", SUCCESS), *((name, m) for name in detectors_of(table, scope) for m in metrics)]
    columns = tuple(Column(f"{name} {metric}".strip(), ("",)) for name, metric in measured)
    lines = (
        Line(VARIANT_LABELS.get(way, way), tuple(cell(lookup(table, scope, m, name, way)) for name, m in measured))
        for way in ways
    )
    return Grid("Way of hiding", columns, tuple(lines))


def success_metrics(table: Sequence[Row], scope: Scope) -> tuple[str, ...]:
    """The success of one attack and budget, overall and as far as the table divides it.

    Example:
        >>> success_metrics([], Scope("CXR", "ResNet-50", "BIM", "1/256"))
        ()
    """
    own = [r.metric for r in table if r.attack and _belongs(r, scope)]
    return unique(metric for metric in own if metric.startswith(SUCCESS) or metric in TRANSFER)


def _parts(table: Sequence[Row], scope: Scope) -> tuple[Grid, ...]:
    divided = [name for name in success_metrics(table, scope) if name != SUCCESS]
    found = [
        Grid(title, (Column(SUCCESS, ("",)),), tuple(_part_line(table, scope, n, start) for n in names))
        for title, start in (("Class", "Adv. Acc of "), ("Stored at", "Adv. Acc at "))
        if (names := [name for name in divided if name.startswith(start)])
    ]
    sizes = [name for name in SIZES if lookup(table, scope, name) is not None]
    column = (Column("% of the pixel range", ("",)),)
    lines = tuple(Line(name, (cell(lookup(table, scope, name), 4),)) for name in sizes)
    return (*found, Grid("Size of the change", column, lines)) if sizes else tuple(found)


def _part_line(table: Sequence[Row], scope: Scope, metric: str, start: str) -> Line:
    return Line(metric.removeprefix(start), (cell(lookup(table, scope, metric)),))


def _classifier(table: Sequence[Row], scope: Scope, variants: tuple[str, ...]) -> Grid:
    made = [metric for metric in TRANSFER if any(r.metric == metric and _belongs(r, scope) for r in table)]
    columns = (*(Column(metric, ("",)) for metric in CLEAN_METRICS), *(Column(m, variants) for m in (SUCCESS, *made)))
    return Grid("Classifier", columns, (_line(table, scope, columns, ""),))


def _line(table: Sequence[Row], scope: Scope, columns: tuple[Column, ...], detector: str) -> Line:
    found = (_any_variant(table, scope, column.metric, detector, v) for column in columns for v in column.variants)
    return Line(detector or scope.model, tuple(cell(row) for row in found))


def _any_variant(table: Sequence[Row], scope: Scope, metric: str, detector: str, variant: str) -> Row | None:
    # TNR does not depend on the attack's variant; a producer may still state it once a variant.
    order = (variant,) if variant else ("", "without", "with")
    rows = (lookup(table, scope, metric, detector, v) for v in order)
    return next((row for row in rows if row is not None), None)


def _measured(grid: Grid) -> Grid:
    """Leave out columns that no row has a number or a reason for; the run did not ask for them."""
    starts = [sum(len(c.variants) for c in grid.columns[:i]) for i in range(len(grid.columns))]
    absent = Cell("n/a", reason=reason(None))
    kept = [
        (column, range(start, start + len(column.variants)))
        for column, start in zip(grid.columns, starts, strict=True)
        if any(line.cells[i] != absent for line in grid.lines for i in range(start, start + len(column.variants)))
    ]
    lines = tuple(Line(line.name, tuple(line.cells[i] for _, span in kept for i in span)) for line in grid.lines)
    return Grid(grid.corner, tuple(column for column, _ in kept), lines if kept else ())
