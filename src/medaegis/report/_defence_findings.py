"""What a trial of defences found, in sentences: one finding a defence, its worst case first."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medaegis.report._defence_tables import AUC, GROUPS, SUCCESSFUL, UNCHANGED, UNDETECTED, WORST, Trials, trials_of
from medaegis.report._headline import Finding
from medaegis.report._read import Row
from medaegis.report._study import by_set
from medaegis.report._tables import interval, number, reason

ROUNDED = 0.05  # the papers' figures have one decimal
NAMED = 4  # figures that a sentence tells one by one


def defence_findings(table: Sequence[Row]) -> tuple[Finding, ...]:
    """Say of each defence how far attackers get in the worst case, who gets furthest, and what it costs.

    Args:
        table: the rows of table.csv.

    Returns:
        One finding a defence, data set and network; none where nothing was tried.

    Example:
        >>> defence_findings([])
        ()
    """
    every = by_set(table, trials_of).values()
    return tuple(_finding(trials, one) for trials in every for one in trials.defences)


def _finding(trials: Trials, one: str) -> Finding:
    row = next(row for row in trials.rows if row.detector == one)
    names = trials.attackers(trials.full, one)
    title = f"{one}, against {_count(len(names), 'attacker')} ({row.dataset}, {row.model})"
    if not names and all(trials.find(one, UNDETECTED, WORST, eps) is None for eps in trials.budgets):
        lead = "None of the attackers of this run applies to this defence, so the run says nothing of its strength."
        return Finding(title, lead, (_clean_cost(trials, one),))
    parts = [
        _by_budget(trials, one),
        _furthest(trials, one),
        [_papers(trials, one), _below_the_papers(trials, one)],
        [_clean_cost(trials, one)],
    ]
    paragraphs = (" ".join(said for said in part if said) for part in parts)
    return Finding(title, _lead(trials, one), tuple(text for text in paragraphs if text))


def _lead(trials: Trials, one: str) -> str:
    row, reach = trials.find(one, UNDETECTED, WORST, trials.full), f"With a budget of {trials.full}"
    if row is None or not math.isfinite(row.value):
        return f"{reach}, how often attackers fool the classifier and are accepted is n/a: {reason(row)}."
    if row.value == 0:
        return f"{reach}, no attacker fools the classifier and is accepted in any case: {_with_n(row)}."
    return f"{reach}, some attacker fools the classifier and is accepted in {_with_n(row, ' of cases')}."


def _by_budget(trials: Trials, one: str) -> list[str]:
    """The worst case at every budget, and who made it up."""
    shares = [(eps, trials.find(one, UNDETECTED, WORST, eps)) for eps in trials.budgets]
    areas = [(eps, trials.find(one, SUCCESSFUL, WORST, eps)) for eps in trials.budgets]
    measured = "in the worst case, the AUC over the attacks that fool the classifier is"
    if len(trials.budgets) == 1:
        row = areas[0][1]
        return [f"{_upper(measured)} {f'n/a ({_why(row)})' if _none(row) else _with_n(row)}."]
    said = [f"By budget, that share is {_listed([f'{_short(row)} at {eps}' for eps, row in shares])}."]
    parts = [f"{_short(row)} at {eps}{f' ({_why(row)})' if _none(row) else ''}" for eps, row in areas]
    said.append(f"{_upper(measured)} {_listed(parts)}.")
    return [*said, _fewer(trials, one)]


def _why(row: Row | None) -> str:
    """Why an AUC over successful attacks is missing."""
    return "no attack fools the classifier" if row is not None and row.n == 0 else reason(row)


def _fewer(trials: Trials, one: str) -> str:
    """Said where not all attackers were tried at the smaller budgets."""
    small = {name for eps in trials.budgets[:-1] for name in trials.attackers(eps, one)}
    names = trials.attackers(trials.full, one)
    if small >= set(names):
        return ""
    kept = [name for name in (*names, *sorted(small - set(names))) if name in small]
    who = _listed([_named(name) for name in kept]) if len(kept) <= NAMED else f"{len(kept)} of the attackers"
    return f"Below {trials.full} only {who} attacked; the others may get further there."


def _furthest(trials: Trials, one: str) -> list[str]:
    """The attacker who gets furthest alone, and the one of the other kind: of the paper, or beyond it."""
    names = trials.attackers(trials.full, one)
    beyond = [name for name in names if trials.group(name) == GROUPS[2]]
    own = [name for name in names if name not in beyond]
    first = _best(trials, one, names)
    if first is None or len(names) == 1:
        return []
    others = [name for name in names if name != first.attack and _share(trials, one, name) == first.value]
    whose = "one of the paper\u2019s own" if first.attack in own else "one of those beyond the paper"
    kind = f", {whose}" if own and beyond else ""
    tied = f" ({_count(len(others), 'other')} as often)" if others else ""
    area = trials.find(one, SUCCESSFUL, first.attack, trials.full)
    said = f"Alone, {_named(first.attack)} gets furthest at {trials.full}{kind}: undetected in "
    said += f"{_short(first)} of cases{tied}"
    said += "." if area is None or _none(area) else f", with an AUC over its successful attacks of {_short(area)}."
    if not (own and beyond):
        return [said]
    rest, noun = (beyond, "attacker beyond the paper") if first.attack in own else (own, "attacker of the paper")
    return [said, _second(_best(trials, one, rest), len(rest), noun)]


def _second(row: Row | None, count: int, noun: str) -> str:
    """How far attackers of the other kind get."""
    if count == 1:
        does = "does not get past it" if row is None else f"{_named(row.attack)}, is undetected in {_short(row)}"
        return f"The only {noun}{'' if row is None else ','} {does}."
    does = "none gets past it" if row is None else f"{_named(row.attack)} gets furthest, with {_short(row)}"
    return f"Of the {count} {noun.replace('attacker', 'attackers')}, {does}."


def _share(trials: Trials, one: str, name: str) -> float:
    row = trials.find(one, UNDETECTED, name, trials.full)
    return math.nan if row is None else row.value


def _best(trials: Trials, one: str, names: Sequence[str]) -> Row | None:
    """The largest undetected success at the largest budget, the lower AUC first; None where there is no success."""
    found = [(_share(trials, one, name), -_area(trials, one, name), name) for name in names]
    reached = [part for part in found if part[0] > 0]
    if not reached:
        return None
    return trials.find(one, UNDETECTED, max(reached, key=lambda part: part[:2])[2], trials.full)


def _area(trials: Trials, one: str, name: str) -> float:
    row = trials.find(one, SUCCESSFUL, name, trials.full)
    return math.inf if row is None or _none(row) else row.value


def _papers(trials: Trials, one: str) -> str:
    """Which of the paper's figures for this defence are reached."""
    rows = [trials.find(one, AUC, name, trials.full) for name in trials.attackers(trials.full, one)]
    known = [row for row in rows if row is not None and math.isfinite(row.published)]
    if not known:
        return ""
    gone = [row for row in known if not math.isfinite(row.value)]
    below = [row for row in known if math.isfinite(row.value) and row.ci_high < row.published - ROUNDED]
    held = [row for row in known if row not in gone and row not in below]
    ends = sorted({number(row.published) for row in known}, key=float)
    lead = f"Of the paper\u2019s {_count(len(known), 'AUC')} for this defence ({_span(ends)}\u00a0%)"
    parts = [_held(held, len(known)), _below(below, alone=not held), _gone(gone)]
    return f"{lead}, {'; '.join(part for part in parts if part)}."


def _below_the_papers(trials: Trials, one: str) -> str:
    """How far attackers beyond the paper bring the figure that the paper has; empty where it has none for this one."""
    names = trials.attackers(trials.full, one)
    rows = [(name, trials.find(one, AUC, name, trials.full)) for name in names]
    beyond = [row for name, row in rows if row is not None and not _none(row) and trials.group(name) == GROUPS[2]]
    if not beyond or not any(row is not None and math.isfinite(row.published) for _, row in rows):
        return ""
    least = min(beyond, key=lambda row: row.value)
    many = len(beyond) > 1
    who = (
        f"The {len(beyond)} attackers that the paper does not have bring"
        if many
        else "An attacker that it lacks brings"
    )
    return f"{who} the same AUC to {_short(least)}{', at the lowest' if many else ''} ({_named(least.attack)})."


def _span(ends: Sequence[str]) -> str:
    return ends[0] if len(ends) == 1 else f"{ends[0]} to {ends[-1]}"


def _held(held: Sequence[Row], whole: int) -> str:
    if not held:
        return "none holds here: no measured interval reaches the published figure"
    reach = "the measured interval reaches the published figure"
    if len(held) == whole:
        return f"{'this one' if whole == 1 else 'all'} hold{'s' if whole == 1 else ''} here: {reach}"
    names = _listed([_named(row.attack) for row in held])
    return f"{len(held)} hold{'s' if len(held) == 1 else ''} here ({names}): {reach}"


def _below(below: Sequence[Row], *, alone: bool) -> str:
    """The figures that are not reached, one by one where they are few."""
    if not below:
        return ""
    widest = max(below, key=lambda row: row.published - row.value)
    if alone:
        return f"furthest off is {_gap(widest)}"
    does = f"{len(below)} do{'es' if len(below) == 1 else ''} not"
    if len(below) <= NAMED:
        return f"{does}: {_listed([_gap(row) for row in below])}"
    return f"{does} ({_listed([_named(row.attack) for row in below])}), the furthest off {_gap(widest)}"


def _gap(row: Row) -> str:
    return f"{_named(row.attack)} with {_short(row)} against {number(row.published)}"


def _gone(gone: Sequence[Row]) -> str:
    return f"{len(gone)} could not be measured ({_listed([_named(row.attack) for row in gone])})" if gone else ""


def _clean_cost(trials: Trials, one: str) -> str:
    """What the defence costs where nobody attacks."""
    right, area, rejected, passed = (
        trials.find(one, metric) for metric in ("clean accuracy", "clean AUC", "clean rejected", "TNR achieved")
    )
    bare = next((name for name in trials.defences if not _cushioned(name)), None)
    behind, without = "", ""
    if _cushioned(one):
        behind = " behind the Cushion"
        plain = None if bare is None else (trials.find(bare, "clean accuracy"), trials.find(bare, "clean AUC"))
        without = "" if plain is None else f" (without it {_short(plain[0])} and {_short(plain[1])})"
    return (
        f"On clean test images, the classifier{behind} is right in {_short(right)} of cases, with an AUC of "
        f"{_short(area)}{without}; {_short(rejected)} of them are rejected. Of those that it judges rightly and that "
        f"set no threshold, {_short(passed)} pass (achieved TNR; the aim is 90\u00a0%).{_unchanged(trials, one)}"
    )


def _unchanged(trials: Trials, one: str) -> str:
    """What the Shield is worth where nothing is changed."""
    found = trials.find(one, UNCHANGED)
    if found is None:
        return ""
    told = f" Unchanged images of another class are told from a class\u2019s own with an AUC of {_short(found)}"
    return f"{told}: attacks on the Shield only lower that."


def _cushioned(one: str) -> bool:
    return one.startswith("Medical Aegis")


def _none(row: Row | None) -> bool:
    return row is None or not math.isfinite(row.value)


def _short(row: Row | None) -> str:
    return "n/a" if row is None or _none(row) else f"{number(row.value)}\u00a0% {interval(row)}"


def _with_n(row: Row | None, of: str = "") -> str:
    return _short(row) + of if row is None or row.n is None else f"{_short(row)}{of} (n\u00a0=\u00a0{row.n})"


def _named(attack: str) -> str:
    """An attacker's title for a sentence, in quotes where it has commas."""
    return f"\u201c{attack}\u201d" if "," in attack else attack


def _count(n: int, noun: str) -> str:
    return f"{n}\u00a0{noun}{'' if n == 1 else 's'}"


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
