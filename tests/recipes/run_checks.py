"""What tests of recipes read from a run's folder, and checks that several of them share."""

from __future__ import annotations

from pathlib import Path

import pyarrow.csv
import pytest

COLUMNS = [
    "dataset",
    "model",
    "attack",
    "eps",
    "hfc",
    "detector",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "n",
    "published",
]


def rows_of(out: Path) -> list[dict]:
    """The table, whose columns are those of every recipe."""
    table = pyarrow.csv.read_csv(out / "table.csv")
    assert table.column_names == COLUMNS
    return table.to_pylist()


def key(row: dict) -> tuple[str, ...]:
    """A row's place in the table."""
    return tuple(row[name] for name in ("attack", "eps", "hfc", "detector", "metric"))


def check_hiding(out: Path, ways: set[str], detectors: int) -> None:
    """A row for every attack, way of hiding and detector, and drawings by layer."""
    rows = rows_of(out)
    attacks = {row["attack"] for row in rows if row["attack"]}
    for attack in attacks:
        assert {row["hfc"] for row in rows if row["attack"] == attack} == ways
    assert len({row["detector"] for row in rows if row["detector"]}) == detectors
    for metric in ("Adv. Acc", "AUC", "TPR@90", "undetected"):
        each = 1 if metric == "Adv. Acc" else detectors
        assert sum(row["metric"] == metric for row in rows) == len(attacks) * len(ways) * each
    layers = pyarrow.csv.read_csv(out / "layers.csv").to_pylist()
    shares = [line["value"] for line in layers if line["measure"] == "share of the gradient"]
    assert sum(shares) == pytest.approx(200, abs=0.01)  # of the first and of the last step
    page = (out / "report.html").read_text()
    assert ("Way of hiding" in page) == (len(ways) > 2)
    assert "Layer by layer" in page
