"""Pages on several data sets or networks show each: nothing of the second is dropped or mixed into the first."""

from __future__ import annotations

from typing import Any

from medaegis.report._defence import defence_study
from medaegis.report._defence_tables import defence_tables
from medaegis.report._lesions import lesion_findings, lesion_grid, lesion_text
from medaegis.report._read import Row

NAN = float("nan")
SETS = (("Fundus", "net", 10.0), ("X-ray", "net", 60.0), ("X-ray", "other", 90.0))


def row(attack: str, metric: str, value: float, **more: Any) -> Row:
    fields = {"dataset": "", "model": "", "attack": attack, "eps": "16/256", "hfc": "", "detector": "Shield", "n": 9}
    fields |= {"metric": metric, "value": value, "ci_low": value - 1, "ci_high": value + 1, "published": NAN}
    return Row(**(fields | more))


def test_each_set_has_its_own_defence_tables_and_findings() -> None:
    table = [
        row(attack, metric, value, dataset=dataset, model=model)
        for dataset, model, value in SETS
        for attack in ("PGD", "Worst case")
        for metric in ("undetected", "AUC", "AUC, successful", "Adv. Acc")
    ]
    study = defence_study(table, [])
    assert study is not None
    assert [finding.title.replace("\u00a0", " ") for finding in study.findings] == [
        f"Shield, against 1 attacker ({dataset}, {model})" for dataset, model, _ in SETS
    ]
    worst = [one for one in study.tables if "worst case by budget" in one.caption]
    assert [one.caption.partition(":")[0] for one in worst] == [f"{dataset}, {model}" for dataset, model, _ in SETS]
    assert [one.grid.lines[0].cells[0].value for one in worst] == ["10.0", "60.0", "90.0"]
    assert defence_tables(table[:8])[0].caption == "Worst case by budget, in percent"


def test_each_set_has_its_own_lesions() -> None:
    table = [
        row("small lesions x 2", metric, value + shift, dataset=dataset, model=model, eps="")
        for dataset, model, value in SETS
        for metric, shift in (("AUC", 0.0), ("FR", 1.0), ("AUC with changed", 2.0))
    ]
    grid = lesion_grid(table)
    assert grid is not None
    names = [f"{dataset}, {model}" for dataset, model, _ in SETS]
    assert [line.group for line in grid.lines] == names
    assert [[cell.value for cell in line.cells] for line in grid.lines] == [
        ["10.0", "11.0", "12.0"],
        ["60.0", "61.0", "62.0"],
        ["90.0", "91.0", "92.0"],
    ]
    assert [finding.title for finding in lesion_findings(table)] == [f"Synthetic lesions ({name})" for name in names]
    assert [line[2:] for line in lesion_text(table) if line.startswith("- ")] == names
    assert not any(line.group for line in lesion_grid(table[:3]).lines)  # pyright: ignore[reportOptionalMemberAccess]
