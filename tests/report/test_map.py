"""The map of the features: every dot can be pointed at and stepped to, at its own place, with its own case."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from medaegis.experiment._thumbnails import SIDE, thumbnail
from medaegis.report import render_report
from medaegis.report._budgets import budget_group, budget_tables
from medaegis.report._crossed import crossings
from medaegis.report._layers import layer_panels
from medaegis.report._map import embedding_map, markers, scatter_svg
from medaegis.report._panels import histogram_groups, roc_groups
from medaegis.report._pictures import boxes
from medaegis.report._read import Embedding, LayerLine, MatrixLine, read_run
from report.fake_run import DETECTORS, N


def test_places_are_where_matplotlib_drew_the_dots() -> None:
    x, y = np.array([0.0, 1.0, 3.0]), np.array([0.0, 2.0, 1.0])
    svg, places = scatter_svg(x, y, ["a", "a", "a"], markers(["a"]), name="s", alt="Dots")
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert box is not None
    width, height = map(float, box.groups())
    drawn = [(float(a), float(b)) for a, b in re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)"', svg)][:3]
    assert places == pytest.approx(np.array(drawn) / [width, height] * 100, abs=1e-3)


def test_a_dot_a_case_and_group_with_its_own_picture(folder: Path) -> None:
    table = pq.read_table(folder / "embedding.parquet").to_pylist()
    small = [thumbnail(torch.full((1, 4, 4), (i % N) / N)) for i in range(len(table))]
    pq.write_table(
        pq.read_table(folder / "embedding.parquet").append_column("picture", [small]), folder / "embedding.parquet"
    )
    run = read_run(folder)
    assert run.embedding is not None
    found = embedding_map(run.embedding, run.gallery)
    assert found is not None
    assert [(dot.case, dot.group) for dot in found.dots] == [(line["case"], line["group"]) for line in table]
    assert all(0 <= dot.x <= 100 and 0 <= dot.y <= 100 for dot in found.dots)
    assert len(found.faces) == N
    dot = next(dot for dot in found.dots if dot.case == "c37")
    assert dot.face is not None
    png = base64.b64decode(found.faces[dot.face].partition(",")[2])
    assert int(np.asarray(Image.open(io.BytesIO(png)))[0, 0]) == round(255 * 37 / N)
    page = render_report(folder).read_text(encoding="utf-8")
    assert page.count('type="radio" name="dot"') == len(table)
    assert page.count("<image id=") == N
    assert 'aria-label="c37, BIM + HFC"' in page


def test_old_runs_take_faces_from_the_gallery_and_others_have_none(folder: Path) -> None:
    run = read_run(folder)
    assert run.embedding is not None
    assert run.gallery is not None
    names = run.embedding.case.astype("<U80")
    names[0] = run.gallery.text.cases[1].name
    found = embedding_map(Embedding(run.embedding.x, run.embedding.y, run.embedding.group, names), run.gallery)
    assert found is not None
    assert [dot.face for dot in found.dots[:2]] == [0, None]
    assert len(found.faces) == 1


def test_a_map_without_names_still_has_dots() -> None:
    found = embedding_map(Embedding(np.arange(3.0), np.arange(3.0), np.array(["a", "a", "b"])))
    assert found is not None
    assert [dot.case for dot in found.dots] == ["", "", ""]
    assert found.points[2] == ("", "b", "2.00", "2.00")


def test_too_many_dots_are_drawn_only() -> None:
    many = np.arange(1501.0)
    found = embedding_map(Embedding(many, many, np.array(["a"] * 1501)))
    assert found is not None
    assert found.dots == ()
    assert len(found.points) == 1501


@pytest.mark.parametrize(
    ("shape", "size"), [((3, 128, 96), (48, 64)), ((1, 8, 8), (8, 8)), ((1, 5, 128, 128), (SIDE, SIDE))]
)
def test_thumbnails_keep_proportions(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    shown = Image.open(io.BytesIO(thumbnail(torch.rand(shape, generator=torch.Generator().manual_seed(0)))))
    assert shown.size == size


def test_a_volumes_thumbnail_is_its_middle_slice() -> None:
    volume = torch.zeros(1, 3, 4, 4)
    volume[:, 1] = 1.0
    assert int(np.asarray(Image.open(io.BytesIO(thumbnail(volume)))).min()) == 255


def test_a_box_a_patch_with_a_margin() -> None:
    clean = np.zeros((1, 10, 20), np.float32)
    changed = clean.copy()
    changed[0, 2:4, 3:6], changed[0, 7, 19] = 0.5, -0.4
    assert [(b.left, b.top, b.width, b.height) for b in boxes(clean, changed)] == [(10, 10, 25, 40), (90, 60, 10, 30)]
    assert boxes(clean, clean) == ()


def test_budgets_have_a_line_a_detector_without_and_with(finished: Path) -> None:
    table = read_run(finished).table
    group = budget_group(table)
    assert group is not None
    (panel,) = group.panels
    assert panel.svg.count("KD without HFC") == panel.svg.count("KD with HFC") == 1
    (numbers,) = budget_tables(table)
    assert len(numbers.grid.lines) == 2 * len(DETECTORS)
    row = next(r for r in table if (r.detector, r.metric, r.hfc, r.eps) == ("LID", "AUC", "with", "2/256"))
    line = next(line for line in numbers.grid.lines if line.name == "LID, with HFC")
    assert line.cells[1].value == f"{row.value:.1f}"


def test_one_budget_is_no_curve(folder: Path) -> None:
    assert budget_group(read_run(folder).table) is None


def test_the_numbers_behind_histograms_and_curves(finished: Path) -> None:
    run = read_run(finished)
    scores, rocs = histogram_groups(run)[0].numbers, roc_groups(run)[0].numbers
    line = next(one for one in scores.lines if (one.group, one.name) == ("KD", "clean"))
    mine = (run.cases.detector == "KD") & (run.cases.kind == "clean") & (run.cases.eps == "1/256")
    assert line.cells[0].value == str(mine.sum()) == str(N)
    assert float(line.cells[3].value.replace("\u2212", "-")) == pytest.approx(
        np.median(run.cases.score[mine]), rel=1e-3
    )
    caught = next(one for one in rocs.lines if (one.group, one.name) == ("MAHA", "without HFC"))
    assert caught.cells[-1].value == "100.0"
    rates = [float(one.value) for one in caught.cells]
    assert rates == sorted(rates)


def test_a_layer_and_a_crossing_keep_their_numbers() -> None:
    lines = [LayerLine("AUC of KD", f"relu{i}", v, 50.0 + i, 40.0, 60.0) for i in range(2) for v in ("without", "with")]
    grid = layer_panels(lines)[0].grid
    assert [(line.name, line.cells[1].value) for line in grid.lines] == [("1: relu0", "50.0"), ("2: relu1", "51.0")]
    matrix = [
        MatrixLine("SVM", "1/256", a, b, "with", "AUC", value, value - 1, value + 1, 9.0)
        for a, b, value in (("BIM", "BIM", 99.0), ("BIM", "PGD", 40.0), ("PGD", "BIM", 30.0))
    ]
    (one,) = crossings(matrix)
    assert [panel.title for panel in one.panels] == ["SVM"]
    assert "learned from BIM, tested on PGD: 40.0" in one.panels[0].svg
    assert "n/a" in one.panels[0].svg
