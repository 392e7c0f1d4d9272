"""The page as a whole: complete, self-contained, well formed, safe, the same each time."""

from __future__ import annotations

import json
import os
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import pytest

from medaegis._errors import DataError
from medaegis.report import render_report, text_table
from medaegis.report._frame import date, duration, plain
from medaegis.report._read import read_run
from medaegis.report._tables import interval, number
from report.fake_run import DETECTORS, NASTY, write_fake_run

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Reader(HTMLParser):
    """Collects tags, attributes and text, and fails on a tag that is closed out of turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parse(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def test_every_tag_is_closed(page: str) -> None:
    assert parse(page).open == []


def test_needs_nothing_from_outside(page: str) -> None:
    seen = parse(page).seen
    assert not {tag for tag, _ in seen} & {"link", "script", "iframe", "object", "embed", "base"}
    addresses = [
        a[name] or "" for _, a in seen for name in ("src", "href", "xlink:href", "srcset", "rdf:resource") if name in a
    ]
    assert addresses
    inside = ("#", "data:image/png;base64,", "data:text/")
    assert all(address.startswith(inside) for address in addresses)
    style = " ".join(re.findall(r"<style>(.*?)</style>", page, re.DOTALL))
    assert "@import" not in style
    assert not re.findall(r"url\((?!#)", page)


def test_ids_are_unique_and_links_lead_somewhere(page: str) -> None:
    seen = parse(page).seen
    ids = [a["id"] for _, a in seen if "id" in a]
    assert len(ids) == len(set(ids))
    links = [(a.get("href") or a.get("xlink:href") or "") for _, a in seen]
    links += [f"#{name}" for name in re.findall(r"url\(#([^)]+)\)", page)]
    links += [f"#{a['aria-labelledby']}" for _, a in seen if "aria-labelledby" in a]
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)


def test_each_picture_has_words(page: str) -> None:
    pictures = [a for tag, a in parse(page).seen if tag == "img"]
    assert len(pictures) == 3 * (1 + 2 * 2)
    assert all(a.get("alt") for a in pictures)
    drawings = [a for tag, a in parse(page).seen if tag == "svg" and a.get("role") == "img"]
    assert sum(bool(a["aria-label"]) for a in drawings) == 2 * 2 * len(DETECTORS) + 2


def test_holds_every_value_of_the_table(finished: Path, page: str) -> None:
    lines = re.findall(r"<tr>.*?</tr>", page[page.index('id="values"') :], re.DOTALL)[1:]
    rows = read_run(finished).table
    assert len(lines) == len(rows)
    for row, line in zip(rows, lines, strict=True):
        texts = [unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line)]
        assert texts[0] == row.metric
        assert texts[5] == number(row.value, 2)
        assert texts[7] == str(row.n)
        assert row.n == 0 or texts[6] == interval(row, 2)
        assert row.published != row.published or texts[8] == number(row.published, 2)


def test_a_missing_value_says_why_and_is_not_zero(page: str) -> None:
    assert "n/a" in page
    assert "no case to measure it on (n = 0)" in page
    assert not re.search(r"\b(nan|inf|None)\b", " ".join(parse(page).text))


def test_names_from_the_data_are_escaped(page: str) -> None:
    assert "<script" not in page
    assert NASTY in "".join(parse(page).text)
    assert "NORMAL/IM-0001<b>.jpeg" in "".join(parse(page).text)


def test_same_folder_same_bytes(finished: Path) -> None:
    before = (finished / "report.html").read_bytes()
    assert render_report(finished).read_bytes() == before


def test_stays_small(finished: Path) -> None:
    assert (finished / "report.html").stat().st_size < 3_000_000


def test_leaves_matplotlib_settings_alone(folder: Path) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    render_report(folder)
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(("adaptive", "stamped"), [(True, False), (False, True)])
def test_stamp(tmp_path: Path, adaptive: bool, stamped: bool) -> None:
    folder = write_fake_run(tmp_path / "run", budgets=(1,), adaptive=adaptive)
    assert ("Non-adaptive." in render_report(folder).read_text(encoding="utf-8")) is stamped


def test_works_without_gallery_and_map(folder: Path) -> None:
    for name in ("gallery.json", "gallery.safetensors", "embedding.parquet"):
        (folder / name).unlink()
    page = render_report(folder).read_text(encoding="utf-8")
    assert "This run stored no pictures" in page
    assert "This run stored no map" in page
    assert parse(page).open == []


def test_empty_lists_are_said_not_left_blank(tmp_path: Path) -> None:
    changes = {"checks": [], "warnings": [], "differs": [], "paper": None, "commit": None}
    page = render_report(write_fake_run(tmp_path / "run", budgets=(1,), **changes)).read_text(encoding="utf-8")
    for text in ("No check is stored", "follows no published table", "not recorded"):
        assert text in page


def test_a_curve_that_contradicts_the_table_is_marked(folder: Path) -> None:
    table = folder / "table.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    at = next(i for i, line in enumerate(lines) if '"AUC"' in line and '"KD"' in line)
    value = lines[0].replace('"', "").split(",").index("value")
    cells = lines[at].split(",")
    cells[value] = "12.5"
    table.write_text("\n".join([*lines[:at], ",".join(cells), *lines[at + 1 :]]) + "\n", encoding="utf-8")
    assert "the table has another value" in render_report(folder).read_text(encoding="utf-8")


def test_a_failed_render_leaves_the_old_page_and_no_scraps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "report.html").write_text("old", encoding="utf-8")

    def refuse(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        render_report(folder)
    assert (folder / "report.html").read_text(encoding="utf-8") == "old"
    assert [path.name for path in folder.glob(".report*")] == []


@pytest.mark.parametrize("name", ["manifest.json", "table.csv", "cases.parquet", "gallery.json", "gallery.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError, match=re.escape(name)):
        render_report(folder)


@pytest.mark.parametrize(
    "name",
    ["manifest.json", "table.csv", "cases.parquet", "gallery.json", "gallery.safetensors", "embedding.parquet"],
)
@pytest.mark.parametrize("content", [b"", b"\x00\xffnot what it should be"])
def test_a_damaged_file_is_named(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=re.escape(name)):
        render_report(folder)


def test_a_missing_entry_of_the_manifest_is_named(folder: Path) -> None:
    path = folder / "manifest.json"
    said = json.loads(path.read_text(encoding="utf-8"))
    del said["data"]["fingerprint"]
    path.write_text(json.dumps(said), encoding="utf-8")
    with pytest.raises(DataError, match=r"manifest\.json.*data\.fingerprint"):
        render_report(folder)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        render_report(tmp_path / "nowhere")


def test_words_for_times_and_settings() -> None:
    assert [duration(s) for s in (0.42, 59.96, 75, 3671)] == ["0.4 s", "1 min 0 s", "1 min 15 s", "1 h 1 min"]
    assert date("2026-03-01T14:05:09+00:00") == "1 March 2026, 14:05 UTC"
    assert date("yesterday") == "yesterday"
    assert [plain(v) for v in (True, None, 3, "a", ["b"])] == ["yes", "none", "3", "a", '["b"]']


def test_a_check_that_was_not_run_neither_passes_nor_fails(tmp_path: Path) -> None:
    checks = [
        {"name": "First", "passed": True, "text": "good"},
        {"name": "Second", "passed": False, "text": "bad"},
        {"name": "Third", "passed": None, "text": "Not run: why."},
    ]
    page = render_report(write_fake_run(tmp_path / "run", budgets=(1,), checks=checks)).read_text(encoding="utf-8")
    assert "1 of 2 checks" in page
    assert page.count("\u2013 Not run") == page.count("\u2713 Passed") == page.count("\u2717 Not passed") == 1
    assert "1 of 2 checks of the attack's strength passed; not:\n  Second. bad" in text_table(tmp_path / "run")


def test_a_run_without_detectors_says_nothing_of_them(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path / "run", budgets=(1,), scores=False, adaptive=None)
    page = render_report(folder).read_text(encoding="utf-8")
    assert "Non-adaptive." not in page
    assert 'id="scores"' not in page
    assert "#scores" not in page


def test_success_is_shown_by_class_and_after_storage(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path / "run", budgets=(1,))
    lines = pc.read_csv(folder / "table.csv").to_pylist()
    one = next(line for line in lines if line["metric"] == "Adv. Acc") | {"hfc": ""}
    more = {"Adv. Acc of NORMAL": 81.25, "Adv. Acc at 8 bits": 12.5, "mean Linf": 0.390625}
    lines += [one | {"metric": name, "value": value} for name, value in more.items()]
    pc.write_csv(pa.Table.from_pylist(lines), folder / "table.csv")
    page = render_report(folder).read_text(encoding="utf-8")
    assert "Stored at" in page
    assert "81.2" in page
    assert "0.3906" in page
    assert "After the images were stored and read again, the decision is changed in 12.5" in page
