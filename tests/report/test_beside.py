"""Tables of several data sets or substitutes: every figure in its line and column, and no such table elsewhere."""

from __future__ import annotations

from medaegis.report._beside import beside, whose
from medaegis.report._panels import _drawn_scopes
from medaegis.report._read import Row
from medaegis.report._study import grid_lines
from medaegis.report._tables import blocks, scopes

NAN = float("nan")
FROM = "net attacked from another net"


def row(metric: str, value: float, **changes) -> Row:
    fields = {"dataset": "Fundoscopy", "model": "net", "attack": "BIM", "eps": "4/256", "hfc": "", "detector": ""}
    fields |= {"metric": metric, "value": value, "ci_low": value - 1, "ci_high": value + 1, "n": 20, "published": NAN}
    return Row(**(fields | changes))


def attacked(start: float, *, made: bool = False, **place: str) -> list[Row]:
    """Adv. Acc is `start`, on the substitute one more, the transfer rate two more; AUCs 10 and 20 more; hidden + 1."""
    rows = []
    for i, hfc in enumerate(("without", "with")):
        figures = {"Adv. Acc": 0.0} | ({"Adv. Acc on the substitute": 1.0, "transfer rate": 2.0} if made else {})
        rows += [row(name, start + i + more, hfc=hfc, **place) for name, more in figures.items()]
        rows += [row("AUC", start + i + 10 * k, hfc=hfc, detector=d, **place) for k, d in ((1, "KD"), (2, "DNN"))]
    return rows


def test_substitutes_are_lines_and_what_was_not_measured_is_said() -> None:
    table = [*attacked(50.0, made=True, model=FROM), *attacked(70.0)]
    grid = beside(table)
    assert grid is not None
    heads = [column.metric for column in grid.columns]
    assert heads == ["Adv. Acc", "Adv. Acc on the substitute", "transfer rate", "KD AUC", "DNN AUC"]
    found = {(line.group, line.name): [cell.value for cell in line.cells] for line in grid.lines}
    assert found == {
        (FROM, "BIM 4/256, without HFC"): ["50.0", "51.0", "52.0", "60.0", "70.0"],
        (FROM, "BIM 4/256, with HFC"): ["51.0", "52.0", "53.0", "61.0", "71.0"],
        ("net", "BIM 4/256, without HFC"): ["70.0", "n/a", "n/a", "80.0", "90.0"],
        ("net", "BIM 4/256, with HFC"): ["71.0", "n/a", "n/a", "81.0", "91.0"],
    }
    assert grid_lines(grid)[1] == f"- {FROM}"
    first, second = blocks(table)
    assert [c.metric for c in first.classifier.columns][2:] == heads[:3]
    assert [c.metric for c in second.classifier.columns][2:] == ["Adv. Acc"]


def test_data_sets_have_their_own_budgets_and_drawings_are_of_the_first() -> None:
    table = [
        *attacked(10.0, dataset="CIFAR-10", eps="8/256"),
        *attacked(30.0, dataset="CIFAR-10", eps="16/256"),
        *attacked(50.0, dataset="Chest X-ray", eps="8/256"),
        *attacked(60.0, dataset="Chest X-ray", eps="1/256"),
    ]
    grid = beside(table)
    assert grid is not None
    assert [(line.group, line.name.partition(",")[0]) for line in grid.lines[::2]] == [
        *(("CIFAR-10", "BIM 8/256"), ("CIFAR-10", "BIM 16/256")),
        *(("Chest X-ray", "BIM 1/256"), ("Chest X-ray", "BIM 8/256")),
    ]  # fmt: skip
    assert [line.cells[0].value for line in grid.lines[::2]] == ["10.0", "30.0", "60.0", "50.0"]
    assert [whose(table, scope) for scope in scopes(table)] == ["CIFAR-10"] * 2 + ["Chest X-ray"] * 2
    assert [(s.dataset, s.eps) for s in _drawn_scopes(table)] == [("CIFAR-10", "8/256"), ("CIFAR-10", "16/256")]


def test_other_runs_have_no_such_table() -> None:
    assert beside(attacked(10.0)) is None  # nothing to stand beside
    assert beside([*attacked(10.0), *attacked(20.0, model="net behind jpeg:80")]) is None  # Cushions have their own
    without = [r for model in ("net", FROM) for r in attacked(10.0, model=model) if not r.detector]
    assert beside(without) is None
    assert whose(attacked(10.0), scopes(attacked(10.0))[0]) == ""
