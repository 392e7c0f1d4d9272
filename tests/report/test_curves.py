"""Curves of success against the budget: what they draw, and what they say in words."""

from __future__ import annotations

import re

import pytest

from medaegis.report._curves import curve_findings, grid_text, success_curves
from medaegis.report._read import Row

NAN = float("nan")


def row(attack: str, eps: str, value: float, **changes) -> Row:
    fields = {"dataset": "D", "model": "M", "attack": attack, "eps": eps, "hfc": "", "detector": ""}
    fields |= {"metric": "Adv. Acc", "value": value, "ci_low": value - 5, "ci_high": value + 5, "n": 40}
    return Row(**(fields | {"published": NAN} | changes))


TABLE = [
    *(row("BIM", eps, value) for eps, value in (("4/256", 100.0), ("1/256", 40.0), ("2/256", 80.0))),
    *(row("FGSM", eps, value) for eps, value in (("1/256", 45.0), ("2/256", 50.0), ("4/256", 60.0))),
    row("", "", 97.0, metric="clean AUC"),
    row("BIM", "1/256", 9.0, hfc="with"),
    row("BIM", "1/256", 9.0, detector="KD", metric="AUC"),
    row("Once", "1/256", 30.0),
]


def test_every_attack_with_enough_budgets_has_a_panel_in_order() -> None:
    curves = success_curves(TABLE)
    assert [panel.attack for panel in curves.panels] == ["BIM", "FGSM"]
    assert "1/256: 40 %, 2/256: 80 %, 4/256: 100 %" in curves.panels[0].svg
    assert curves.panels[0].note == "40 % to 100 %"
    ids = re.findall(r' id="([^"]+)"', "".join(panel.svg for panel in curves.panels))
    assert len(ids) == len(set(ids))


def test_the_table_has_every_attack_at_every_budget() -> None:
    grid = success_curves(TABLE).grid
    assert [column.metric for column in grid.columns] == ["1/256", "2/256", "4/256"]
    values = {line.name: [cell.value for cell in line.cells] for line in grid.lines}
    assert values == {
        "BIM": ["40.0", "80.0", "100.0"],
        "FGSM": ["45.0", "50.0", "60.0"],
        "Once": ["30.0", "n/a", "n/a"],
    }
    assert grid_text(success_curves(TABLE))[1].split() == ["BIM", "40.0", "80.0", "100.0"]


@pytest.mark.parametrize(
    "table", [[], TABLE[:2], [row("BIM", "", 1.0), row("BIM", "?", 2.0), row("BIM", "3/256", NAN)]]
)
def test_too_little_gives_no_curves(table) -> None:
    assert success_curves(table) is None


def test_the_finding_names_the_strongest_attack_and_the_smallest_sufficient_budget() -> None:
    (finding,) = curve_findings(TABLE)
    assert "3 attacks" in finding.title
    assert finding.lead.replace("\u00a0", " ").startswith("A budget of 2/256 is enough to change")
    assert "80.0 % [75.0, 85.0] of cases (n = 40), with BIM" in finding.lead.replace("\u00a0", " ")
    assert "1/256: 45.0 % (FGSM), 2/256: 80.0 % (BIM), 4/256: 100.0 % (BIM)" in finding.sentences[0].replace(
        "\u00a0", " "
    )
    (weak,) = curve_findings([row("BIM", eps, 10.0) for eps in ("1/256", "2/256", "4/256")])
    assert weak.lead.startswith("No attack changes the decision of the classifier in half")
