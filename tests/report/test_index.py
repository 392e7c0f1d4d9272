"""The index over a folder of runs: every run with its finding, grouped by paper, links that lead somewhere."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest
from click.testing import CliRunner

from medaegis._errors import DataError
from medaegis.cli import main
from medaegis.report import render_index, render_report
from medaegis.report._headline import headline
from medaegis.report._read import read_run
from report.fake_defence import write_fake_defence
from report.fake_run import write_fake_run
from report.test_page import parse


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    write_fake_run(folder / "b table 2", budgets=(1,))
    write_fake_run(folder / "journal", budgets=(1,), paper="HFC-23 Table VI", title="Six & <b>", warnings=[])
    write_fake_run(folder / "first", budgets=(1,), paper="HFC-21 Table 1, HFC-23 Fig. 4")
    write_fake_run(folder / "own", budgets=(1,), paper=None, checks=[])
    write_fake_defence(folder / "trial")
    write_fake_run(folder / "journal" / "part & one", budgets=(1,))  # its page is missing
    damaged = write_fake_run(folder / "journal" / "part 2", budgets=(1,))
    (damaged / "table.csv").write_text("not a table", encoding="utf-8")
    (folder / "stages").mkdir()
    render_index(folder)
    return folder


@pytest.fixture(scope="module")
def index(shelf: Path) -> str:
    return (shelf / "index.html").read_text(encoding="utf-8")


def test_runs_stand_under_their_paper_by_table(index: str) -> None:
    links = [unquote(name) for name in re.findall(r'<h3[^>]*><a href="([^"]+)/report\.html"', index)]
    assert links == ["first", "b table 2", "journal", "trial", "own"]
    shelves = re.findall(r'<section id="([\w-]+)"', index)
    assert shelves == ["hfc-21", "hfc-23", "aegis", "beyond-the-papers"]


def test_links_lead_to_reports_that_are_there(shelf: Path, index: str) -> None:
    seen = parse(index).seen
    ids = {a["id"] for _, a in seen if "id" in a}
    for address in (a["href"] or "" for tag, a in seen if tag == "a"):
        if address.startswith("#"):
            assert address[1:] in ids
        else:
            assert (shelf / unquote(address)).is_file()


def test_each_run_says_what_it_asked_and_found(shelf: Path, index: str) -> None:
    text = unescape("".join(parse(index).text))
    run = read_run(shelf / "b table 2")
    assert run.manifest.question in text
    assert headline(run.table)[0].lead in text
    assert "5,856 images" in text
    assert "1 of 2 passed" in text
    assert "not: Steps suffice" in text
    assert "AdvTest holds 74 cases" in text
    assert "Six & <b>" in text
    assert "<b>" not in index


def test_is_closed_escaped_and_needs_nothing(index: str) -> None:
    reader = parse(index)
    assert reader.open == []
    assert not {tag for tag, _ in reader.seen} & {"script", "link", "img", "iframe"}


def test_reports_that_are_there_are_kept(shelf: Path) -> None:
    page = shelf / "journal" / "report.html"
    page.write_text("mine", encoding="utf-8")
    before = (shelf / "index.html").read_bytes()
    assert render_index(shelf).read_bytes() == before
    assert page.read_text(encoding="utf-8") == "mine"
    render_report(page.parent)


def test_a_joined_run_leads_to_its_parts(index: str) -> None:
    assert re.findall(r'<dt>Parts</dt><dd><a href="([^"]+)">([^<]+)', index) == [
        ("journal/part%20%26%20one/report.html", "part &amp; one")
    ]


def test_one_damaged_run_does_not_hide_the_others(tmp_path: Path) -> None:
    write_fake_run(tmp_path / "good", budgets=(1,))
    bad = write_fake_run(tmp_path / "bad", budgets=(1,))
    (bad / "manifest.json").write_text("{", encoding="utf-8")
    text = render_index(tmp_path).read_text(encoding="utf-8")
    assert "1 run in" in text
    assert "manifest.json of the run folder" in text


def test_a_folder_without_runs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no finished run .* and holds none"):
        render_index(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        render_index(tmp_path / "nowhere")


def test_the_command_tells_a_run_from_a_folder_of_runs(shelf: Path) -> None:
    told = CliRunner().invoke(main, ["report", str(shelf)])
    assert (told.exit_code, told.output) == (0, f"Index: {shelf / 'index.html'}\n")
    told = CliRunner().invoke(main, ["report", str(shelf / "own")])
    assert told.output == f"Report: {shelf / 'own' / 'report.html'}\n"
    assert (shelf / "own" / "table.tex").is_file()
