"""A run's tables as LaTeX and Markdown, laid out as the papers lay out theirs."""

from __future__ import annotations

import base64
import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from markupsafe import Markup

from medaegis.report._differs import differences_from_paper
from medaegis.report._paper import clean_line, counted_once
from medaegis.report._read import TABLE_NUMBERS, TABLE_TEXT, Row, RunFolder
from medaegis.report._study import StudyTable
from medaegis.report._tables import Line

TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "{''}",
    "[": "{[}",  # a row that begins with [ would be read as the optional argument of the \\ before it
    "]": "{]}",
    "\u00a0": "~",
    "\u2192": r"$\rightarrow$",
    "\u2212": "$-$",
    "\u2013": "--",
    "\u2019": "'",
    "\u2026": r"\ldots{}",
    "\u00d7": r"$\times$",
    "\u2265": r"$\geq$",
    "\u221e": r"$\infty$",
}
NEGATIVE = re.compile(r"(?<![\w.)])-(?=\d)")
MARKDOWN = re.compile(r"([\\`*_\[\]<>|#~$&])")


@dataclass(frozen=True)
class Printed:
    """A table as text: heads, then rows of equal length; `style` says what a row is.

    Args:
        caption: above the table.
        heads: the first line of the head after the corner, each with the number of columns below it.
        below: the second line, one text a column; empty where no head is divided.
        rows: style ("value", "interval", "n", "published" or "group") and texts, the row's name first.
    """

    caption: str
    corner: str
    heads: tuple[tuple[str, int], ...]
    below: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def width(self) -> int:
        """Columns after the first."""
        return sum(span for _, span in self.heads)


def printed(table: StudyTable) -> Printed:
    """A table as rows of text: each value's interval below it, and the published figures below that.

    Args:
        table: a grid with its caption.

    Returns:
        The same as text. Where all cells have the same n it stands in the caption, else in a row of its own.

    Example:
        >>> from medaegis.report._tables import Cell, Column, Grid
        >>> one = Grid("Detector", (Column("AUC", ("",)),), (Line("KD", (Cell("50.0", "[40.0, 60.0]", "n = 9"),)),))
        >>> printed(StudyTable("A", one)).rows
        (('value', ('KD', '50.0')), ('interval', ('', '[40.0, 60.0]')))
    """
    table = counted_once(table)
    grid = table.grid
    heads = tuple((column.metric, len(column.variants)) for column in grid.columns)
    split = any(column.variants != ("",) for column in grid.columns)
    below = tuple(label for column in grid.columns for label in column.labels) if split else ()
    below = tuple("" if label == "attack" else label for label in below)
    rows: list[tuple[str, tuple[str, ...]]] = []
    group = ""
    for line in grid.lines:
        if line.group and line.group != group:
            rows.append(("group", (line.group,)))
        group = line.group
        rows += _rows(line)
    return Printed(table.caption, grid.corner, heads, below, tuple(rows))


def _rows(line: Line) -> list[tuple[str, tuple[str, ...]]]:
    """The value's row, then those of interval, n and published figure where a cell has one."""
    parts: list[tuple[str, str, list[str]]] = [
        ("value", line.name, [one.value for one in line.cells]),
        ("interval", "", [one.interval for one in line.cells]),
        ("n", "", [one.n for one in line.cells]),
        ("published", "published", [one.published for one in line.cells]),
    ]
    return [(style, (name, *texts)) for style, name, texts in parts if style == "value" or any(texts)]


def tex_text(text: str) -> str:
    r"""Plain text as LaTeX takes it.

    Example:
        >>> tex_text("TPR@90 & 5 %_x")
        'TPR@90 \\& 5 \\%\\_x'
    """
    return "".join(TEX.get(letter, letter) for letter in NEGATIVE.sub("\u2212", text))


def markdown_text(text: str) -> str:
    r"""Plain text as Markdown takes it, also inside a table.

    Example:
        >>> markdown_text("a|b_c"), markdown_text("")
        ('a\\|b\\_c', '')
    """
    return MARKDOWN.sub(r"\\\1", " ".join(text.split("\n")))


def latex(tables: Sequence[StudyTable], name: str, notes: Sequence[str] = ()) -> str:
    """Tables as LaTeX with booktabs.

    Args:
        tables: in order.
        name: of the recipe; labels are made from it.
        notes: sentences below the last table.

    Returns:
        The text of table.tex, to be put into a paper as it is.

    Example:
        >>> latex([], "demo").splitlines()[0]
        '% Tables of the recipe demo. They need the packages booktabs and graphicx.'
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # LaTeX, not HTML: every text goes through the filter `tex`
    )
    environment.filters["tex"] = tex_text
    source = resources.files("medaegis.report").joinpath("templates", "table.tex.j2").read_text("utf-8")
    label = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
    shown = [printed(table) for table in tables]
    return environment.from_string(source).render(
        tables=shown, rules=[_rules(one) for one in shown], name=name, label=label, notes=notes
    )


def _rules(table: Printed) -> str:
    """The short rules under heads that span several columns."""
    rules: list[str] = []
    at = 2
    for _, span in table.heads:
        rules += [rf"\cmidrule(lr){{{at}-{at + span - 1}}}"] if span > 1 else []
        at += span
    return " ".join(rules)


def markdown(tables: Sequence[StudyTable], notes: Sequence[str] = ()) -> str:
    """Tables as Markdown, with pipes; heads that span several columns are said again in each.

    Args:
        tables: in order.
        notes: sentences below the last table.

    Example:
        >>> from medaegis.report._tables import Cell, Column, Grid
        >>> one = Grid("Detector", (Column("AUC", ("",)),), (Line("KD", (Cell("50.0"),)),))
        >>> print(markdown([StudyTable("Ours", one)]))
        **Ours**
        <BLANKLINE>
        | Detector | AUC |
        | --- | --- |
        | **KD** | 50.0 |
        <BLANKLINE>
    """
    parts = [_markdown(printed(table)) for table in tables]
    parts += [markdown_text(note) for note in notes]
    return "\n\n".join(parts) + "\n"


def _markdown(table: Printed) -> str:
    spread = [head for head, span in table.heads for _ in range(span)]
    below = table.below or ("",) * len(spread)
    heads = [f"{head}, {label}" if label else head for head, label in zip(spread, below, strict=True)]
    rows = [_piped([table.corner, *heads]), _piped(["---"] * (len(heads) + 1), raw=True)]
    for style, texts in table.rows:
        shown = [markdown_text(text) for text in (*texts, *[""] * (len(heads) + 1 - len(texts)))]
        if style in ("value", "group"):
            shown[0] = f"**{shown[0]}**"
        if style == "published":
            shown = [f"*{text}*" if text else "" for text in shown]
        rows.append(_piped(shown, raw=True))
    return f"**{markdown_text(table.caption)}**\n\n" + "\n".join(rows)


def _piped(texts: Sequence[str], *, raw: bool = False) -> str:
    return "| " + " | ".join(text if raw else markdown_text(text) for text in texts) + " |"


@dataclass(frozen=True)
class Export:
    """A run's table as a file: its name, what it is called on the page, its text, and the text as a data address.

    `written` is false where the run has the file already.
    """

    name: str
    title: str
    text: str
    address: Markup
    written: bool = True


def exports(run: RunFolder, tables: Sequence[StudyTable]) -> tuple[Export, ...]:
    """The files table.tex and table.md, in the paper's layout, and table.csv, one figure a line.

    Args:
        run: a run folder's contents.
        tables: in the paper's layout.

    Example:
        >>> [file.name for file in exports(read_run(Path("runs/demo")), ())]  # doctest: +SKIP
        ['table.tex', 'table.md', 'table.csv']
    """
    name, notes = run.manifest.recipe, notes_of(run)
    return (
        _export("table.tex", "LaTeX", latex(tables, name, notes), "text/x-tex"),
        _export("table.md", "Markdown", markdown(tables, notes), "text/markdown"),
        _export("table.csv", "CSV, one figure a line", _csv(run.table), "text/csv", written=False),
    )


def _export(name: str, title: str, text: str, kind: str, *, written: bool = True) -> Export:
    coded = base64.b64encode(text.encode("utf-8")).decode("ascii")
    return Export(name, title, text, Markup(f"data:{kind};charset=utf-8;base64,{coded}"), written)


def notes_of(run: RunFolder) -> list[str]:
    """What has to be said beneath an exported table: the classifiers, where figures come from, what differs."""
    manifest = run.manifest
    notes = [clean_line(run.table), "Brackets hold 95 % intervals."]
    if run.by_seed:
        notes.append("Values are means over seeds, n counts the cases of all.")
    if manifest.paper and any(math.isfinite(row.published) for row in run.table):
        notes.append(f"Published: {manifest.paper}, made on other images with other weights.")
    differs = "; ".join(
        f"{one.what}: {one.here} (paper: {one.paper})" for one in differences_from_paper(manifest, run.table)
    )
    notes.append(f"Differs from the paper: {differs}." if differs else "")
    notes.append(f"Recipe {manifest.recipe}, medaegis {manifest.medaegis}, commit {manifest.commit or 'not recorded'}.")
    return [note for note in notes if note]


def _csv(table: Sequence[Row]) -> str:
    buffer = io.StringIO()
    names = [*TABLE_TEXT, *TABLE_NUMBERS]
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    for row in table:
        values = {name: getattr(row, name) for name in names}
        writer.writerow({name: "" if value is None or value != value else value for name, value in values.items()})
    return buffer.getvalue()
