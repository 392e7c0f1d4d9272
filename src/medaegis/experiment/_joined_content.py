"""The contents of several runs as one: one table of all rows, facts told apart, pictures in folders of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from medaegis.experiment._content import Content, Joint, Row

PHANTOMS = "phantom"


class Told(NamedTuple):
    """One part of a joined run.

    Attributes:
        name: what folders and lines call it.
        manifest: its own title, question and settings.
        content: what its plan collected.
        phantom: whether its images are synthetic, so that the papers' figures do not stand beside its own.
        label: what its data set's name gets in the joined table, where several parts have one.
        rows: its rows as the joined table has them, None for those left out.
    """

    name: str
    manifest: dict[str, Any]
    content: Content
    phantom: bool = False
    label: str = ""
    rows: Callable[[Row], Row | None] | None = None


def joined_content(parts: Sequence[Told], left_out: Sequence[str] = ()) -> Content:
    """One table of several parts' rows; pictures, scores and curves stay with each part, unless there is one only.

    Args:
        parts: at least one.
        left_out: lines on parts that are not there.
    """
    known = [part._replace(content=_of_phantoms(part.content)) if part.phantom else part for part in parts]
    if len(known) == 1:
        content = known[0].content
        return replace(content, facts=content.facts | {"differs": [*left_out, *content.facts["differs"]]})
    rows: dict[Row, Row] = {}
    for row in (_labelled(row, part.label) for part in known for row in _joint_rows(part)):
        rows.setdefault(row._replace(published=None), row)
    joints = tuple(Joint(part.name, part.manifest, part.content) for part in known)
    return Content(list(rows.values()), [], _facts(known, left_out), parts=joints)


def _joint_rows(part: Told) -> list[Row]:
    if part.rows is None:
        return part.content.rows
    return [row for row in map(part.rows, part.content.rows) if row is not None]


def _labelled(row: Row, label: str) -> Row:
    return row._replace(dataset=f"{row.dataset}: {label}") if label else row


def _of_phantoms(content: Content) -> Content:
    return replace(content, rows=[_of_phantom(row) for row in content.rows])


def _of_phantom(row: Row) -> Row:
    named = row.dataset if PHANTOMS in row.dataset.lower() else f"{row.dataset} (phantoms)"
    return row._replace(dataset=named, published=None)


def _facts(parts: Sequence[Told], left_out: Sequence[str]) -> dict[str, Any]:
    every = [part.content.facts for part in parts]
    told = [facts["adaptive"] for facts in every if facts["adaptive"] is not None]
    return {
        "data": _data(parts),
        "model": {key: _listed(_each(facts["model"][key] for facts in every)) for key in every[0]["model"]},
        "adaptive": all(told) if told else None,
        "followed": _followed(parts),
        "scores": False,
        "checks": [
            check | {"name": f"{check['name']} ({part.name})"}
            for part in parts
            for check in part.content.facts["checks"]
        ],
        "warnings": [f"{part.name}: {text}" for part in parts for text in part.content.facts["warnings"]],
        "differs": [*left_out, *_differs(parts)],
        "attack": {part.name: part.content.facts.get("attack") for part in parts},
        "history": {part.name: part.content.facts.get("history") for part in parts},
        "parts": [{"title": part.name, "page": f"{part.name}/report.html"} for part in parts],
    }


def _data(parts: Sequence[Told]) -> dict[str, Any]:
    """Sizes and splits by part; images that several parts read are counted once."""
    every = {part.name: part.content.facts["data"] for part in parts}
    images = {(facts["source"], facts["fingerprint"]): facts for facts in every.values()}.values()
    found: dict[str, Any] = {
        key: _listed(facts[key] for facts in every.values()) for key in ("source", "root", "fingerprint")
    }
    found |= {
        "n": sum(facts["n"] for facts in images),
        "skipped": [one for facts in images for one in facts["skipped"]],
    }
    for key in ("classes", "split"):
        found[key] = {
            f"{name}, {part}": n for name, facts in every.items() for part, n in facts[key].items() if part != "by"
        }
    found["split"]["by"] = _listed(facts["split"].get("by", "") for facts in every.values())
    return found


def _differs(parts: Sequence[Told]) -> list[str]:
    """What all parts say, once; what only some say, with their names."""
    said: dict[str, list[str]] = {}
    for part in parts:
        for text in part.content.facts["differs"]:
            said.setdefault(text, []).append(part.name)
    return [text if len(names) == len(parts) else f"{', '.join(names)}: {text}" for text, names in said.items()]


def _followed(parts: Sequence[Told]) -> list[str]:
    """Detectors that an attack followed in every part that has them."""
    found: dict[str, bool] = {}
    for part in parts:
        own = part.content.facts.get("followed", [])
        for name in dict.fromkeys(row.detector for row in part.content.rows if row.detector):
            found[name] = found.get(name, True) and name in own
    return [name for name, everywhere in found.items() if everywhere]


def _each(values: Iterable[Any]) -> list[str]:
    """The values, those apart that are listed in one: a part may have several networks."""
    return [one for value in values for one in str(value or "").split(", ")]


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(dict.fromkeys(str(value) for value in values if value))
