"""What a repository keeps of a run: tables and manifest, from which a page is drawn, and nothing of single cases."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from medaegis import DataError
from medaegis.cli import main
from medaegis.report import keep_run, render_report
from medaegis.report._read import read_run

ROOT = Path(__file__).parents[2]


def test_tables_are_kept_and_cases_are_not(finished: Path, tmp_path: Path) -> None:
    place = keep_run(finished, tmp_path / "kept")
    names = {path.name for path in place.iterdir()}
    assert {"manifest.json", "table.csv"} <= names
    assert not {name for name in names if not name.endswith((".csv", ".json"))}
    assert not names & {"gallery.json", "cases.parquet"}
    assert (place / "table.csv").read_bytes() == (finished / "table.csv").read_bytes()
    told, kept = (json.loads((folder / "manifest.json").read_text()) for folder in (finished, place))
    assert kept == told | {"cases": False}


def test_a_page_is_drawn_from_what_was_kept(finished: Path, tmp_path: Path) -> None:
    place = keep_run(finished, tmp_path / "kept")
    page = render_report(place).read_text()
    assert "Drawn from the tables that were kept" in page
    assert "Drawn from the tables that were kept" not in render_report(finished).read_text()
    assert read_run(place).table == read_run(finished).table
    for case in set(read_run(finished).cases.case.tolist()):
        assert case not in page


def test_parts_of_a_joined_run_are_kept_too(finished: Path, tmp_path: Path) -> None:
    joined = tmp_path / "joined"
    keep_run(finished, joined)
    keep_run(finished, joined / "left")
    manifest = json.loads((joined / "manifest.json").read_text())
    manifest["parts"] = [{"title": "left", "page": "left/report.html"}]
    (joined / "manifest.json").write_text(json.dumps(manifest))
    keep_run(joined, tmp_path / "kept")
    assert (tmp_path / "kept" / "left" / "table.csv").is_file()


def test_what_is_no_run_is_refused(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no finished run"):
        keep_run(tmp_path, tmp_path / "kept")
    with pytest.raises(DataError, match="the run itself"):
        keep_run(finished, finished)
    assert not (tmp_path / "kept").exists()


def test_command(finished: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["report", str(finished), "--keep", str(tmp_path / "kept")])
    assert done.exit_code == 0, done.output
    assert f"Kept: {tmp_path / 'kept'}" in done.output


def test_every_stored_result_can_be_drawn() -> None:
    """`make pages`: each is read with its manifest, and asks for no file that was not kept."""
    stored = [path.parent for path in ROOT.glob("results/0.1.0/**/table.csv")]
    assert stored
    for folder in stored:
        run = read_run(folder)
        assert run.table
        assert not run.manifest.cases
