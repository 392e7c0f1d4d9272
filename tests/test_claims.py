"""docs/claims.md shows what the stored results say of the papers' claims."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import claims_evidence
from claims_evidence import (
    Claim,
    Evidence,
    Figure,
    at_least,
    at_most,
    drops_at_most,
    falls_further,
    judged,
    judged_again,
    lower,
)
from claims_table import CLAIMS, drawn

PAGE = Path(__file__).parents[1] / "docs" / "claims.md"
ROWS = (
    {"attack": "BIM", "hfc": "without", "metric": "AUC", "value": 90.0, "ci_low": 85.0, "ci_high": 95.0},
    {"attack": "BIM", "hfc": "with", "metric": "AUC", "value": 40.0, "ci_low": 30.0, "ci_high": 50.0},
    {"attack": "PGD", "hfc": "without", "metric": "AUC", "value": 60.0, "ci_low": 50.0, "ci_high": 70.0},
    {"attack": "PGD", "hfc": "with", "metric": "AUC", "value": 65.0, "ci_low": 60.0, "ci_high": 75.0},
)


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(claims_evidence, "RESULTS", tmp_path)

    def lines(_run: str, _sheet: str) -> list[dict[str, Any]]:
        return list(ROWS)

    monkeypatch.setattr(claims_evidence, "lines_of", lines)


def test_the_page_shows_what_was_measured() -> None:
    assert "\n".join(drawn()) in PAGE.read_text()


def test_about_forty_claims_of_all_three_papers_each_said_once() -> None:
    assert len(CLAIMS) >= 40
    assert len({claim.says for claim in CLAIMS}) == len(CLAIMS)
    assert {claim.source.split()[0] for claim in CLAIMS} == {"HFC-21", "HFC-23", "Aegis"}


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("bound", "verdict", "evidence"),
    [
        (80, "holds", "run: 2 of 2 (40 to 65)"),
        (70, "holds", "run: 2 of 2 (40 to 65, 1 beyond doubt)"),
        (50, "in part", "run: 1 of 2 (40 to 65)"),
        (30, "does not hold", "run: 0 of 2 (40 to 65)"),
    ],
)
def test_an_upper_bound_counts_figures_and_intervals(bound: float, verdict: str, evidence: str) -> None:
    claim = Claim("paper", "low", tuple(at_most(bound, "run", hfc="with")), ("run",))
    assert judged(claim) == (verdict, evidence)


@pytest.mark.usefixtures("stored")
def test_a_lower_bound_is_the_other_way_round() -> None:
    claim = Claim("paper", "high", tuple(at_least(62, "run", hfc="without")), ("run",))
    assert judged(claim) == ("in part", "run: 1 of 2 (60 to 90)")


@pytest.mark.usefixtures("stored")
def test_a_comparison_is_with_the_row_that_differs_in_one_column() -> None:
    (ask,) = lower("run", than={"hfc": "without"}, by=("attack",), hfc="with")
    assert ask(None) == Evidence("run", (Figure(-50.0, True, True), Figure(5.0, False, False)), "points")


@pytest.mark.usefixtures("stored")
def test_a_drop_is_from_the_row_of_another_value_and_sure_by_the_ends_that_are_furthest_apart() -> None:
    (ask,) = drops_at_most(30, "run", than={"attack": "BIM"}, hfc="without")
    assert ask(None) == Evidence("run", (Figure(0.0, True, True), Figure(30.0, True, False)), "points")
    assert (
        judged(Claim("paper", "x", tuple(drops_at_most(29, "run", than={"attack": "BIM"}, hfc="without"))))[0]
        == "in part"
    )


@pytest.mark.usefixtures("stored")
def test_two_falls_are_compared() -> None:
    """BIM falls by 50 (35 to 65), PGD by -5 (-25 to 10)."""
    (ask,) = falls_further(
        "run", than={"attack": "PGD"}, by=("metric",), without={"hfc": "without"}, attack="BIM", hfc="with"
    )
    assert ask(None) == Evidence("run", (Figure(55.0, True, True),), "points")
    (ask,) = falls_further(
        "run", than={"attack": "BIM"}, by=("metric",), without={"hfc": "without"}, attack="PGD", hfc="with"
    )
    assert ask(None) == Evidence("run", (Figure(-55.0, False, False),), "points")


@pytest.mark.usefixtures("stored")
def test_a_run_that_is_not_stored_is_said_to_be_missing_and_a_wrong_row_is_an_error() -> None:
    assert judged(Claim("paper", "x", tuple(at_most(1, "other")), ("other",))) == (
        "not run yet",
        "`medaegis run other`",
    )
    with pytest.raises(AssertionError, match="no row"):
        judged(Claim("paper", "x", tuple(at_most(1, "run", attack="FGSM")), ("run",)))


@pytest.mark.usefixtures("stored")
def test_other_runs_are_asked_the_same() -> None:
    claim = Claim("paper", "x", tuple(at_most(50, "elsewhere", "nowhere", hfc="with")), ("elsewhere",))
    assert judged_again(claim, {"elsewhere": "run"}) == "in part: run: 1 of 2 (40 to 65)"
    assert judged_again(claim, {"elsewhere": "not stored"}) == judged_again(claim, {}) == ""
