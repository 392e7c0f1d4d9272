"""Tables that compare Cushions: each number stands in its own place, and other runs have no such table."""

from __future__ import annotations

import re

from medaegis.report._cushions import cushion_grids
from medaegis.report._read import Row
from medaegis.report._stress_cushions import TO_NONE, stress_cushion_study, stress_cushion_tables
from medaegis.report._study import grid_lines

NAN = float("nan")
MODELS = ("net", "net behind jpeg:80", "net behind bits:3")


def row(metric: str, value: float, **changes) -> Row:
    fields = {"dataset": "Fundoscopy", "model": "net", "attack": "", "eps": "", "hfc": "", "detector": ""}
    fields |= {"metric": metric, "value": value, "ci_low": value - 1, "ci_high": value + 1, "n": 20, "published": NAN}
    return Row(**(fields | changes))


def detection(attack: str, model: str, start: float) -> list[Row]:
    """Adv. Acc is `start`; KD and DNN follow; plain attacks have 50 more."""
    rows = []
    for hfc, more in (("without", 50.0), ("with", 0.0)):
        place = {"attack": attack, "model": model, "eps": "16/256", "hfc": hfc}
        rows.append(row("Adv. Acc", start + more, **place))
        for i, name in enumerate(("KD", "DNN")):
            for k, metric in enumerate(("AUC", "TPR@90", "TNR achieved", "undetected"), start=1):
                rows.append(row(metric, start + more + k + 10 * i, detector=name, **place))
    return rows


def test_one_line_an_attack_and_detector_hidden_with_each_cushion_side_by_side() -> None:
    starts = {("MIM", "net"): 0.0, ("PGD", "net"): 1.0, ("MIM", MODELS[1]): 20.0, ("PGD", MODELS[1]): 21.0}
    table = [r for (attack, model), start in starts.items() for r in detection(attack, model, start)]
    ((caption, grid),) = cushion_grids(table).items()
    assert caption == "Without and behind a Cushion: Fundoscopy, 16/256"
    assert [line.name for line in grid.lines] == ["MIM + HFC: KD", "MIM + HFC: DNN", "PGD + HFC: KD", "PGD + HFC: DNN"]
    assert [column.variants for column in grid.columns] == [("no Cushion", "behind jpeg:80")] * 5
    found = {line.name: [float(cell.value) for cell in line.cells] for line in grid.lines}
    assert found["MIM + HFC: KD"] == [0, 20, 1, 21, 2, 22, 3, 23, 4, 24]
    assert found["PGD + HFC: DNN"] == [1, 21, 12, 32, 13, 33, 14, 34, 15, 35]


def test_runs_without_cushions_or_without_detectors_have_no_such_table() -> None:
    alone = detection("MIM", "net", 0.0)
    assert cushion_grids(alone) == {}
    assert cushion_grids(detection("MIM", MODELS[1], 0.0)) == {}  # nothing to compare it with
    assert cushion_grids([r for m in MODELS for r in detection("MIM", m, 0.0) if not r.detector]) == {}
    assert stress_cushion_study(alone) is None
    other = [row("change ratio", 5.0, attack="up a", eps="4/256", model=m) for m in ("net", "net2")]
    assert stress_cushion_tables(other) == ()


def stress() -> list[Row]:
    """Raised by 100, 10 and 20 %; relative to no Cushion by 1 less; lowered by 50, 5 and 8 %."""
    rows = []
    for dataset, less in (("Fundoscopy", 0.0), ("Chest X-ray", 0.5)):
        for model, up, down in zip(MODELS, (100.0, 10.0, 20.0), (-50.0, -5.0, -8.0), strict=True):
            for way, value in (("up", up), ("down", down)):
                place = {"dataset": dataset, "attack": f"{way} a.relu", "eps": "4/256", "model": model}
                rows.append(row("change ratio", value - less, **place))
                rows.append(row(TO_NONE, value - less - 1, published=481.0 if model == "net" else NAN, **place))
                rows.append(row("activation before", 4.0, **place))
                rows.append(row("activation after", 5.0, **place))
    return rows


def test_a_data_set_has_its_own_drawings_sentences_and_tables() -> None:
    study = stress_cushion_study(stress())
    assert study is not None
    assert [group.title for group in study.groups] == ["Fundoscopy, budget 4/256", "Chest X-ray, budget 4/256"]
    strokes = [[stroke.label for stroke in group.legend] for group in study.groups]
    assert strokes == [["no Cushion", "behind jpeg:80", "behind bits:3"]] * 2
    svgs = "".join(panel.svg for group in study.groups for panel in group.panels)
    ids = re.findall(r' id="([^"]+)"', svgs)
    assert len(ids) == len(set(ids))
    first, second = study.findings
    assert first.title == "Stress test of Fundoscopy with a budget of 4/256 (net)"
    assert first.lead.replace("\u00a0", " ") == (
        "At the last block, the mean activation can be raised by 100.0 % [99.0, 101.0] (no Cushion, n = 20), "
        "10.0 % [9.0, 11.0] (behind jpeg:80, n = 20), 20.0 % [19.0, 21.0] (behind bits:3, n = 20)."
    )
    assert "lowered by 50.5" in second.sentences[0]
    assert len(study.tables) == 2 * 3
    tables = [table for table in study.tables if table.caption.startswith("Fundoscopy.")]
    cells = [[cell.value for cell in table.grid.lines[0].cells] for table in tables[:2]]
    assert cells == [
        ["-50.0", "100.0", "-5.0", "10.0", "-8.0", "20.0"],
        ["-51.0", "99.0", "-6.0", "9.0", "-9.0", "19.0"],
    ]
    assert tables[1].caption.endswith("to clean images without a Cushion")


def test_a_terminal_has_the_papers_figures_too() -> None:
    (table,) = [t for t in stress_cushion_tables(stress()) if t.caption.startswith("Fund") and "without" in t.caption]
    head, line = grid_lines(table.grid)
    assert "99.0 [98.0, 100.0] (paper: 481.0)" in line
    assert head.index("no Cushion up") == line.index("99.0 [")
