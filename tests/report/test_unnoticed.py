"""What gets past the detectors: the headline's figure, and each detector's own white-box attack."""

from __future__ import annotations

import math
from dataclasses import replace

from medaegis.report._crossed import crossings, difference_grid
from medaegis.report._headline import headline, other_attacks
from medaegis.report._read import DifferenceLine, MatrixLine, Row
from medaegis.report._tables import Scope, blocks
from medaegis.report._unnoticed import strongest, unnoticed, white_box_grid

NAN = math.nan
SCOPE = Scope("CXR", "net", "BIM", "1/256")


def row(metric: str, value: float, hfc: str, detector: str = "", n: int = 50) -> Row:
    ends = {"value": value, "ci_low": value - 1, "ci_high": value + 1, "n": n, "published": NAN}
    return Row(dataset="CXR", model="net", attack="BIM", eps="1/256", hfc=hfc, detector=detector, metric=metric, **ends)  # pyright: ignore[reportArgumentType]


def undetected(**by_way: tuple[float, float]) -> list[Row]:
    """Undetected success against KD and MAHA, by way."""
    names = {"without": "without", "hfc": "with", "kd": "white-box KD", "maha": "white-box MAHA, selective"}
    return [
        row("undetected", value, names[way], detector)
        for way, pair in by_way.items()
        for detector, value in zip(("KD", "MAHA"), pair, strict=True)
    ]


def test_the_attacker_takes_the_best_way_and_the_defender_the_best_detector() -> None:
    table = undetected(without=(10.0, 5.0), hfc=(60.0, 20.0), kd=(90.0, 1.0), maha=(0.0, 70.0))
    past = strongest(table, [SCOPE])
    assert past is not None
    found = past.row
    assert (found.detector, found.value, found.hfc) == ("MAHA", 70.0, "white-box MAHA, selective")
    said = unnoticed(table, [SCOPE], "with a budget of 1/256").replace("\u00a0", " ")
    assert "passes MAHA, the detector that holds out best, unnoticed in 70.0 % [69.0, 71.0]" in said
    assert "(n = 50; the best of 4 ways tried: white-box MAHA, selective)" in said


def test_a_missing_figure_is_not_taken_for_a_good_detector() -> None:
    table = [*undetected(without=(10.0, NAN)), *undetected(hfc=(30.0, NAN))]
    past = strongest(table, [SCOPE])
    assert past is not None
    assert past.row.detector == "KD"
    assert unnoticed([], [SCOPE], "") == ""


def test_the_attacker_takes_the_best_attack_too() -> None:
    """KD fares worst against BIM, MAHA against PGD: 60 and 40; each attack's own best detector would say 20 and 5."""
    table = undetected(without=(10.0, 5.0), hfc=(60.0, 20.0))
    table += [replace(one, attack="PGD", value=value) for one, value in zip(table, (1.0, 2.0, 5.0, 40.0), strict=True)]
    tried = [SCOPE, replace(SCOPE, attack="PGD")]
    past = strongest(table, tried)
    assert past is not None
    assert (past.scope.attack, past.row.detector, past.row.value) == ("PGD", "MAHA", 40.0)
    said = unnoticed(table, tried, "with a budget of 1/256").replace("\u00a0", " ")
    assert "passes MAHA, the detector that holds out best, unnoticed in 40.0 %" in said
    assert "the best of 2 attacks and 2 ways tried: PGD, hidden by HFC)" in said
    (finding,) = headline(table)
    assert finding.title.startswith("PGD with a budget of 1/256")
    assert other_attacks(table) == ("BIM",)


def test_each_line_shows_the_attack_that_followed_its_detector() -> None:
    table = undetected(without=(10.0, 5.0), hfc=(60.0, 20.0), kd=(90.0, 1.0), maha=(0.0, 70.0))
    table += [
        row("Adv. Acc", value, way) for way, value in (("white-box KD", 95.0), ("white-box MAHA, selective", 80.0))
    ]
    grid = white_box_grid(table, SCOPE)
    assert grid is not None
    variants = grid.columns[0].variants
    assert variants == ("without", "with", "white-box", "white-box, selective")
    shown = {line.name: [cell.value for cell in line.cells] for line in grid.lines}
    assert shown["KD"] == ["10.0", "60.0", "90.0", "n/a", "95.0", "n/a"]
    assert shown["MAHA"] == ["5.0", "20.0", "n/a", "70.0", "n/a", "80.0"]
    assert white_box_grid(undetected(without=(1.0, 2.0)), SCOPE) is None


def test_white_box_attacks_are_no_way_of_hiding_in_the_comparison() -> None:
    table = undetected(without=(10.0, 5.0), hfc=(60.0, 20.0), kd=(90.0, 1.0))
    assert blocks(table)[0].comparison is None


def test_the_matrix_has_a_cell_for_every_pair() -> None:
    lines = [
        MatrixLine("SVM", "1/256", learned, attack, "without", "AUC", value, value - 1, value + 1, 9)
        for learned, attack, value in (("BIM", "BIM", 99.0), ("BIM", "CW", 55.0), ("CW", "CW", 97.0))
    ]
    (found,) = crossings(lines)
    assert found.title == "Budget 1/256, without HFC"
    shown = {line.name: [cell.value for cell in line.cells] for line in found.grid.lines}
    assert shown == {"SVM, learned from BIM": ["99.0", "55.0"], "SVM, learned from CW": ["n/a", "97.0"]}


def test_differences_are_those_of_their_block() -> None:
    here = DifferenceLine("BIM", "1/256", "with", "KD, with", "KD, without", -20.0, -30.0, -10.0, 0.0001, 9)
    far = DifferenceLine("BIM", "2/256", "with", "KD, with", "KD, without", 1.0, NAN, NAN, NAN, 9)
    grid = difference_grid([here, far], SCOPE)
    assert grid is not None
    (line,) = grid.lines
    assert line.name == "KD, with \u2212 KD, without"
    assert [(c.value, c.interval) for c in line.cells] == [("-20.0", "[-30.0, -10.0]"), ("< 0.001", "")]
    other = difference_grid([here, far], Scope("CXR", "net", "BIM", "2/256"))
    assert other is not None
    assert [(c.value, c.interval) for c in other.lines[0].cells] == [("1.0", "no interval"), ("n/a", "")]
