"""The pages of the stress test and of the gradient's direction: what they draw, tabulate and say."""

from __future__ import annotations

import re

import numpy as np
import pytest

from medaegis.report._direction import direction_study, direction_tables
from medaegis.report._read import Embedding, Row
from medaegis.report._stress import stress_study, stress_tables
from medaegis.report._study import tables_text

NAN = float("nan")


def row(metric: str, attack: str, value: float, dataset: str = "Fundoscopy", spread: float = 1.0, **changes) -> Row:
    fields = {"dataset": dataset, "model": "M", "attack": attack, "eps": "1/256", "hfc": "", "detector": ""}
    fields |= {"metric": metric, "value": value, "ci_low": value - spread, "ci_high": value + spread, "n": 40}
    return Row(**(fields | {"published": NAN} | changes))


STRESS = [
    row("clean accuracy", "", 90.0, eps=""),
    row("clean accuracy", "", 60.0, "CIFAR-10", eps=""),
    *(row("change ratio", f"up {layer}", v, eps="8/256") for layer, v in (("a.relu", 10.0), ("b.relu#2", 446.0))),
    *(row("change ratio", f"down {layer}", v, eps="8/256") for layer, v in (("a.relu", -9.0), ("b.relu#2", -74.0))),
    *(
        row("change ratio", f"{w} {layer}", v)
        for w, v in (("up", 30.0), ("down", -20.0))
        for layer in ("a.relu", "b.relu#2")
    ),
    *(
        row("change ratio", f"{w} {layer}", v, "CIFAR-10")
        for w, v in (("up", 5.0), ("down", -19.0))
        for layer in ("a.relu", "b.relu#2")
    ),
    row("activation before", "down a.relu", 4.75, published=4.7),
    row("activation after", "down a.relu", 3.22),
    row("activation after", "up a.relu", 8.42),
]


def plain(text: str) -> str:
    return text.replace("\u00a0", " ").replace("\u2212", "-")


def test_stress_has_a_group_a_budget_and_a_panel_a_direction() -> None:
    study = stress_study(STRESS)
    assert [group.title for group in study.groups] == ["Budget 1/256", "Budget 8/256"]
    assert [panel.title for panel in study.groups[0].panels] == ["Lowered", "Raised"]
    assert [stroke.label for stroke in study.groups[0].legend] == ["Fundoscopy", "CIFAR-10"]
    assert plain(study.groups[0].panels[1].note) == "Last block: Fundoscopy +30 %, CIFAR-10 +5 %."
    assert plain(study.groups[1].panels[0].note) == "Last block: Fundoscopy -74 %."
    svgs = [panel.svg for group in study.groups for panel in group.panels]
    ids = re.findall(r' id="([^"]+)"', "".join(svgs))
    assert len(ids) == len(set(ids))


def test_stress_sentences_say_only_what_intervals_bear() -> None:
    first, second = stress_study(STRESS).findings
    assert plain(first.lead) == (
        "At the last block, the mean activation can be raised by 30.0 % [29.0, 31.0] on Fundoscopy (n = 40) and "
        "5.0 % [4.0, 6.0] on CIFAR-10 (n = 40)."
    )
    assert plain(first.sentences[0]).startswith("It can be lowered by 20.0 % [19.0, 21.0] on Fundoscopy")
    assert first.sentences[1] == "Features of Fundoscopy can be raised furthest; its interval lies above the others."
    assert "Which can be lowered furthest is open" in first.sentences[2]
    assert "another seed" in first.sentences[3]
    assert "446.0 %" in plain(second.lead)
    assert len(second.sentences) == 1  # nothing to compare it with


def test_a_change_against_the_direction_keeps_its_sign() -> None:
    rows = [row("change ratio", "up a", -3.0), row("change ratio", "down a", 2.0)]
    (finding,) = stress_study(rows).findings
    assert "raised by -3.0 % [-4.0, -2.0]" in plain(finding.lead)
    assert "lowered by -2.0 % [-3.0, -1.0]" in plain(finding.sentences[0])


def test_stress_tables_hold_ratios_and_activations() -> None:
    tables = stress_tables(STRESS)
    assert [table.caption for table in tables][::2] == [
        "Change of the mean activation in percent, budget 1/256",
        "Change of the mean activation in percent, budget 8/256",
    ]
    ratios = {line.name: [cell.value for cell in line.cells] for line in tables[0].grid.lines}
    assert ratios == {"a.relu": ["-20.0", "30.0", "-19.0", "5.0"], "b.relu#2": ["-20.0", "30.0", "-19.0", "5.0"]}
    (line,) = tables[1].grid.lines
    assert [cell.value for cell in line.cells] == ["4.75", "3.22", "8.42"]
    assert line.cells[0].published == "4.70"
    text = tables_text(STRESS, tables)
    assert text[0] == "Fundoscopy, M: clean accuracy 90.0 [89.0, 91.0] n=40"
    assert any("a.relu" in part and "30.0 [29.0, 31.0]" in part for part in text)


def test_a_missing_ratio_leaves_a_gap() -> None:
    rows = [row("change ratio", f"{w} {layer}", v) for w in ("up", "down") for layer, v in (("a", 1.0), ("b", NAN))]
    study = stress_study(rows)
    assert "n/a" in study.groups[0].panels[0].note
    assert "has no ratio" in study.findings[0].lead


ONE, MANY = "Fundoscopy, a to b", "CIFAR-10, other classes to airplane"
DIRECTION = [
    row("Pearson correlation", "BIM", 81.0, ONE),
    row("Spearman correlation", "BIM", 79.0, ONE),
    row("Pearson correlation", "Noise", -4.0, ONE),
    row("similarity of attacks", "FGSM, BIM", 83.2, ONE, published=83.2),
    row("similarity of attacks", "FGSM, Noise", 10.0, ONE),
    row("similarity of attacks", "BIM, Noise", -12.0, ONE),
    row("similarity of iterations", "2, 4", 91.5, ONE),
    row("similarity of iterations", "2, 4", 92.8, MANY),
]
CHANNELS = Embedding(np.arange(4.0), np.array([0.0, 1.0, 3.0, 2.0]), np.array([ONE] * 4))


def test_direction_draws_scatter_and_matrices() -> None:
    study = direction_study(DIRECTION, CHANNELS)
    scatter, matrices = study.groups
    assert [panel.title for panel in scatter.panels] == [ONE]
    assert plain(scatter.panels[0].note) == "Pearson 0.81 [0.80, 0.82], Spearman 0.79 [0.78, 0.80]; 4 channels."
    assert [panel.title for panel in matrices.panels] == [ONE, ONE, MANY]
    svg = matrices.panels[0].svg
    assert ">0.83<" in svg
    assert plain(svg).count(">-0.12<") == 2  # a symmetric matrix
    assert svg.count(">1.00<") == 3
    ids = re.findall(r' id="([^"]+)"', "".join(panel.svg for group in study.groups for panel in group.panels))
    assert len(ids) == len(set(ids))
    assert len(direction_study(DIRECTION, None).groups) == 1


def test_direction_sentences_set_noise_beside_the_attacks() -> None:
    first, second = direction_study(DIRECTION, CHANNELS).findings
    assert "correlation of 0.81 [0.80, 0.82] over channels (n = 40 cases)" in plain(first.lead)
    assert plain(first.sentences[0]) == "Noise of the same budget, the control, has -0.04 [-0.05, -0.03]."
    assert "from 0.83 [0.82, 0.84] (FGSM and BIM) to" in first.sentences[1]
    assert plain(first.sentences[1]).endswith("and noise, from -0.12 [-0.13, -0.11] to 0.10 [0.09, 0.11].")
    assert "Consistent" in second.lead
    assert "0.93 [0.92, 0.94] (2 and 4)" in second.sentences[0]


def test_direction_tables_put_the_papers_figure_beside_ours() -> None:
    correlations, attacks, iterations = direction_tables(DIRECTION)
    assert [line.name for line in correlations.grid.lines] == ["BIM", "Noise"]
    assert attacks.grid.lines[0].name == "FGSM and BIM"
    assert attacks.grid.lines[0].cells[0].published == "83.2"
    assert [cell.value for cell in iterations.grid.lines[0].cells] == ["91.5", "92.8"]


@pytest.mark.parametrize("table", [[], [row("Adv. Acc", "BIM", 50.0)]])
def test_other_tables_are_no_study(table) -> None:
    assert stress_study(table) is None
    assert direction_study(table, None) is None
    assert stress_tables(table) == direction_tables(table) == ()
