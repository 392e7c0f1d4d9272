"""The page on defences: sentences, cells, drawings and lines for the terminal, from hand-made tables."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import pytest

from medaegis._errors import DataError
from medaegis.experiment._adversaries import ADVERSARIES, HALF
from medaegis.experiment._defence_content import WORST as NAMED_WORST
from medaegis.report import render_report, text_table
from medaegis.report._defence import defence_study
from medaegis.report._defence_tables import (
    ADAPTIVE,
    CONVENTIONAL,
    GROUPS,
    HALVED,
    WORST,
    Trials,
    defence_tables,
    trials_of,
)
from medaegis.report._defence_words import OWN, defence_glossary
from medaegis.report._glossary import ATTACKS
from medaegis.report._read import Row, TrainingLine, read_run
from medaegis.report._tables import interval, number
from report.fake_defence import DEFENCES, write_fake_defence
from report.test_page import parse

NAN = math.nan
SHIELD, AEGIS = "Shield, paper", "Medical Aegis (jpeg:80), paper"
METRICS = ("Adv. Acc", "undetected", "AUC", "AUC, successful")


def row(metric: str, value: float, attack: str = "", eps: str = "", detector: str = SHIELD, **changes) -> Row:
    n = 0 if math.isnan(value) else 40
    fields = {"dataset": "D", "model": "M", "attack": attack, "eps": eps, "hfc": "", "detector": detector}
    fields |= {"metric": metric, "value": value, "ci_low": value - 2, "ci_high": value + 2, "n": n, "published": NAN}
    return Row(**(fields | changes))


def tried(
    attack: str, eps: str, values: tuple[float, ...], published: float = NAN, detector: str = SHIELD
) -> list[Row]:
    rows = [row(metric, value, attack, eps, detector) for metric, value in zip(METRICS, values, strict=True)]
    return [replace(r, published=published) if r.metric == "AUC" else r for r in rows]


def clean(detector: str, *values: float) -> list[Row]:
    names = ("clean accuracy", "clean AUC", "clean rejected", "TNR achieved")
    return [row(name, value, detector=detector) for name, value in zip(names, values, strict=True)]


TABLE = [
    *clean(SHIELD, 95.0, 98.0, 11.0, 89.0),
    *tried("WB by Adam on tanh", "8/256", (50.0, 10.0, 80.0, 70.0)),
    *tried("PGD", "16/256", (100.0, 5.0, 97.0, 97.0), 98.1),
    *tried("PGD-L2", "8/256", (90.0, 0.0, 99.0, 98.0), 97.2),
    *tried("WB", "16/256", (80.0, 15.0, 70.0, 60.0), 90.2),
    *tried("WB by Adam on tanh", "16/256", (100.0, 60.0, 30.0, 30.0)),
    *tried("WB, fine steps, best", "16/256", (100.0, 60.0, 25.0, 20.0)),
    *tried("Worst case", "16/256", (100.0, 75.0, 20.0, 18.0)),
    *tried("Worst case", "8/256", (50.0, 10.0, 80.0, 70.0)),
    *clean(AEGIS, 94.0, 97.0, 12.0, 88.0),
    *tried("WB by Adam on tanh", "8/256", (0.0, 0.0, 55.0, NAN), detector=AEGIS),
    *tried("WB by Adam on tanh", "16/256", (0.0, 0.0, 60.0, NAN), detector=AEGIS),
    *tried("Worst case", "8/256", (0.0, 0.0, 55.0, NAN), detector=AEGIS),
    *tried("Worst case", "16/256", (0.0, 0.0, 60.0, NAN), detector=AEGIS),
]
TRAINING = [
    TrainingLine(SHIELD, 1, 1 / 256, 0.6, 0.5),
    TrainingLine(SHIELD, 2, 8.5 / 256, 0.4, 0.9),
    TrainingLine(SHIELD, 3, 16 / 256, 0.3, 0.8),
]


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def study(table=TABLE, training=()):
    found = defence_study(table, training)
    assert found is not None
    return found


def shield_alone(table=TABLE) -> list[Row]:
    return [r for r in table if r.detector == SHIELD]


def test_the_worst_case_leads_and_every_sentence_is_exact() -> None:
    finding = study().findings[0]
    assert plain(finding.title) == "Shield, paper, against 5 attackers (D, M)"
    assert plain(finding.lead) == (
        "With a budget of 16/256, some attacker fools the classifier and is accepted in 75.0 % [73.0, 77.0] of cases "
        "(n = 40)."
    )
    assert [plain(said) for said in finding.sentences] == [
        "By budget, that share is 10.0 % [8.0, 12.0] at 8/256 and 75.0 % [73.0, 77.0] at 16/256. In the worst case, "
        "the AUC over the attacks that fool the classifier is 70.0 % [68.0, 72.0] at 8/256 and 18.0 % [16.0, 20.0] at "
        "16/256. Below 16/256 only WB by Adam on tanh attacked; the others may get further there.",
        "Alone, \u201cWB, fine steps, best\u201d gets furthest at 16/256, one of those beyond the paper: "
        "undetected in 60.0 % [58.0, 62.0] of cases (1 other as often), with an AUC over its successful attacks of "
        "20.0 % [18.0, 22.0]. Of the 3 attackers of the paper, WB gets furthest, with 15.0 % [13.0, 17.0].",
        "Of the paper\u2019s 3 AUCs for this defence (90.2 to 98.1 %), 2 hold here (PGD and PGD-L2): the measured "
        "interval reaches the published figure; 1 does not: WB with 70.0 % [68.0, 72.0] against 90.2. The 2 attackers "
        "that the paper does not have bring the same AUC to 25.0 % [23.0, 27.0], at the lowest "
        "(\u201cWB, fine steps, best\u201d).",
        "On clean test images, the classifier is right in 95.0 % [93.0, 97.0] of cases, with an AUC of 98.0 % "
        "[96.0, 100.0]; 11.0 % [9.0, 13.0] of them are rejected. Of those that it judges rightly and that set no "
        "threshold, 89.0 % [87.0, 91.0] pass (achieved TNR; the aim is 90 %).",
    ]


def test_what_the_shield_tells_of_unchanged_images_follows_the_clean_cost() -> None:
    said = plain(study([*TABLE, row("AUC, unchanged", 70.0)]).findings[0].sentences[-1])
    assert said.endswith(
        "the aim is 90 %). Unchanged images of another class are told from a class\u2019s own with an AUC of 70.0 % "
        "[68.0, 72.0]: attacks on the Shield only lower that."
    )


def test_the_papers_own_attacker_may_get_furthest() -> None:
    table = [replace(r, value=90.0) if (r.metric, r.attack) == ("undetected", "WB") else r for r in shield_alone()]
    said = plain(study(table).findings[0].sentences[1])
    assert said.startswith("Alone, WB gets furthest at 16/256, one of the paper\u2019s own: undetected in 90.0 % ")
    assert said.endswith(
        "Of the 2 attackers beyond the paper, \u201cWB, fine steps, best\u201d gets furthest, with 60.0 % [58.0, 62.0]."
    )
    one = [r for r in table if "fine" not in r.attack]
    said = plain(study(one).findings[0].sentences[1])
    assert said.endswith(
        "The only attacker beyond the paper, WB by Adam on tanh, is undetected in 60.0 % [58.0, 62.0]."
    )
    none = [replace(r, value=0.0) if (r.metric, r.attack) == ("undetected", "WB by Adam on tanh") else r for r in one]
    assert plain(study(none).findings[0].sentences[1]).endswith(
        "The only attacker beyond the paper does not get past it."
    )


def test_where_no_attack_succeeds_the_sentences_say_so() -> None:
    finding = study().findings[1]
    assert plain(finding.lead) == (
        "With a budget of 16/256, no attacker fools the classifier and is accepted in any case: 0.0 % [-2.0, 2.0] "
        "(n = 40)."
    )
    first, cost = (plain(said) for said in finding.sentences)  # nobody gets furthest, nothing is published
    assert first.endswith(
        "the AUC over the attacks that fool the classifier is n/a at 8/256 (no attack fools the classifier) and n/a at "
        "16/256 (no attack fools the classifier)."
    )
    assert "behind the Cushion is right in 94.0 % [92.0, 96.0]" in cost
    assert "(without it 95.0 % [93.0, 97.0] and 98.0 % [96.0, 100.0])" in cost
    assert "nan" not in " ".join([finding.lead, *finding.sentences])


def test_one_budget_has_no_curve_and_no_talk_of_others() -> None:
    found = study([r for r in shield_alone() if not (r.eps == "8/256" and "L2" not in r.attack)])
    assert found.groups == ()
    said = plain(found.findings[0].sentences[0])
    assert (
        said == "In the worst case, the AUC over the attacks that fool the classifier is 18.0 % [16.0, 20.0] (n = 40)."
    )
    assert "without it" not in " ".join(found.findings[0].sentences)


def test_one_budget_at_which_no_attack_succeeds() -> None:
    rows = [*clean(SHIELD, 95.0, 98.0, 11.0, 89.0), *tried("WB", "4/256", (0.0, 0.0, 60.0, NAN))]
    (finding,) = study([*rows, *tried(WORST, "4/256", (0.0, 0.0, 60.0, NAN))]).findings
    assert finding.sentences[0].endswith("fool the classifier is n/a (no attack fools the classifier).")
    assert len(finding.sentences) == 2


def test_a_defence_that_nobody_attacked_is_not_called_strong() -> None:
    finding = study([*shield_alone(), *clean(AEGIS, 94.0, 97.0, 12.0, 88.0)]).findings[1]
    assert finding.lead.endswith("so the run says nothing of its strength.")
    assert len(finding.sentences) == 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((97.0, 99.0, 89.0), "all hold here: the measured interval reaches the published figure."),
        ((50.0, 60.0, 40.0), "none holds here: no measured interval reaches the published figure; furthest off is WB"),
        ((NAN, 99.0, 40.0), "1 does not: WB with 40.0 % [38.0, 42.0] against 90.2; 1 could not be measured (PGD)."),
    ],
)
def test_the_papers_figures_hold_where_the_interval_reaches_them(values: tuple[float, ...], said: str) -> None:
    given = dict(zip(("PGD", "PGD-L2", "WB"), values, strict=True))
    changes = [
        row("AUC", given[r.attack], r.attack, r.eps, published=r.published)
        if r.metric == "AUC" and r.attack in given
        else r
        for r in shield_alone()
    ]
    assert said in plain(study(changes).findings[0].sentences[2])


def test_tables_hold_every_attacker_in_its_group_and_the_worst_case_last() -> None:
    worst, areas, undetected, successful, cost = defence_tables(TABLE)
    assert [(line.group, line.name, [c.value for c in line.cells]) for line in worst.grid.lines] == [
        ("Fooled and accepted (undetected)", "8/256", ["10.0", "0.0"]),
        ("Fooled and accepted (undetected)", "16/256", ["75.0", "0.0"]),
        ("AUC over successful attacks", "8/256", ["70.0", "n/a"]),
        ("AUC over successful attacks", "16/256", ["18.0", "n/a"]),
        ("Fooled, accepted or not (Adv. Acc)", "8/256", ["50.0", "0.0"]),
        ("Fooled, accepted or not (Adv. Acc)", "16/256", ["100.0", "0.0"]),
    ]
    assert [(line.group, line.name, line.cells[0].value, line.cells[0].published) for line in areas.grid.lines] == [
        (GROUPS[0], "PGD", "97.0", "98.1"),
        (GROUPS[0], "PGD-L2 (budget 8/256)", "99.0", "97.2"),
        (GROUPS[1], "WB", "70.0", "90.2"),
        (GROUPS[2], "WB by Adam on tanh", "30.0", ""),
        (GROUPS[2], "WB, fine steps, best", "25.0", ""),
        ("All attackers together", "Worst case", "20.0", ""),
    ]
    assert [line.marked for line in areas.grid.lines] == [False] * 5 + [True]
    assert [line.cells[1].value for line in undetected.grid.lines] == ["n/a", "n/a", "n/a", "0.0", "n/a", "0.0"]
    assert [line.cells[0].value for line in successful.grid.lines] == ["97.0", "98.0", "60.0", "30.0", "20.0", "18.0"]
    assert successful.grid.lines[-1].cells[1].reason == "no case to measure it on (n = 0)"
    assert [[c.value for c in line.cells] for line in cost.grid.lines][1] == ["94.0", "97.0", "12.0", "88.0", "n/a"]


def test_an_l2_attackers_row_is_not_taken_for_one_of_a_smaller_budget() -> None:
    trials = trials_of(TABLE)
    assert trials is not None
    assert trials.attackers("8/256") == ("WB by Adam on tanh",)
    assert trials.attackers("16/256", AEGIS) == ("WB by Adam on tanh",)


def test_groups_and_budgets_are_those_of_the_attackers() -> None:
    """What the report knows of titles is what the recipes say of them."""
    assert WORST == NAMED_WORST
    by_group = {"conventional": CONVENTIONAL, "adaptive": ADAPTIVE}
    for one in ADVERSARIES.values():
        assert (one.title in HALVED) == (one.scale == HALF)
        assert [name for name, titles in by_group.items() if one.title in titles] == [one.group] * (
            one.group != "beyond"
        )


def test_curves_have_a_line_a_defence_and_leave_gaps() -> None:
    curves, learned = study(training=TRAINING).groups
    assert [stroke.label for stroke in curves.legend] == [SHIELD, AEGIS, "guessing (AUC of 50 %)"]
    assert len({stroke.dash for stroke in curves.legend}) == 3  # told apart without colour
    undetected, areas = curves.panels
    assert plain(undetected.note) == f"At 16/256: {SHIELD}: 75.0 %; {AEGIS}: 0.0 %."
    assert f"{AEGIS}: 8/256 n/a, 16/256 n/a." in plain(areas.svg)
    assert f"{SHIELD}: 8/256 70.0 %, 16/256 18.0 %;" in plain(areas.svg)
    (panel,) = learned.panels
    assert panel.title == SHIELD
    assert plain(panel.note) == (
        "Best validation AUC 90.0 %, in epoch 2 of 3; in the last one 30.0 % of the training attacks reach their aim."
    )
    assert ">8.5<" in panel.svg  # the budget beneath its epoch
    ids = re.findall(r' id="([^"]+)"', "".join(p.svg for group in (curves, learned) for p in group.panels))
    assert len(ids) == len(set(ids))


def test_a_training_of_one_epoch_is_drawn() -> None:
    learned = study(training=[TrainingLine(SHIELD, 1, 1 / 256, 0.6, NAN)]).groups[1]
    assert plain(learned.panels[0].note).startswith("Best validation AUC n/a, in epoch 1 of 1")


@pytest.mark.parametrize("table", [[], [row("Adv. Acc", 50.0, "PGD", "1/256")], [row("AUC", 50.0, "PGD", "1/256")]])
def test_other_tables_are_no_trial_of_defences(table: list[Row]) -> None:
    assert defence_study(table, TRAINING) is None
    assert defence_tables(table) == ()


def test_the_glossary_explains_every_term_and_attacker() -> None:
    words = defence_glossary([one.title for one in ADVERSARIES.values()], METRICS)
    terms = (
        "Worst case",
        "undetected",
        "AUC, successful",
        "BPDA",
        "EOT",
        "Cushion",
        "Shield",
        "Budget of L2 attackers",
    )
    assert {*terms, "WB", "WB_d"} <= set(words)
    assert {one.title for one in ADVERSARIES.values()} <= {*OWN, *ATTACKS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = write_fake_defence(tmp_path_factory.mktemp("defence") / "run", budgets=(4, 16))
    render_report(made)
    return made


def test_the_page_is_whole_and_its_ids_are_unique(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    reader = parse(page)
    assert reader.open == []
    ids = [a["id"] for _, a in reader.seen if "id" in a]
    assert len(ids) == len(set(ids))
    labels = [a["aria-labelledby"] for _, a in reader.seen if "aria-labelledby" in a]
    assert set(labels) <= set(ids)
    drawings = [a for tag, a in reader.seen if tag == "svg" and a.get("role") == "img"]
    assert len(drawings) == 2 + len(DEFENCES)
    assert all(a["aria-label"] for a in drawings)
    assert not re.search(r"\b(nan|None)\b", " ".join(reader.text))
    assert page.index("What the run found") < page.index("The worst case over budgets") < page.index("In numbers")
    assert len(re.findall(r'<tr class="marked">', page)) == 3
    assert len(re.findall(r'<th scope="rowgroup"', page)) == 3 * 4 + 3


def test_every_number_of_the_tables_stands_in_table_csv(folder: Path) -> None:
    table = read_run(folder).table
    printed = {(number(r.value), interval(r)) for r in table if math.isfinite(r.value)}
    cells = [c for t in defence_tables(table) for line in t.grid.lines for c in line.cells if not c.reason]
    assert len(cells) > 3 * 3 * 26
    assert {(c.value, c.interval) for c in cells} <= printed


def test_a_run_without_training_curves(folder: Path, tmp_path: Path) -> None:
    for name in ("manifest.json", "table.csv"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    page = render_report(tmp_path).read_text(encoding="utf-8")
    assert "How the Shields learned" not in page
    assert "The worst case over budgets" in page
    pc.write_csv(pa.Table.from_pylist([{"defence": SHIELD, "epoch": 1}]), tmp_path / "training.csv")
    with pytest.raises(DataError, match=r"training\.csv"):
        render_report(tmp_path)


def test_the_terminal_begins_with_the_worst_case(folder: Path) -> None:
    lines = text_table(folder).splitlines()
    for line, name in zip(lines, DEFENCES, strict=False):
        assert re.match(re.escape(name) + r", against \d\d attackers .*: With a budget of 16/256, some attacker", line)
    assert lines[4] == "Worst case by budget, in percent"
    assert lines[6] == "- Fooled and accepted (undetected)"
    assert [line.split()[0] for line in lines[7:9]] == ["4/256", "16/256"]
    assert any(re.match(r"BIM +[\d.]+ \[[\d., ]+\] \(paper: 98\.1\)", line) for line in lines)
    assert "\u00a0" not in "\n".join(lines[:4])
    assert max(len(line) for line in lines[4:]) <= 160


def test_conventional_attackers_that_hfc_hides_are_the_papers() -> None:
    trials = Trials(())
    assert [trials.group(name) for name in ("BIM", "BIM + HFC", "WB + HFC")] == list(GROUPS)
    words = defence_glossary(["BIM + HFC", "WB + HFC"], [])
    assert words["BIM + HFC"].startswith("BIM that also pulls")
    assert words["WB + HFC"] == OWN["WB + HFC"]
