"""What every page shares: the templates' environment, the style, words for times and settings, writing whole files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from medaegis.report._tables import cell

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = "templates"
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


@cache
def pages() -> Environment:
    """The templates of HTML pages, each compiled once: every text is escaped, an unknown name is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("medaegis.report", TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., Any]] = {"duration": duration, "date": date, "plain": plain, "cell": cell}
    environment.filters.update(filters)
    return environment


def style() -> Markup:
    """The style sheet, to stand inside a page."""
    return Markup(resources.files("medaegis.report").joinpath(TEMPLATES, "report.css").read_text("utf-8"))


def write_whole(target: Path, text: str) -> Path:
    """Write a text file that appears whole or not at all.

    Args:
        target: where to; replaced if it is there.
        text: written as UTF-8 with line feeds.

    Returns:
        `target`.
    """
    unfinished = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
    try:
        unfinished.write_text(text, encoding="utf-8", newline="\n")
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)
    return target


def duration(seconds: float) -> str:
    """A time span in words.

    Example:
        >>> duration(3671), duration(0.42), duration(75)
        ('1 h 1 min', '0.4 s', '1 min 15 s')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def date(iso: str) -> str:
    """An ISO time as people write it; text that is none stays as it is.

    Example:
        >>> date("2026-03-01T14:05:09+00:00")
        '1 March 2026, 14:05 UTC'
    """
    try:
        when = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    zone = f" {when.tzname()}" if when.tzinfo else ""
    return f"{when.day} {MONTHS[when.month - 1]} {when.year}, {when:%H:%M}{zone}"


def plain(value: Any) -> str:
    """A setting as text: words and numbers as they are, lists and groups as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping | list):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
