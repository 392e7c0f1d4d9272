"""Detectors against scikit-learn at ResNet-50's sizes: 49 layers, 1500 Train cases, 1500 queries, one thread.

    python benchmarks/detectors.py            # writes benchmarks/results/<version>/detectors--<machine>.json

KD against `KernelDensity` (its default tree, and brute force with a leaf for all cases, which alone is exact at these
widths), MAHA against `EmpiricalCovariance.mahalanobis`, LID against `NearestNeighbors` in the papers' minibatch of 100;
each fits all layers, then scores the same queries at all layers, in turn within each repeat. KD and MAHA, ours and
scikit-learn's, get the features in float64; LID, ours and scikit-learn's, gets the same numbers in float32, as networks
give them, and both once more in float64 under the name LID-float64. Times are those of this process on the processor,
which others on the machine do not lengthen. MAHA chooses a shrinkage at each layer, which scikit-learn's covariance
does not: its scores are compared with NumPy's solution of ours. Targets: KD 20 times, MAHA 5 times, LID twice as fast.
Then all detectors on images through one pass of ResNet-50.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from attack_step import processor, ratio, untouched
from mixture import features, layer_widths
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.covariance import EmpiricalCovariance
from sklearn.neighbors import KernelDensity, NearestNeighbors
from threadpoolctl import threadpool_limits
from torch import Tensor

from medaegis import __version__
from medaegis.density._covariance import RIDGE
from medaegis.detect import BU, DNN, KD, KNN, LID, MAHA, MVG, SVM, Detector, Examples, HFCScore, score_together
from medaegis.experiment._outputs import environment

Layers = dict[str, Tensor]
Times = dict[str, list[float]]
CASES, QUERIES, CHECKED, BANDWIDTH, NEIGHBOURS, MINIBATCH = 1500, 1500, 100, 0.5, 20, 100
SIZES = ((CASES, 0), (QUERIES, 1))
"""Number of cases and seed, of Train and of the queries."""
SIZE, BATCH = 128, 8


class Run(NamedTuple):
    """What is fitted, and what then gives scores."""

    fit: Callable[[], Any]
    score: Callable[[Any], np.ndarray]


class Cases(NamedTuple):
    train: Layers
    labels: Tensor
    query: Layers
    predicted: Tensor

    def rows(self, fitted: int, scored: int) -> Cases:
        known, asked = ({n: z[:k] for n, z in part.items()} for k, part in ((fitted, self.train), (scored, self.query)))
        return Cases(known, self.labels[:fitted], asked, self.predicted[:scored])

    def single(self) -> Cases:
        """In float32, which loses nothing: `features` gives float32."""
        known, asked = ({name: z.float() for name, z in part.items()} for part in (self.train, self.query))
        return Cases(known, self.labels, asked, self.predicted)


def cases_of(widths: dict[str, int]) -> Cases:
    train, query = ({name: features(n, d, s).double() for name, d in widths.items()} for n, s in SIZES)
    return Cases(train, torch.arange(CASES) % 2, query, torch.arange(QUERIES) % 2)


def ours(detector: Detector, cases: Cases) -> Run:
    return Run(
        lambda: detector.fit(cases.train, cases.labels),
        lambda fitted: fitted.score(cases.query, cases.predicted).numpy(),
    )


def their_kd(cases: Cases, **tree: Any) -> Run:
    classes = cases.labels.unique().tolist()

    def fit() -> dict[tuple[str, int], KernelDensity]:
        made = {(name, c): z[cases.labels == c].numpy() for name, z in cases.train.items() for c in classes}
        return {key: KernelDensity(bandwidth=BANDWIDTH, **tree).fit(z) for key, z in made.items()}

    def score(fitted: dict[tuple[str, int], KernelDensity]) -> np.ndarray:
        total = np.zeros(len(cases.predicted))
        for (name, c), density in fitted.items():
            here = (cases.predicted == c).numpy()
            total[here] -= density.score_samples(cases.query[name].numpy()[here])
        return total / len(cases.query)

    return Run(fit, score)


def their_maha(cases: Cases) -> Run:
    classes = cases.labels.unique().tolist()

    def fit() -> dict[str, tuple[list[np.ndarray], EmpiricalCovariance]]:
        found = {}
        for name, z in cases.train.items():
            means = [z[cases.labels == c].mean(dim=0).numpy() for c in classes]
            centred = z.numpy() - np.stack(means)[cases.labels.numpy()]
            found[name] = means, EmpiricalCovariance(assume_centered=True).fit(centred)
        return found

    def score(fitted: dict[str, tuple[list[np.ndarray], EmpiricalCovariance]]) -> np.ndarray:
        total = np.zeros(len(cases.predicted))
        for name, (means, covariance) in fitted.items():
            z = cases.query[name].numpy()
            total += np.min([covariance.mahalanobis(z - mean) for mean in means], axis=0) / z.shape[1]
        return total / len(fitted)

    return Run(fit, score)


def their_lid(cases: Cases) -> Run:
    def score(fitted: dict[str, NearestNeighbors]) -> np.ndarray:
        found = []
        for name, trees in fitted.items():
            r, _ = trees.kneighbors(cases.query[name].numpy())
            found.append(-1 / np.log(r / r[:, -1:]).mean(axis=1))
        return np.mean(found, axis=0)

    return Run(
        lambda: {n: NearestNeighbors(n_neighbors=NEIGHBOURS).fit(z.numpy()) for n, z in cases.train.items()}, score
    )


def runs_of(cases: Cases) -> dict[str, Run]:
    small = cases.rows(MINIBATCH, QUERIES)
    single = small.single()
    return {
        "KD": ours(KD(BANDWIDTH, layers="relu"), cases),
        "KD scikit-learn, default": their_kd(cases),
        "KD scikit-learn, exact": their_kd(cases, leaf_size=2 * CASES),
        "MAHA": ours(MAHA(), cases),
        "MAHA scikit-learn": their_maha(cases),
        "LID": ours(LID(NEIGHBOURS, minibatch=MINIBATCH), single),
        "LID scikit-learn": their_lid(single),
        "LID-float64": ours(LID(NEIGHBOURS, minibatch=MINIBATCH), small),
        "LID-float64 scikit-learn": their_lid(small),
    }


def timed(run: Callable[[], Any], seconds: list[float]) -> Any:
    start = time.process_time()
    found = run()
    seconds.append(time.process_time() - start)
    return found


def measure(cases: Cases, times: dict[str, Times]) -> dict[str, np.ndarray]:
    """Each once, in turn: adds seconds of fit, score and both by name to `times`, and gives the scores."""
    scores: dict[str, np.ndarray] = {}
    for name, run in runs_of(cases).items():
        seconds = list[float]()
        fitted = timed(run.fit, seconds)
        scores[name] = timed(lambda run=run, fitted=fitted: run.score(fitted), seconds)
        for part, value in zip(("fit", "score", "both"), (*seconds, sum(seconds)), strict=True):
            times.setdefault(part, {}).setdefault(name, []).append(value)
        print(f"{name}: {seconds[0]:.2f} + {seconds[1]:.2f} s", flush=True)
    return scores


def exactness(cases: Cases, scores: dict[str, np.ndarray]) -> dict[str, float]:
    """Largest relative difference to float64 computations that share no code with ours, and of scikit-learn's KD."""
    few = cases.rows(CASES, CHECKED)
    direct = {"KD": direct_kd(few), "MAHA": direct_maha(few), "LID": direct_lid(few)}
    direct["LID-float64"] = direct["LID"]
    pairs = {f"{name} to direct float64": (scores[name], value) for name, value in direct.items()}
    for name in ("KD scikit-learn, default", "KD scikit-learn, exact", "LID scikit-learn", "LID-float64 scikit-learn"):
        pairs[f"{name} to direct float64"] = scores[name], direct[name.split()[0]]
    return {name: float(np.abs(found[:CHECKED] / wanted - 1).max()) for name, (found, wanted) in pairs.items()}


def direct_kd(cases: Cases) -> np.ndarray:
    total = np.zeros(len(cases.predicted))
    for name, z in cases.query.items():
        d = z.shape[1]
        for c in (0, 1):
            here, known = (cases.predicted == c).numpy(), cases.train[name][cases.labels == c].numpy()
            exponent = -cdist(z.numpy()[here], known, "sqeuclidean") / (2 * BANDWIDTH**2)
            constant = np.log(len(known)) + d * np.log(BANDWIDTH) + d / 2 * np.log(2 * np.pi)
            total[here] -= logsumexp(exponent, axis=1) - constant
    return total / len(cases.query)


def direct_lid(cases: Cases) -> np.ndarray:
    found = []
    for name, z in cases.query.items():
        r = np.sort(cdist(z.numpy(), cases.train[name][:MINIBATCH].numpy()), axis=1)[:, :NEIGHBOURS]
        found.append(-1 / np.log(r / r[:, -1:]).mean(axis=1))
    return np.mean(found, axis=0)


def direct_maha(cases: Cases) -> np.ndarray:
    """With the strengths that `MAHA` chose."""
    fitted, labels = MAHA().fit(cases.train, cases.labels).gaussians_, cases.labels.numpy()
    total = np.zeros(len(cases.predicted))
    for name, z in cases.query.items():
        known, a = cases.train[name].numpy(), fitted[name].strength
        means = np.stack([known[labels == c].mean(axis=0) for c in (0, 1)])
        s = np.cov((known - means[labels]).T, bias=True)
        s = (1 - a) * s + np.diag(a * np.diag(s) + RIDGE * np.diag(s).mean())
        away = [z.numpy() - mean for mean in means]
        total += np.min([(f * np.linalg.solve(s, f.T).T).sum(axis=1) for f in away], axis=0) / z.shape[1]
    return total / len(cases.query)


def together(cases: Cases, repeats: int = 15) -> dict[str, Any]:
    """A bare pass of ResNet-50 against a pass and all detectors' scores; and against each detector by itself."""
    model, generator = untouched("resnet50"), torch.Generator().manual_seed(0)
    model.fc = torch.nn.Linear(2048, 2)  # as many classes as the detectors know
    detectors = fitted_detectors(model, cases)
    x, passes = torch.rand(BATCH, 3, SIZE, SIZE, generator=generator), list[int]()
    handle = model.register_forward_hook(lambda *_: passes.append(1))
    score_together(detectors, model, x)
    handle.remove()
    with torch.no_grad():
        runs: dict[str, Callable[[], Any]] = {
            "bare": lambda: model(x),
            "together": lambda: score_together(detectors, model, x),
            "one by one": lambda: [detector.score_images(model, x) for detector in detectors.values()],
        }
        times: Times = {name: [] for name in runs}
        for _ in range(repeats):
            for name, run in runs.items():
                timed(run, times[name])
    bu = detectors["BU"]
    return {
        "what": f"ResNet-50 {SIZE}x{SIZE}, batch {BATCH}, float32; detectors of {CASES} Train cases: {list(detectors)}",
        "passes of the network": len(passes),
        "passes of its head's weight, by BU": bu.get_params()["passes"],
        "together / bare": ratio(times, "together", "bare"),
        "one by one / together": ratio(times, "one by one", "together"),
        "median seconds": {name: round(statistics.median(values), 4) for name, values in times.items()},
        "repeats": repeats,
    }


def fitted_detectors(model: torch.nn.Module, cases: Cases) -> dict[str, Detector]:
    """On made-up features: speed does not depend on values."""
    kinds: dict[str, Detector] = {
        "KD": KD(),
        "BU": BU(),
        "LID": LID(),
        "MAHA": MAHA(),
        "SVM": SVM(),
        "DNN": DNN(epochs=1),
    }
    kinds |= {"HFC": HFCScore(), "KNN": KNN(), "MVG": MVG()}
    last = list(cases.train)[-1]
    for detector in kinds.values():

        def part(z: Layers, detector: Detector = detector) -> Any:
            return z if detector.layers == "relu" else z[last]

        sides = ({name: z[k : k + 200] + k / 1000 for name, z in cases.query.items()} for k in (0, 200))
        detector.prepare(model).fit(part(cases.train), cases.labels, examples=Examples(*map(part, sides)))
    return kinds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    widths = layer_widths()
    with threadpool_limits(1):
        measure(cases_of(dict(list(widths.items())[:2])), {})  # warm-up
        cases, times = cases_of(widths), dict[str, Times]()
        exact = exactness(cases, measure(cases, times))
        images = together(cases)
        for _ in range(args.repeats - 1):
            measure(cases, times)
            write({"largest relative difference": exact, "images": images}, times, len(widths))


def write(known: dict[str, Any], times: dict[str, Times], layers: int) -> None:
    """After each repeat, so that a run that is stopped has said something."""
    found = {
        "what": f"{layers} layers of ResNet-50's widths, {CASES} Train cases, {QUERIES} queries, float64 (LID: "
        f"float32, LID-float64: float64), one thread; LID among {MINIBATCH}; seconds of the processor",
        "median seconds": {
            part: {name: round(statistics.median(values), 3) for name, values in named.items()}
            for part, named in times.items()
        },
        "theirs over ours": {
            part: {name: ratio(named, name, name.split()[0]) for name in named if " " in name}
            for part, named in times.items()
        },
        **known,
        "repeats": len(times["both"]["KD"]),
        "processor": processor(),
        "environment": environment("cpu"),
    }
    print(json.dumps(found, indent=1), flush=True)
    folder = Path(__file__).parent / "results" / __version__
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"detectors--{platform.machine()}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
