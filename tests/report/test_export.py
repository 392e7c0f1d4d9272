"""Tables as LaTeX, Markdown and CSV: laid out as the papers', every escape right, every row whole."""

from __future__ import annotations

import base64
import csv
import io
import re
import shutil
import subprocess
from pathlib import Path

import pyarrow.csv as pc
import pytest

from medaegis.report import render_report
from medaegis.report._export import exports, latex, markdown, markdown_text, printed, tex_text
from medaegis.report._page import study_of
from medaegis.report._paper import counted_once, main_tables, paper_tables, point_wise
from medaegis.report._read import Row, read_run
from medaegis.report._study import StudyTable
from medaegis.report._tables import Cell, Column, Grid, Line
from report.fake_defence import write_fake_defence
from report.fake_run import DETECTORS

NAN = float("nan")
NASTY = r'a&b_50% #1 {x} ~$^\|"<c>"[z] →'


def row(detector: str, metric: str, value: float, *, hfc: str, published: float = NAN, attack: str = "BIM") -> Row:
    return Row("CXR", "net", attack, "1/256", hfc, detector, metric, value, value - 2, value + 2, 24, published)


def grid(name: str = "KD", value: str = "-1.5", columns: int = 1) -> Grid:
    one = Cell(value, "[-2.0, -1.0]", "n\u00a0=\u00a09", "0.5")
    return Grid("Detector", (Column("AUC", ("",)),) * columns, (Line(name, (one,) * columns),))


def check_latex(text: str) -> None:
    """What a compiler would object to: braces, environments, columns a row, rules beyond the table."""
    bare = re.sub(r"\\[\\{}&%$#_]", "", re.sub(r"(?m)^(%|\\resizebox).*$", "", text.replace("}}}\n", "}\n")))
    assert bare.isascii()
    depth = 0
    for letter in bare:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        assert depth >= 0
    assert depth == 0
    assert bare.count("$") % 2 == 0
    assert not re.search(r"[#^_<>|\"]", re.sub(r"\\label\{[^}]*\}", "", bare))
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert not opened
    for columns, body in re.findall(r"\\begin\{tabular\}\{(l?c*)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert rows
        for line in rows:
            spans = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", line))
            assert len(re.findall(r"(?<!\\)&", line)) + spans == len(columns) - 1, line
        ends = [int(n) for n in re.findall(r"\\cmidrule\(lr\)\{\d+-(\d+)\}", body)]
        assert all(end <= len(columns) for end in ends)


def check_markdown(text: str) -> None:
    tables = re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE)
    assert tables
    for table in tables:
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(counts) == 1


def test_one_pair_a_cell_and_the_papers_figure_in_the_row_below() -> None:
    table = [
        row("", "Adv. Acc", 98.0, hfc="without"), row("", "Adv. Acc", 90.0, hfc="with", published=99.5),
        row("KD", "AUC", 97.04, hfc="without", published=99.0), row("KD", "AUC", 13.0, hfc="with", published=74.2),
        row("KD", "TPR@90", 90.0, hfc="without"), row("KD", "TPR@90", 0.0, hfc="with", published=20.5),
    ]  # fmt: skip
    (one,) = point_wise(table)
    assert one.grid.columns == (Column("BIM (Adv. Acc 98.0 → 90.0; published 99.5)", ("AUC", "TPR@90")),)
    assert printed(one).rows == (
        ("value", ("KD", "97.0 → 13.0", "90.0 → 0.0")),
        ("interval", ("", "[95.0, 99.0] → [11.0, 15.0]", "[88.0, 92.0] → [-2.0, 2.0]")),
        ("published", ("published", "99.0 → 74.2", "\u2013 → 20.5")),
    )
    assert printed(one).caption.endswith("(n\u00a0=\u00a024)")
    check_latex(latex([one], "mine"))


def test_a_missing_half_of_a_pair_is_not_taken_for_the_other() -> None:
    (one,) = point_wise([row("KD", "AUC", 97.0, hfc="without"), row("", "Adv. Acc", 1.0, hfc="with")])
    assert one.grid.lines[0].cells[0].value == "97.0 → n/a"
    assert one.grid.lines[0].cells[1].reason == "not measured in this run"


def test_different_n_stay_in_a_row_of_their_own() -> None:
    cells = (Cell("1.0", n="n = 3"), Cell("2.0", n="n = 4"))
    one = StudyTable("Ours", Grid("Detector", (Column("A", ("",)), Column("B", ("",))), (Line("KD", cells),)))
    assert counted_once(one) is one
    assert ("n", ("", "n = 3", "n = 4")) in printed(one).rows


def test_every_letter_with_a_meaning_is_escaped() -> None:
    assert tex_text("100 % of a_b & c") == r"100 \% of a\_b \& c"
    assert tex_text("[-2.0, \u22121.5] CW-Linf 1-2") == "{[}$-$2.0, $-$1.5{]} CW-Linf 1-2"
    assert markdown_text("a|b\nc*") == r"a\|b c\*"
    one = StudyTable(NASTY, grid(NASTY, columns=9))
    check_latex(latex([one, one], NASTY.replace("\n", ""), [NASTY]))
    check_markdown(markdown([one, one], [NASTY]))


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize(("columns", "lines"), [(2, 3), (30, 3), (2, 120)])
def test_latex_makes_a_table_that_fits_the_page(tmp_path: Path, columns: int, lines: int) -> None:
    heads = tuple(Column("Undetected", (NASTY,)) for _ in range(columns))
    cells = tuple(Cell("12.5 → 97.5") for _ in range(columns))
    one = StudyTable("Ours", Grid("Attacker", heads, tuple(Line(f"attacker {i}", cells) for i in range(lines))))
    used = r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}"
    (tmp_path / "paper.tex").write_text(f"{used}\n{latex([one], 'mine', ['A note.'])}\n\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout[-2000:]
    assert "Overfull" not in made.stdout
    assert "too large" not in made.stdout


def test_groups_span_the_table() -> None:
    lines = tuple(
        Line(name, (Cell("1.0"),), group) for name, group in (("a", "First"), ("b", "First"), ("c", "Second"))
    )
    one = StudyTable("Ours", Grid("Attacker", (Column("AUC", ("",)),), lines))
    text = latex([one], "mine")
    check_latex(text)
    assert text.count(r"\multicolumn{2}{l}") == 2
    assert text.count(r"\addlinespace") == 1
    check_markdown(markdown([one]))


@pytest.mark.parametrize("kind", ["detectors", "defence"])
def test_a_runs_files_are_whole_and_on_the_page(tmp_path: Path, finished: Path, kind: str) -> None:
    folder = finished if kind == "detectors" else write_fake_defence(tmp_path / "run")
    page = render_report(folder).read_text(encoding="utf-8")
    tex, md = (folder / "table.tex").read_text("utf-8"), (folder / "table.md").read_text("utf-8")
    check_latex(tex)
    check_markdown(md)
    found = re.findall(r'href="data:text/[\w-]+;charset=utf-8;base64,([^"]+)" download="([^"]+)"', page)
    texts = {name: base64.b64decode(coded).decode("utf-8") for coded, name in found}
    assert [next(text for name, text in texts.items() if name.endswith(end)) for end in (".tex", ".md")] == [tex, md]
    assert not [path for path in folder.iterdir() if path.name.startswith(".table")]
    offered = list(csv.DictReader(io.StringIO(next(text for name, text in texts.items() if name.endswith(".csv")))))
    stored = pc.read_csv(folder / "table.csv").to_pylist()
    assert [line["metric"] for line in offered] == [line["metric"] for line in stored]
    values = [NAN if line["value"] == "" else float(line["value"]) for line in offered]
    known = [NAN if line["value"] is None else line["value"] for line in stored]
    assert values == pytest.approx(known, nan_ok=True)


def test_every_detector_and_budget_is_in_the_exported_table(finished: Path) -> None:
    run = read_run(finished)
    tables = paper_tables(run, study_of(run))
    assert [line.name for table in tables for line in table.grid.lines] == [*DETECTORS, *DETECTORS]
    assert ["1/256" in tables[0].caption, "2/256" in tables[1].caption] == [True, True]
    (first, *_) = exports(run, tables)
    assert "Published: HFC-21 Table 2" in first.text
    assert "Recipe chest-xray-small" in first.text


def test_more_than_two_ways_of_hiding_are_rows() -> None:
    table = [row("KD", "AUC", 50.0, hfc=way) for way in ("without", "with", "KDE")]
    (one,) = main_tables(table)
    assert [line.name for line in one.grid.lines] == ["without HFC", "with HFC", "KDE"]
