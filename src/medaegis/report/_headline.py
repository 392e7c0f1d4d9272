"""The verdict in sentences, made from the table alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from medaegis.report._read import Row
from medaegis.report._tables import (
    Scope,
    budget,
    detectors_of,
    interval,
    lookup,
    number,
    reason,
    scopes,
    unique,
    variants_of,
)
from medaegis.report._unnoticed import strongest, unnoticed

GUESSING = 50.0  # the AUC, in percent, of a detector that knows nothing
COUNT_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Finding:
    """What the run found for one attack and budget: the first sentence leads, the others explain."""

    title: str
    lead: str
    sentences: tuple[str, ...]


def headline(table: Sequence[Row]) -> tuple[Finding, ...]:
    """Say in sentences how far the attacker gets and what the detectors notice.

    For each data set, model and budget the attack is told that got furthest: unnoticed by the detector that holds out
    best, or, where no detector was run, in fooling the classifier. The tables hold the others.

    Args:
        table: the rows of table.csv.

    Returns:
        One finding a data set, model and budget.

    Example:
        >>> headline([])
        ()
    """
    return tuple(_finding(table, tried) for tried in _choices(table))


def other_attacks(table: Sequence[Row]) -> tuple[str, ...]:
    """The attacks of the run that the headline leaves to the tables."""
    told = {_furthest(table, tried).attack for tried in _choices(table)}
    return tuple(name for name in unique(s.attack for s in scopes(table)) if name not in told)


def _choices(table: Sequence[Row]) -> list[list[Scope]]:
    """Attacks on the same data set and model at the same budget, from small budgets to large ones."""
    found: dict[tuple[str, str, str], list[Scope]] = {}
    for scope in scopes(table):
        found.setdefault((scope.dataset, scope.model, scope.eps), []).append(scope)
    place = {pair: i for i, pair in enumerate(dict.fromkeys((dataset, model) for dataset, model, _ in found))}
    return sorted(found.values(), key=lambda tried: (place[tried[0].dataset, tried[0].model], budget(tried[0].eps)))


def _furthest(table: Sequence[Row], tried: Sequence[Scope]) -> Scope:
    past = strongest(table, tried)
    return max(tried, key=lambda scope: _fooled(table, scope)) if past is None else past.scope


def _fooled(table: Sequence[Row], scope: Scope) -> float:
    row = lookup(table, scope, "Adv. Acc", variant=variants_of(table, scope)[0])
    return row.value if row is not None and math.isfinite(row.value) else -math.inf


def _finding(table: Sequence[Row], tried: Sequence[Scope]) -> Finding:
    scope = _furthest(table, tried)
    variants = variants_of(table, scope)
    title = f"{scope.attack} {_reach(scope)} ({scope.dataset}, {scope.model})"
    success, past = _success(table, scope, variants[0]), unnoticed(table, tried, _reach(scope))
    sentences = [
        success if past else "",
        _other_success(table, scope, variants),
        _stored(table, scope),
        *_detector_sentences(table, scope, variants),
    ]
    return Finding(title, past or success, tuple(s for s in sentences if s))


def _reach(scope: Scope) -> str:
    return f"with a budget of {scope.eps}" if math.isfinite(budget(scope.eps)) else "without a limit on the change"


def _with_interval(row: Row) -> str:
    return f"{number(row.value)}\u00a0% {interval(row)}"


def _success(table: Sequence[Row], scope: Scope, variant: str) -> str:
    row = lookup(table, scope, "Adv. Acc", variant=variant)
    if row is None or not math.isfinite(row.value):
        return f"How often {scope.attack} {_reach(scope)} succeeds is n/a: {reason(row)}."
    cases = "" if row.n is None else f" (n\u00a0=\u00a0{row.n})"
    return (
        f"An attacker {_reach(scope)} changes the decision of the classifier in {_with_interval(row)} of cases{cases}."
    )


def _other_success(table: Sequence[Row], scope: Scope, variants: Sequence[str]) -> str:
    if "with" not in variants[1:]:
        return ""
    row = lookup(table, scope, "Adv. Acc", variant="with")
    if row is None or not math.isfinite(row.value):
        return f"How often it succeeds with HFC added is n/a: {reason(row)}."
    said = f"With HFC added to hide the change from detectors, it does so in {_with_interval(row)} of cases."
    plain = lookup(table, scope, "Adv. Acc", variant=variants[0])
    if plain is None or not row.ci_high < plain.ci_low:
        return said
    why = "hiding costs success here, and a smaller weight of HFC (setting hfc_weight) may get further"
    return f"{said} That is clearly less: {why}."


def _stored(table: Sequence[Row], scope: Scope) -> str:
    """What is left of the attack in stored images, where the table has it."""
    rows = [lookup(table, scope, f"Adv. Acc at {bits} bits") for bits in (8, 16)]
    found = [row for row in rows if row is not None and math.isfinite(row.value)]
    if not found:
        return ""
    parts = [f"{_with_interval(row)} at {row.metric.removeprefix('Adv. Acc at ')}" for row in found]
    return f"After the images were stored and read again, the decision is changed in {' and in '.join(parts)}."


def _detector_sentences(table: Sequence[Row], scope: Scope, variants: Sequence[str]) -> list[str]:
    names = detectors_of(table, scope)
    if not names:
        return ["No detector was run, so the report cannot say whether the attack would be noticed."]
    best = _best(table, scope, names, variants[0])
    if best is None:
        return [f"The detectors have no AUC: {reason(lookup(table, scope, 'AUC', names[0], variants[0]))}."]
    sentences = [_first_detector(table, scope, best, variants[0], len(names)), _unmeasured(table, scope, names)]
    if "with" in variants[1:]:
        sentences += [_change(table, scope, best), _best_left(table, scope, names, best)]
        sentences.append(_too_normal(table, scope, names))
    return [sentence for sentence in sentences if sentence]


def _best(table: Sequence[Row], scope: Scope, names: Sequence[str], variant: str) -> Row | None:
    rows = (lookup(table, scope, "AUC", name, variant) for name in names)
    finite = [row for row in rows if row is not None and math.isfinite(row.value)]
    return max(finite, key=lambda row: row.value, default=None)


def _first_detector(table: Sequence[Row], scope: Scope, best: Row, variant: str, count: int) -> str:
    which = {"without": "Without HFC, ", "with": "With HFC, "}.get(variant, "")
    does = "separates attacked from clean images"
    who = best.detector + " " + does if count == 1 else f"of the {_count(count)} detectors, {best.detector} {does} best"
    text = f"{which}{who}: AUC {_with_interval(best)}{_catches(table, scope, best)}."
    return text[0].upper() + text[1:]


def _catches(table: Sequence[Row], scope: Scope, auc: Row) -> str:
    row = lookup(table, scope, "TPR@90", auc.detector, auc.hfc)
    if row is None or not math.isfinite(row.value):
        return ""
    price = "at the price of rejecting 10\u00a0% of clean images"
    return f"; {price} {row.detector} catches {_with_interval(row)} of attacked ones"


def _unmeasured(table: Sequence[Row], scope: Scope, names: Sequence[str]) -> str:
    variants = variants_of(table, scope)
    rows = {name: [row for v in variants if (row := lookup(table, scope, "AUC", name, v))] for name in names}
    gaps = [name for name in names if not rows[name] or not all(math.isfinite(row.value) for row in rows[name])]
    if not gaps:
        return ""
    return f"{_listed(gaps)} {'lacks' if len(gaps) == 1 else 'lack'} an AUC (n/a in the table, which says why)."


def _change(table: Sequence[Row], scope: Scope, best: Row) -> str:
    row = lookup(table, scope, "AUC", best.detector, "with")
    if row is None or not math.isfinite(row.value):
        return f"The AUC of {best.detector} once HFC is added is n/a: {reason(row)}."
    tail = f"to {_with_interval(row)}{_catches(table, scope, row)}."
    if row.ci_high < best.ci_low:
        return f"Once HFC is added, the AUC of {best.detector} falls {tail}"
    if row.ci_low > best.ci_high:
        return f"Once HFC is added, the AUC of {best.detector} rises {tail}"
    return (
        f"Once HFC is added, the AUC of {best.detector} is {_with_interval(row)}{_catches(table, scope, row)}; "
        "the intervals do not rule out that HFC changes nothing."
    )


def _best_left(table: Sequence[Row], scope: Scope, names: Sequence[str], before: Row) -> str:
    left = _best(table, scope, names, "with")
    if left is None or len(names) == 1:
        return ""
    rows = [lookup(table, scope, "AUC", name, "with") for name in names]
    measured = [row for row in rows if row is not None and math.isfinite(row.value)]
    above = sum(row.ci_low > GUESSING for row in measured)
    stays = "It stays the best one"
    who = (
        stays
        if left.detector == before.detector
        else f"No detector then does better than {left.detector}: AUC {_with_interval(left)}"
    )
    return f"{who}; {_part(above, len(measured))} clearly better than guessing (interval wholly above 50\u00a0%)."


def _too_normal(table: Sequence[Row], scope: Scope, names: Sequence[str]) -> str:
    """Said where hiding overshoots: an AUC clearly below 50 is a trace of its own."""
    rows = [(name, lookup(table, scope, "AUC", name, "with")) for name in names]
    below = [name for name, row in rows if row is not None and row.ci_high < GUESSING]
    if not below:
        return ""
    return (
        f"An AUC clearly below 50\u00a0% ({_listed(below)}) means that hidden images look more normal than clean ones: "
        "a detector that also rejects what is too normal might notice, until an attacker stops earlier."
    )


def _part(count: int, whole: int) -> str:
    """Which part of the detectors, with its verb."""
    if count == 0:
        return f"none of the {_count(whole)} is"
    if count == whole:
        return f"all {_count(whole)} are"
    return f"{_count(count)} of the {_count(whole)} {'is' if count == 1 else 'are'}"


def _count(n: int) -> str:
    return COUNT_WORDS[n] if n < len(COUNT_WORDS) else str(n)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
