"""The report of lesions: the table, the sentences, the lines for the terminal."""

from __future__ import annotations

from medaegis.report._lesions import lesion_findings, lesion_glossary, lesion_grid, lesion_text
from medaegis.report._read import Row

NAN = float("nan")


def row(attack: str, metric: str, value: float, **changes) -> Row:
    fields = {"dataset": "D", "model": "M", "attack": attack, "eps": "", "hfc": "", "detector": "", "metric": metric}
    fields |= {"value": value, "ci_low": value - 5, "ci_high": value + 5, "n": 40, "published": NAN}
    return Row(**(fields | changes))


TABLE = [
    row("", "clean AUC", 97.0),
    row("small lesions x 2", "AUC", 53.0, published=94.4),
    row("small lesions x 2", "FR", 1.0, n=44),
    row("large lesions x 3", "AUC", 88.0),
    row("large lesions x 3", "FR", 12.0, n=44),
    row("large lesions x 3", "AUC with changed", 86.0),
]


def test_a_line_a_size_and_quantity() -> None:
    grid = lesion_grid(TABLE)
    assert [column.metric for column in grid.columns] == ["AUC", "FR", "AUC with changed"]
    values = {line.name: [cell.value for cell in line.cells] for line in grid.lines}
    assert values == {"small lesions x 2": ["53.0", "1.0", "n/a"], "large lesions x 3": ["88.0", "12.0", "86.0"]}
    assert grid.lines[0].cells[0].published == "94.4"


def test_other_runs_have_none() -> None:
    other = [row("BIM", "Adv. Acc", 50.0, eps="1/256"), row("BIM", "AUC", 50.0, detector="HFC")]
    assert lesion_grid(other) is None
    assert lesion_findings(other) == ()
    assert lesion_text(other) == []


def test_the_finding_has_both_ends() -> None:
    (finding,) = lesion_findings(TABLE)
    said = " ".join([finding.lead, *finding.sentences]).replace("\u00a0", " ")
    assert "AUC of 53.0 % [48.0, 58.0] (small lesions x 2, n = 40) to 88.0 % [83.0, 93.0] (large lesions x 3" in said
    assert "in 1 of 2 rows" in said  # 53 [48, 58] is not clearly above 50
    assert "change at most 12.0 % [7.0, 17.0] (large lesions x 3, n = 44) of right decisions" in said
    assert "  " not in said


def test_missing_figures_are_left_out_of_the_sentences() -> None:
    gaps = [r for r in TABLE if r.metric != "AUC"] + [row("small lesions x 2", "AUC", NAN)]
    assert lesion_findings(gaps) == ()


def test_lines_for_the_terminal() -> None:
    head, first, _ = lesion_text(TABLE)
    assert head.split() == ["Lesions", "AUC", "FR", "AUC", "with", "changed"]
    assert first.startswith("small lesions x 2     53.0 [48.0, 58.0] n=40 (paper: 94.4)")


def test_the_glossary_explains_what_the_table_has() -> None:
    words = lesion_glossary(["clean AUC", "AUC", "FR"])
    assert {"AUC", "FR", "AUC with changed", "clean AUC", "n", "95 % interval"} <= set(words)
    assert "Budget" not in words
