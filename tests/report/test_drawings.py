"""Curves, pictures and which scores they use."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from medaegis.report._figures import STROKES, Series, area, histogram_svg, roc
from medaegis.report._map import markers
from medaegis.report._panels import histogram_groups, roc_groups
from medaegis.report._pictures import amplified, gain_of, percent, png_bytes, show
from medaegis.report._read import read_run
from report.fake_run import write_fake_run, write_gallery


def test_area_agrees_with_scikit_learn_also_with_ties() -> None:
    rng = np.random.default_rng(3)
    clean, attacked = rng.integers(0, 6, 40).astype(float), rng.integers(2, 9, 30).astype(float)
    expected = roc_auc_score([0] * 40 + [1] * 30, np.concatenate([clean, attacked]))
    assert area(roc(clean, attacked)) == pytest.approx(expected, abs=1e-12)


def test_curves_agree_with_the_table(finished: Path) -> None:
    notes = [note for group in roc_groups(read_run(finished)) for panel in group.panels for note in panel.notes]
    assert len(notes) == 2 * 6 * 2
    assert not [note for note in notes if note.startswith("Note")]


def test_missing_scores_are_counted_not_drawn(folder: Path) -> None:
    run = read_run(folder)
    run.cases.score[np.flatnonzero((run.cases.detector == "KD") & (run.cases.kind == "clean"))[:3]] = np.nan
    panels = {panel.detector: panel for panel in histogram_groups(run)[0].panels}
    assert panels["KD"].notes == ("3 clean without a score, left out.",)
    assert panels["BU"].notes == ()


def test_only_successful_attacks_where_the_run_says_so(tmp_path: Path) -> None:
    run = read_run(write_fake_run(tmp_path / "run", budgets=(1,), scored="fooled"))
    attacked = np.flatnonzero((run.cases.detector == "KD") & (run.cases.kind == "adversarial"))
    run.cases.fooled[attacked] = 0
    panel = next(p for p in roc_groups(run)[0].panels if p.detector == "KD")
    assert panel.svg is None
    assert all("no curve" in note for note in panel.notes)


@pytest.mark.parametrize("scores", [np.full(5, 2.0), np.array([-1e12, 0.0, 1.0, 2.0, 1e12]), np.array([7.0])])
def test_histograms_of_awkward_scores(scores: np.ndarray) -> None:
    series = [Series(STROKES["clean"], scores), Series(STROKES["with"], scores + 1)]
    svg = histogram_svg(series, float("nan"), name="h", alt='a "b" <c>')
    assert "nan" not in svg
    assert "inf" not in svg.replace("linejoin", "")
    assert 'aria-label="a &#34;b&#34; &lt;c&gt;"' in svg


def test_families_of_markers_do_not_share_a_shape() -> None:
    marks = markers(["clean, A", "clean, B", "BIM", "PGD", "BIM + HFC", "PGD + HFC"])
    assert len({m.shape for m in marks}) == len({m.colour for m in marks}) == 6


def test_the_whole_budget_is_black_or_white_and_no_change_is_grey() -> None:
    clean = np.full((1, 1, 3), 0.5, np.float32)
    attacked = clean + np.array([-1, 0, 1], np.float32) / 256
    assert amplified(clean, attacked, gain_of("1/256"))[0, 0].tolist() == [0.0, 0.5, 1.0]
    assert np.isnan(gain_of("0/256"))


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "L"), (3, "RGB"), (5, "RGB")])
def test_png_keeps_eight_bits(channels: int, mode: str) -> None:
    image = np.linspace(0, 1, channels * 12, dtype=np.float32).reshape(channels, 3, 4)
    shown = Image.open(io.BytesIO(png_bytes(image)))
    assert (shown.mode, shown.size) == (mode, (4, 3))
    first = np.asarray(shown).reshape(3, 4, -1)[..., 0]
    assert np.array_equal(first, np.rint(255 * image[0]))


def test_equal_channels_are_stored_once() -> None:
    image = np.repeat(np.linspace(0, 1, 12, dtype=np.float32).reshape(1, 3, 4), 3, axis=0)
    assert Image.open(io.BytesIO(png_bytes(image))).mode == "L"


def test_the_gallery_stops_at_its_size_limit(folder: Path) -> None:
    write_gallery(folder, np.random.default_rng(1), side=64, cases=5)
    gallery = read_run(folder).gallery
    assert gallery is not None
    assert (len(show(gallery).cases), show(gallery).every) == (5, 1)
    few = show(gallery, limit=30_000)
    assert 1 <= len(few.cases) < 5
    assert few.total == 5
    assert show(gallery, limit=3_000).every == 2


@pytest.mark.parametrize(("p", "text"), [(0.5, "50.0"), (1.0, "100.0"), (0.9999, "over 99.9"), (float("nan"), "n/a")])
def test_probabilities_in_words(p: float, text: str) -> None:
    assert percent(p).removesuffix("\u00a0%") == text
