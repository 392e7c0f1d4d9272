"""The table and the sentences made from it."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from medaegis.report import text_table
from medaegis.report._headline import headline, other_attacks
from medaegis.report._read import Row, read_run
from medaegis.report._tables import Scope, blocks, budget, interval, lookup, number, scopes

NAN = math.nan
RESULTS = Path(__file__).parents[2] / "results" / "0.1.0"
CLOSEST = {"eps": "1/256", "hfc": "Closest guide", "detector": "MAHA", "metric": "AUC"}
SCOPE = Scope("CXR", "net", "BIM", "1/256")


def row(metric: str, value: float, hfc: str = "", detector: str = "", spread: float = 1.0, **other: object) -> Row:
    fields = {"dataset": "CXR", "model": "net", "attack": "BIM", "eps": "1/256", "n": 50, "published": NAN} | other
    return Row(
        metric=metric, value=value, ci_low=value - spread, ci_high=value + spread, hfc=hfc, detector=detector, **fields
    )  # pyright: ignore[reportArgumentType]


def text_of(*rows: Row) -> str:
    return " ".join(s for f in headline(rows) for s in (f.lead, *f.sentences)).replace("\u00a0", " ")


def test_headline_numbers_are_the_tables(finished: Path) -> None:
    table = read_run(finished).table
    known = {f"{number(r.value)} % {interval(r)}" for r in table}
    for finding in headline(table):
        said = " ".join((finding.lead, *finding.sentences)).replace("\u00a0", " ")
        stated = re.findall(r"[\d.]+ % \[[^]]+\]", said)
        assert len(stated) == 8
        assert set(stated) <= known
        assert not re.findall(r"\d+\.\d", re.sub(r"[\d.]+ % \[[^]]+\]", "", said))


def test_one_finding_a_budget_from_small_to_large(finished: Path) -> None:
    table = read_run(finished).table
    assert ["1/256" in f.title for f in headline(table)] == [True, False]
    assert other_attacks(table) == ()


def test_falls_rises_or_neither() -> None:
    before = [row("Adv. Acc", 99.0, "without"), row("AUC", 90.0, "without", "KD")]
    assert "AUC of KD falls to 60.0 % [59.0, 61.0]" in text_of(*before, row("AUC", 60.0, "with", "KD"))
    assert "AUC of KD rises to 99.0 %" in text_of(*before, row("AUC", 99.0, "with", "KD"))
    near = text_of(*before, row("AUC", 89.5, "with", "KD"))
    assert "falls" not in near
    assert "do not rule out" in near


def test_a_success_that_hiding_costs_is_said_to_ask_for_a_smaller_weight() -> None:
    plain = row("Adv. Acc", 90.0, "without")
    assert "a smaller weight of HFC (setting hfc_weight)" in text_of(plain, row("Adv. Acc", 87.0, "with"))
    assert "smaller weight" not in text_of(plain, row("Adv. Acc", 89.0, "with"))
    assert "smaller weight" not in text_of(plain, row("Adv. Acc", 99.0, "with"))
    assert "smaller weight" not in text_of(plain, row("Adv. Acc", 10.0, "with", spread=NAN))


def test_no_direction_is_claimed_without_intervals() -> None:
    said = text_of(row("AUC", 90.0, "without", "KD", NAN), row("AUC", 10.0, "with", "KD", NAN))
    assert "falls" not in said
    assert "no interval" in said


def test_missing_success_rate_is_said() -> None:
    assert "is n/a: no case" in text_of(row("Adv. Acc", NAN, "without", n=0))
    assert "is n/a: not measured" in text_of(row("AUC", 90.0, "without", "KD"))
    assert "No detector was run" in text_of(row("Adv. Acc", 99.0, "without"))


def test_detectors_that_stay_better_than_guessing_are_counted() -> None:
    rows = [row("AUC", 95.0, "without", name) for name in ("A", "B")]
    rows += [row("AUC", 60.0, "with", "A"), row("AUC", 50.5, "with", "B")]
    assert "It stays the best one; one of the two is clearly better than guessing" in text_of(*rows)


def test_a_detector_that_only_one_variant_has_lacks_nothing() -> None:
    known = [row("AUC", 90.0, "without", "KD"), row("AUC", 80.0, "with", "KD")]
    assert "an AUC (n/a" not in text_of(*known, row("AUC", 99.0, "with", "Shield"))
    assert "Shield lacks an AUC (n/a" in text_of(*known, row("AUC", NAN, "with", "Shield"))
    assert "Shield lacks an AUC (n/a" in text_of(*known, row("TPR@90", 50.0, "with", "Shield"))


def test_other_attacks_are_pointed_to() -> None:
    rows = [row("Adv. Acc", 99.0, "without"), row("Adv. Acc", 98.0, "without", attack="PGD")]
    assert [f.title.split()[0] for f in headline(rows)] == ["BIM"]
    assert other_attacks(rows) == ("PGD",)


def test_budgets_sort_by_size_not_by_letters() -> None:
    rows = [row("Adv. Acc", 1.0, "without", eps=eps) for eps in ("16/256", "2/256", "0.5/256")]
    assert [s.eps for s in scopes(rows)] == ["0.5/256", "2/256", "16/256"]
    assert budget("0.01") == 0.01
    assert math.isnan(budget("much"))


def test_a_row_for_all_budgets_yields_to_a_closer_one() -> None:
    everywhere, here = row("TNR achieved", 88.0, detector="KD", eps=""), row("TNR achieved", 91.0, detector="KD")
    assert lookup([everywhere], SCOPE, "TNR achieved", "KD") == everywhere
    assert lookup([here, everywhere], SCOPE, "TNR achieved", "KD") == here
    assert lookup([here], SCOPE, "TNR achieved", "BU") is None


def test_block_has_the_papers_shape() -> None:
    rows = [row("AUC", 97.06, "without", "KD", published=100.0), row("AUC", NAN, "with", "KD", n=0)]
    (block,) = blocks(rows)
    assert [c.metric for c in block.detectors.columns] == ["AUC", "TPR@90"]
    assert block.detectors.columns[0].labels == ("without HFC", "with HFC")
    first, second, third, _ = block.detectors.lines[0].cells
    assert (first.value, first.interval, first.n, first.published) == (
        "97.1",
        "[96.1, 98.1]",
        "n\u00a0=\u00a050",
        "100.0",
    )
    assert (second.value, second.reason) == ("n/a", "no case to measure it on (n = 0)")
    assert (third.value, third.reason) == ("n/a", "not measured in this run")
    assert block.further.lines == ()


def test_an_attack_without_variants_has_one_column() -> None:
    (block,) = blocks([row("AUC", 97.0, "", "KD"), row("Adv. Acc", 97.0)])
    assert block.detectors.columns[0].variants == ("",)
    assert block.classifier.lines[0].cells[-1].value == "97.0"


@pytest.mark.parametrize(("value", "text"), [(NAN, "n/a"), (-0.01, "0.0"), (0.0, "0.0"), (100.0, "100.0")])
def test_number(value: float, text: str) -> None:
    assert number(value) == text


def test_overshooting_is_said_where_an_auc_is_clearly_below_guessing(finished: Path) -> None:
    table = read_run(finished).table
    low = [row.metric == "AUC" and row.hfc == "with" and row.detector == "MAHA" and row.ci_high < 50 for row in table]
    said = any("more normal than clean" in sentence for finding in headline(table) for sentence in finding.sentences)
    assert any(low)
    assert said


def test_a_terminal_shows_every_way_of_hiding() -> None:
    """Where there are more than without and with HFC, as of HFC-21 Table 3 and of HFC-23 Table III."""
    text = text_table(RESULTS / "rivals-fundus")
    ways = text[text.index("Way of hiding, no intervals") :].split("\n\n")[0].splitlines()
    assert [line.split("  ")[1] for line in ways[1:]] == [
        "without HFC",
        "with HFC",
        "Random guide",
        "Closest guide",
        "KDE",
        "LID",
    ]
    (found,) = [r for r in read_run(RESULTS / "rivals-fundus").table if CLOSEST.items() <= vars(r).items()]
    assert f"{found.value:.1f} (paper: {found.published:.1f})" in ways[4]
    assert "Way of hiding" not in text_table(RESULTS / "hiding-fundus")
