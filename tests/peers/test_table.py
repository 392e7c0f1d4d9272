"""docs/peers.md shows what was measured; runs without the peers."""

from __future__ import annotations

import json
from pathlib import Path

from medaegis import __version__
from peers.table import table

ROOT = Path(__file__).parents[2]


def test_the_docs_table_is_the_stored_one() -> None:
    stored = json.loads((ROOT / "benchmarks" / "results" / __version__ / "peer_agreement.json").read_text())
    assert table(stored["rows"]) in (ROOT / "docs" / "peers.md").read_text()
