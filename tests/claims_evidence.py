"""How a claim of the papers is held against stored results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from typing import Any, NamedTuple

from findings_lines import RESULTS, Line, lines_of

Ask = Callable[[Mapping[str, str] | None], "Evidence | None"]
"""Asks a stored run, or the one that a mapping names in its place; None where there is none."""


class MissingRowError(AssertionError):
    """A run has no row of which a claim speaks."""


class Figure(NamedTuple):
    """One figure that a claim speaks of: whether it agrees, and whether its whole interval does."""

    value: float
    agrees: bool
    surely: bool


class Evidence(NamedTuple):
    """What one run says of a claim."""

    run: str
    figures: tuple[Figure, ...]
    unit: str = ""


class Claim(NamedTuple):
    """A claim, where it stands, and what is held against it; without runs, `words` say why, or what shows it."""

    source: str
    says: str
    evidence: tuple[Ask, ...] = ()
    runs: tuple[str, ...] = ()
    verdict: str = ""
    words: str = ""


def chosen(run: str, sheet: str = "table", **wanted: str | tuple[str, ...]) -> list[Line]:
    """Rows of a run by one or more values a column."""

    def fits(line: Line) -> bool:
        return all(line[name] in (v if isinstance(v, tuple) else (v,)) for name, v in wanted.items())

    found = [line for line in lines_of(run, sheet) if fits(line) and line["value"] is not None]
    if not found:
        raise MissingRowError(f"{run} has no row with {wanted}")
    return found


def _ends(line: Line) -> tuple[float, float]:
    low, high = ("ci_low", "ci_high") if "ci_low" in line else ("low", "high")
    return line[low], line[high]


def at_most(bound: float, *runs: str, sheet: str = "table", **wanted: Any) -> Iterator[Ask]:
    """Every figure lies at or below the bound."""
    for run in runs:
        yield _lazily(run, lambda one: [_under(line, bound) for line in chosen(one, sheet, **wanted)])


def at_least(bound: float, *runs: str, sheet: str = "table", **wanted: Any) -> Iterator[Ask]:
    """Every figure lies at or above the bound."""
    for run in runs:
        yield _lazily(run, lambda one: [_over(line, bound) for line in chosen(one, sheet, **wanted)])


def lower(*runs: str, than: dict[str, Any], by: tuple[str, ...], sheet: str = "table", **wanted: Any) -> Iterator[Ask]:
    """Every figure lies below the one that differs from it in `than` and agrees in the columns `by`.

    The value shown is the difference; a figure agrees surely where the two intervals do not meet.
    """

    def compared(run: str) -> list[Figure]:
        found: list[Figure] = []
        for line in chosen(run, sheet, **wanted):
            same = {name: line[name] for name in by}
            (other,) = chosen(run, sheet, **(wanted | same | than))
            gap = line["value"] - other["value"]
            found.append(Figure(gap, gap < 0, _ends(line)[1] < _ends(other)[0]))
        return found

    for run in runs:
        yield _lazily(run, compared, unit="points")


def drops_at_most(bound: float, *runs: str, than: dict[str, Any], sheet: str = "table", **wanted: Any) -> Iterator[Ask]:
    """Every figure lies at most so many points below the one of `than`; the value shown is the drop."""

    def compared(run: str) -> list[Figure]:
        (whole,) = chosen(run, sheet, **(wanted | than))
        lines = chosen(run, sheet, **wanted)
        return [
            Figure(drop, drop <= bound, _ends(whole)[1] - _ends(line)[0] <= bound)
            for line in lines
            for drop in [whole["value"] - line["value"]]
        ]

    for run in runs:
        yield _lazily(run, compared, unit="points")


def falls_further(
    *runs: str, than: dict[str, Any], by: tuple[str, ...], without: dict[str, Any], sheet: str = "table", **wanted: Any
) -> Iterator[Ask]:
    """Figures fall further, from those that differ in `without`, than the ones that differ from them in `than` do.

    The value shown is the difference of the two falls; a figure agrees surely where the falls' intervals, as wide as
    their ends allow, do not meet.
    """

    def fall(run: str, line: Line, change: dict[str, Any]) -> tuple[float, float, float]:
        same = {name: line[name] for name in by} | change
        (after,), (before,) = (chosen(run, sheet, **(wanted | same | more)) for more in ({}, without))
        (low, high), (lowest, highest) = _ends(before), _ends(after)
        return before["value"] - after["value"], low - highest, high - lowest

    def compared(run: str) -> list[Figure]:
        found: list[Figure] = []
        for line in chosen(run, sheet, **wanted):
            (ours, least, _), (other, _, most) = fall(run, line, {}), fall(run, line, than)
            found.append(Figure(ours - other, ours > other, least > most))
        return found

    for run in runs:
        yield _lazily(run, compared, unit="points")


def _lazily(run: str, figures: Callable[[str], list[Figure]], unit: str = "") -> Ask:
    def ask(instead: Mapping[str, str] | None) -> Evidence | None:
        if instead is None:
            return Evidence(run, tuple(figures(run)), unit) if (RESULTS / run).exists() else None
        asked = instead.get(run, "")
        if not asked or not (RESULTS / asked).exists():
            return None
        with suppress(MissingRowError):  # the other run may have less
            return Evidence(asked, tuple(figures(asked)), unit)
        return None

    return ask


def _under(line: Line, bound: float) -> Figure:
    return Figure(line["value"], line["value"] <= bound, _ends(line)[1] <= bound)


def _over(line: Line, bound: float) -> Figure:
    return Figure(line["value"], line["value"] >= bound, _ends(line)[0] >= bound)


def judged(claim: Claim) -> tuple[str, str]:
    """The verdict and its evidence, in words."""
    if claim.verdict:
        return claim.verdict, claim.words
    found = _found(claim, None)
    if not found:
        return "not run yet", ", ".join(f"`medaegis run {run}`" for run in claim.runs)
    return _verdict(found), "; ".join([*map(_shown, found), *([claim.words] if claim.words else [])])


def judged_again(claim: Claim, instead: Mapping[str, str]) -> str:
    """Verdict and evidence of other runs in the place of those that the claim names; "" where there are none."""
    found = _found(claim, instead)
    return f"{_verdict(found)}: {'; '.join(map(_shown, found))}" if found else ""


def _verdict(found: list[Evidence]) -> str:
    agrees = [figure.agrees for evidence in found for figure in evidence.figures]
    return "holds" if all(agrees) else "in part" if any(agrees) else "does not hold"


def _found(claim: Claim, instead: Mapping[str, str] | None) -> list[Evidence]:
    return _merged([evidence for ask in claim.evidence if (evidence := ask(instead)) is not None])


def _merged(found: list[Evidence]) -> list[Evidence]:
    """One entry a run."""
    runs = dict.fromkeys((evidence.run, evidence.unit) for evidence in found)
    together = {run: [e.figures for e in found if (e.run, e.unit) == run] for run in runs}
    return [Evidence(run, tuple(chain(*figures)), unit) for (run, unit), figures in together.items()]


def _shown(evidence: Evidence) -> str:
    values = [figure.value for figure in evidence.figures]
    low, high = (f"{value:.0f}" for value in (min(values), max(values)))
    yes, sure = (sum(figure[i] for figure in evidence.figures) for i in (1, 2))
    span = (low if low == high else f"{low} to {high}") + (f" {evidence.unit}" if evidence.unit else "")
    beyond = "" if sure == yes else f", {sure} beyond doubt"
    return f"{evidence.run}: {yes} of {len(values)} ({span}{beyond})"
