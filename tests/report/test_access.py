"""Every page for everyone: structure, words for pictures, contrast, the keyboard alone, and a silent console."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from medaegis.report import (
    _budgets,
    _curves,
    _defence,
    _direction,
    _figures,
    _layers,
    _map,
    _stress,
    _study_figures,
    render_index,
    render_report,
)
from report.browser import Browser, installed
from report.fake_defence import write_fake_defence
from report.test_page import Reader, parse

NON_TEXT, TEXT = 3.0, 4.5  # WCAG 2.2 AA: 1.4.11 and 1.4.3
ON_PAGE = ("--ink", "--soft", "--link", "--warn")
CSS = resources.files("medaegis.report").joinpath("templates", "report.css").read_text("utf-8")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, finished: Path) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("shelf")
    trial = render_report(write_fake_defence(folder / "trial"))
    return {"detectors": finished / "report.html", "trial": trial, "index": render_index(folder)}


@pytest.fixture(params=["detectors", "trial", "index"])
def any_page(request: pytest.FixtureRequest, pages: dict[str, Path]) -> Path:
    return pages[request.param]


@pytest.fixture
def read(any_page: Path) -> Reader:
    return parse(any_page.read_text(encoding="utf-8"))


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def palettes() -> list[dict[str, str]]:
    light, dark = (
        dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", body)) for body in re.findall(r":root \{(.*?)\}", CSS, re.S)
    )
    return [light, light | dark]


def test_contrast_is_reckoned_right() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("palette", palettes(), ids=["light", "dark"])
def test_text_stands_out(palette: dict[str, str]) -> None:
    for ground in ("--page", "--tint"):
        for text in ON_PAGE:
            assert contrast(palette[text], palette[ground]) >= TEXT, (text, ground)
    for text in ("--ink", "--warn", "--link"):
        assert contrast(palette[text], palette["--warn-tint"]) >= TEXT, text
    for ground in ("--card", "--card-tint"):
        for text in ("--card-ink", "--card-soft", "--card-link"):
            assert contrast(palette[text], palette[ground]) >= TEXT, (text, ground)


def colours() -> set[str]:
    strokes = [*_figures.STROKES.values(), *_budgets.KEYS, _budgets.GUESSING, *_layers.OTHERS.values()]
    strokes += [_curves.OTHERS, _curves.ATTACK, _defence.AREA, _defence.SUCCESS, _defence.GUESSING, _direction.FIT]
    marks = [*_map.CLEAN_MARKERS, *_map.ATTACK_MARKERS, *_map.HIDDEN_MARKERS]
    return {
        *(stroke.colour for stroke in strokes), *(colour for colour, _ in marks),
        *(colour for colour, _ in _stress.LINES), _study_figures.DOT, _figures.INK,
    }  # fmt: skip


@pytest.mark.parametrize("palette", palettes(), ids=["light", "dark"])
def test_lines_and_dots_stand_out_from_their_card(palette: dict[str, str]) -> None:
    assert len(colours()) >= 8
    for colour in colours():
        assert contrast(colour, palette["--card"]) >= NON_TEXT, colour


@pytest.mark.parametrize("shade", [i / 50 for i in range(51)])
def test_numbers_in_a_matrix_can_be_read_on_any_square(shade: float) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    ground = colormaps["Blues"](shade / _study_figures.DARKEST)
    text = {"black": "#000000", "white": "#ffffff"}[_study_figures._readable(ground)]
    assert contrast(text, to_hex(ground)) >= TEXT


def test_colour_is_never_alone() -> None:
    """Kinds that share a drawing differ in dash or shape too."""
    assert len({_figures.STROKES[kind].dash for kind in ("noise", "without", "with")}) == 3
    assert len({shape for _, shape in (*_map.CLEAN_MARKERS, *_map.ATTACK_MARKERS, *_map.HIDDEN_MARKERS)}) == 12


def test_language_title_and_skip_link(read: Reader) -> None:
    html = next(a for tag, a in read.seen if tag == "html")
    assert html["lang"] == "en"
    links = [a for tag, a in read.seen if tag == "a"]
    assert links[0]["class"] == "skip"
    assert (links[0]["href"] or "")[1:] in {a.get("id") for _, a in read.seen}
    assert sum(tag == "h1" for tag, _ in read.seen) == sum(tag == "main" for tag, _ in read.seen) == 1


def test_headings_go_down_one_step_at_a_time(read: Reader) -> None:
    levels = [int(tag[1]) for tag, _ in read.seen if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_every_head_of_a_table_has_a_scope_and_every_table_a_name(read: Reader) -> None:
    assert all(a.get("scope") in ("col", "row", "colgroup", "rowgroup") for tag, a in read.seen if tag == "th")
    tags = [tag for tag, _ in read.seen]
    for i, (tag, attributes) in enumerate(read.seen):
        if tag == "table":
            assert attributes.get("aria-labelledby") or tags[i + 1] == "caption"


def test_every_picture_has_words_or_is_hidden(read: Reader) -> None:
    hidden = 0
    for tag, a in read.seen:
        if tag == "img":
            assert a.get("alt")
        if tag == "svg" and a.get("role") == "img":
            hidden += not a["aria-label"]
    samples = sum(a.get("class") == "dot" for _, a in read.seen)
    assert hidden == samples  # a legend's samples stand beside their words, in an element that is hidden from readers


def test_what_scrolls_can_be_reached(read: Reader) -> None:
    for _, a in read.seen:
        if (a.get("class") or "").split()[:1] == ["scroll"]:
            assert (a.get("tabindex"), a.get("role")) == ("0", "region")
            assert a.get("aria-labelledby")


def test_every_fold_has_a_name(any_page: Path) -> None:
    text = any_page.read_text(encoding="utf-8")
    names = re.findall(r"<details[^>]*>\s*<summary[^>]*>\s*(.*?)\s*</summary>", text, re.DOTALL)
    assert len(names) == text.count("<details")
    assert all(names)


def test_focus_is_never_taken_away() -> None:
    assert ":focus-visible { outline: 3px" in CSS
    assert not re.search(r"outline: *(none|0)", CSS)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if installed() is None:
        pytest.skip("no chromium is installed: the console, the keyboard and the width were not checked")
    with Browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (400, False)])
def test_the_console_is_silent_and_nothing_hangs_over(browser: Browser, any_page: Path, width: int, dark: bool) -> None:
    browser.open(any_page, width=width, dark=dark)
    assert browser.complaints() == []
    assert browser.run("document.documentElement.scrollWidth") == width
    ground = browser.run("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(21, 24, 28)" if dark else "rgb(255, 255, 255)")


def test_the_keyboard_reaches_the_map_and_shows_a_case(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["detectors"])
    browser.press("Tab", 9)
    assert browser.run("document.activeElement.className") == "skip"
    assert browser.run("document.activeElement.getBoundingClientRect().left") >= 0
    for _ in range(300):
        if browser.run("document.activeElement.type") == "radio":
            break
        browser.press("Tab", 9)
        assert (
            browser.run(
                "getComputedStyle(document.activeElement.closest('label') ?? document.activeElement).outlineStyle"
            )
            == "solid"
        )
    browser.press("ArrowDown", 40)
    assert browser.run("document.activeElement.ariaLabel") == "c1, clean, NORMAL (target)"
    assert browser.run("document.activeElement.parentElement.querySelector('.tip').checkVisibility()") is True
    assert browser.run("[...document.querySelectorAll('.tip')].filter(t => t.checkVisibility()).length") == 1
    browser.press("Tab", 9)
    assert browser.run("document.activeElement.type") != "radio"


def test_a_pointer_shows_a_case(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["detectors"])
    at = browser.run(
        "(() => { const d = document.querySelectorAll('.dot-place')[100]; d.scrollIntoView({block: 'center'}); "
        "const r = d.getBoundingClientRect(); return [r.x + 8, r.y + 8]; })()"
    )
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=at[0], y=at[1])
    assert browser.run("[...document.querySelectorAll('.tip')].filter(t => t.checkVisibility()).length") == 1


def test_what_is_folded_is_printed(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["trial"])
    folded = "[...document.querySelectorAll('details:not([open]) table')]"
    assert browser.run(f"{folded}.length") > 3
    assert browser.run(f"{folded}.some(t => t.checkVisibility())") is False
    browser.send("Emulation.setEmulatedMedia", media="print")
    assert browser.run(f"{folded}.every(t => t.checkVisibility() && t.getBoundingClientRect().height > 0)") is True
