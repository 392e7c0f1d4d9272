"""The table of docs/peers.md from the stored rows; needs none of the peers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

HEAD = (
    "| Attack | Peer | Same definition | Equal pixels, float64 | float32, small | float32, ResNet-18 "
    "| Success, ours / peer | Objective, ours / peer | Median L2, ours / peer |"
)


def table(rows: Iterable[dict[str, Any]]) -> str:
    """Markdown, one line a pair."""
    lines = [HEAD, "|" + " --- |" * 9]
    for row in rows:
        shares = [_share(row.get(name)) for name in ("float64", "float32 small", "float32 resnet18")]
        if not row["same"]:
            shares[1:] = ["", ""]
        pairs = [" / ".join(_number(value) for value in row[name]) for name in ("success", "objective", "length")]
        cells = [row["attack"], row["peer"], "yes" if row["same"] else "no", *shares, *pairs]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f} %"


def _number(value: float) -> str:
    return f"{value:.4f}"
