"""Detectors against scikit-learn at ResNet-50's sizes: 49 layers, N = 1500, one interleaved run on one thread.

    python benchmarks/detectors.py            # writes benchmarks/results/<version>/detectors--<machine>.json

KD against `KernelDensity` (its default tree, and brute force with a leaf for all cases, which alone is exact at these
widths), MAHA against `EmpiricalCovariance.mahalanobis` (fit and score), LID against `NearestNeighbors`; each scores the
same queries at all layers. Targets: KD 20 times, MAHA 5 times, LID twice as fast.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attack_step import processor
from mixture import features, layer_widths
from sklearn.covariance import EmpiricalCovariance
from sklearn.neighbors import KernelDensity, NearestNeighbors
from threadpoolctl import threadpool_limits
from torch import Tensor

from medaegis import __version__
from medaegis.detect import KD, LID, MAHA, Detector
from medaegis.experiment._outputs import environment

Layers = dict[str, Tensor]
CASES, QUERIES, BANDWIDTH, NEIGHBOURS, MINIBATCH = 1500, 200, 0.5, 20, 100


def layers_of(n: int, seed: int) -> Layers:
    return {name: features(n, d, seed).double() for name, d in layer_widths().items()}


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = run()
    return time.perf_counter() - start, found


def ours(detector: Detector, train: Layers, labels: Tensor, query: Layers, predicted: Tensor) -> np.ndarray:
    return detector.fit(train, labels).score(query, predicted).numpy()


def their_kd(train: Layers, labels: Tensor, query: Layers, predicted: Tensor, **tree: Any) -> np.ndarray:
    total = np.zeros(len(predicted))
    for name, z in train.items():
        for c in labels.unique().tolist():
            fitted = KernelDensity(bandwidth=BANDWIDTH, **tree).fit(z[labels == c].numpy())
            here = (predicted == c).numpy()
            total[here] -= fitted.score_samples(query[name].numpy()[here])
    return total / len(train)


def their_maha(train: Layers, labels: Tensor, query: Layers) -> np.ndarray:
    total = np.zeros(len(next(iter(query.values()))))
    for name, z in train.items():
        classes = labels.unique().tolist()
        means = {c: z[labels == c].mean(dim=0).numpy() for c in classes}
        centred = z.numpy() - np.stack([means[c] for c in labels.tolist()])
        fitted = EmpiricalCovariance(assume_centered=True).fit(centred)
        away = [fitted.mahalanobis(query[name].numpy() - means[c]) for c in classes]
        total += np.min(away, axis=0) / z.shape[1]
    return total / len(train)


def their_lid(references: Layers, query: Layers) -> np.ndarray:
    found = []
    for name, z in references.items():
        fitted = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(z.numpy())
        r, _ = fitted.kneighbors(query[name].numpy())
        found.append(-1 / np.log(r / r[:, -1:]).mean(axis=1))
    return np.mean(found, axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    train, query = layers_of(CASES, 0), layers_of(QUERIES, 1)
    labels, predicted = torch.arange(CASES) % 2, torch.arange(QUERIES) % 2
    small = {name: z[:MINIBATCH] for name, z in train.items()}
    runs: dict[str, Callable[[], np.ndarray]] = {
        "KD": lambda: ours(KD(BANDWIDTH, layers="relu"), train, labels, query, predicted),
        "KD scikit-learn, default": lambda: their_kd(train, labels, query, predicted),
        "KD scikit-learn, exact": lambda: their_kd(train, labels, query, predicted, leaf_size=2 * CASES),
        "MAHA": lambda: ours(MAHA(), train, labels, query, predicted),
        "MAHA scikit-learn": lambda: their_maha(train, labels, query),
        "LID": lambda: ours(LID(NEIGHBOURS, minibatch=MINIBATCH), small, labels[:MINIBATCH], query, predicted),
        "LID scikit-learn": lambda: their_lid(small, query),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    scores: dict[str, np.ndarray] = {}
    with threadpool_limits(1):
        for repeat in range(args.repeats + 1):
            for name, run in runs.items():
                seconds, scores[name] = timed(run)
                print(f"{name}: {seconds:.2f} s", flush=True)
                if repeat:
                    times[name].append(seconds)
    median = {name: statistics.median(values) for name, values in times.items()}
    found = {
        "what": f"{len(train)} layers of ResNet-50's widths, N = {CASES}, {QUERIES} queries, fit and score, float64",
        "median seconds": {name: round(value, 3) for name, value in median.items()},
        "theirs over ours": {name: round(value / median[name.split()[0]], 1) for name, value in median.items()},
        "largest relative difference": {
            "KD": float(np.abs(scores["KD scikit-learn, exact"] / scores["KD"] - 1).max()),
            "LID": float(np.abs(scores["LID scikit-learn"] / scores["LID"] - 1).max()),
        },
        "repeats": args.repeats,
        "processor": processor(),
        "environment": environment("cpu"),
    }
    print(json.dumps(found, indent=1))
    folder = Path(__file__).parent / "results" / __version__
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"detectors--{platform.machine()}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
