"""Measure every pair and print the table of docs/peers.md: `PYTHONPATH=tests python -m peers.report`."""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medaegis import __version__
from medaegis.experiment._outputs import environment, package_versions
from peers.agreement import compare, worlds
from peers.pairs import OTHER, SAME, SEARCHES, Pair, boundary_pairs
from peers.table import table
from peers.worlds import NETWORKS

ROOT = Path(__file__).parents[2]
PEERS = ("torchattacks", "foolbox", "adversarial-robustness-toolbox")


def row(pair: Pair, same: bool) -> dict[str, Any]:
    """One line of the table; shares of equal pixels are those of the worst world."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  # ART draws from the global generator
    single = {name: [compare(pair, where) for where in worlds(pair, name, torch.float32)] for name in NETWORKS}
    both = [found for part in single.values() for found in part]
    line: dict[str, Any] = {"attack": pair.attack, "peer": pair.peer, "same": same}
    if same:
        double = [compare(pair, w) for name in NETWORKS for w in worlds(pair, name, torch.float64)] if pair.wide else []
        line["float64"] = round(min(found.equal for found in double), 4) if double else None
    line |= {f"float32 {name}": round(min(found.equal for found in part), 4) for name, part in single.items()}
    for name in ("success", "length", "objective"):
        line[name] = [round(float(np.nanmean([getattr(found, name)[i] for found in both])), 4) for i in (0, 1)]
    return line | {"worlds": len(both)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = ROOT / "benchmarks" / "results" / __version__ / "peer_agreement.json"
    parser.add_argument("--out", type=Path, default=default)
    out = parser.parse_args().out
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    lines = [row(pair, True) for pair in SAME]
    lines += [row(pair, False) for pair in (*OTHER, *SEARCHES, *boundary_pairs())]
    known = environment("cpu")
    known["versions"] |= package_versions(PEERS)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"rows": lines, "environment": known}, indent=1) + "\n")
    print(table(lines))


if __name__ == "__main__":
    main()
