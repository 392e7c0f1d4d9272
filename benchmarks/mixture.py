"""Gaussian mixtures and HFC at ResNet-50's sizes, in one run: exactness, memory, fitting time, cost of a step.

    python benchmarks/mixture.py exact --data ../shared/data/chest_xray
                                        # held-out quadratic form / C, and float32 against dense float64
    python benchmarks/mixture.py fit    # K = 64, C = 2048, N = 1500 against scikit-learn, each once
    python benchmarks/mixture.py step   # HFC, K = 64, all 49 layers, over our plain step; and the bank's size

Writes benchmarks/results/<version>/mixture-<what>--<machine>.json. One thread, but for fit: each with one and with
all of the machine's, which scikit-learn's BLAS takes by default.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from attack_step import EPS, our_steps, processor, ratio, untouched
from sklearn.mixture import GaussianMixture as Sklearn
from threadpoolctl import threadpool_limits
from torch import Tensor

from medaegis import __version__
from medaegis.attack import bim, hfc
from medaegis.data import load_dataset
from medaegis.density import GaussianMixture, MixtureBank, fit_mixture
from medaegis.experiment._outputs import environment
from medaegis.models import Taps, build_model, find_weights

CASES = 1500


def features(n: int, d: int, seed: int) -> Tensor:
    """ReLU'd features with a decaying spectrum, some structure of modes, and dead channels, as a network's are."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.Generator().manual_seed(d)
    factors = torch.randn(min(d, 128), d, generator=shared) * torch.arange(1, min(d, 128) + 1)[:, None] ** -0.5
    modes = torch.randn(8, d, generator=shared)
    z = torch.randn(n, len(factors), generator=generator) @ factors + 0.3 * torch.randn(n, d, generator=generator)
    z = z + modes[torch.randint(8, (n,), generator=generator)]
    z[:, :: max(2, d // 20)] = -1
    return z.relu() * 0.2


def layer_widths() -> dict[str, int]:
    """Channels of every activation of ResNet-50."""
    with torch.no_grad():
        return {name: z.shape[1] for name, z in Taps(untouched("resnet50"))(torch.rand(1, 3, 64, 64)).features.items()}


def made_up(d: int, k: int, generator: torch.Generator) -> GaussianMixture:
    """A mixture with the sizes that 1,500 cases give: speed and memory do not depend on values."""
    ranks = torch.full((k,), CASES // k - 1).clamp_max(d)
    r = int(ranks.sum())
    columns = torch.randn(d, r, generator=generator)
    parts = {
        "log_weights": torch.full((k,), 1 / k).log(),
        "means": torch.rand(k, d, generator=generator),
        "centre": torch.full((d,), 0.5),
        "whitener": torch.eye(d),
        "white_means": torch.rand(k, d, generator=generator) - 0.5,
        "still": torch.zeros(d, dtype=torch.bool),
        "scales": torch.ones(k),
        "columns": columns / columns.norm(dim=0),
        "gains": torch.full((r,), -0.2),
        "owners": torch.arange(k).repeat_interleave(ranks),
        "offsets": torch.zeros(r),
        "log_dets": torch.zeros(k),
    }
    return GaussianMixture(**{n: t.double() if t.is_floating_point() else t for n, t in parts.items()})


def exact(args: argparse.Namespace) -> dict[str, Any]:
    """Held-out quadratic form over C, and the largest relative error of float32 gradients, by width or layer and K."""
    sets = {
        f"made up, C = {d}": (features(CASES, d, 0), features(200, d, 1)) for d in sorted(set(layer_widths().values()))
    }
    if args.data:
        sets |= {f"{n}, C = {z.shape[1]}": (z[:-100], z[-100:]) for n, z in real_features(args.data).items()}
    found = {}
    for name, (z, held) in sets.items():
        for k in (1, 16, 64):
            m = fit_mixture(z, components=k, generator=torch.Generator().manual_seed(0))
            quadratic = m.nearest(held.double()).quadratic.mean().item() / z.shape[1]
            used = len(m.nearest(z.double()).component.unique())
            found[f"{name}, K = {k}"] = {
                "held-out quadratic / C": round(quadratic, 3),
                **_against_dense(m, held[:40]),
                "components that are any case's nearest": used,
                "still channels": int(m.still.sum()),
            }
            print(name, k, found[f"{name}, K = {k}"], flush=True)
    return found


def real_features(folder: str) -> dict[str, Tensor]:
    """Features of a folder's images, in random order, at all activations of ResNet-18 with its ImageNet weights."""
    data = load_dataset(folder, size=128)
    net = build_model("resnet18", classes=2, weights=find_weights("auto", "resnet18", folder)).model.eval()
    taps, batches = Taps(net), torch.randperm(len(data), generator=torch.Generator().manual_seed(0)).split(32)
    with torch.no_grad():
        found = [taps(data.tensor(batch.tolist())).features for batch in batches]
    return {name: torch.cat([part[name] for part in found]) for name in found[0]}


def _against_dense(m: GaussianMixture, f: Tensor) -> dict[str, Any]:
    leaf = f.clone().requires_grad_()
    near = m.to(f).nearest(leaf)
    (gradient,) = torch.autograd.grad(near.quadratic.sum(), leaf)
    delta = f.double()[:, None] - m.means
    errors, logs = list[float](), list[Tensor]()
    for k in range(len(m.means)):
        one = _dense_precision(m, k)
        solved = delta[:, k] @ one
        quadratic = (delta[:, k] * solved).sum(dim=1)
        logs.append(m.log_weights[k] - 0.5 * (quadratic - torch.linalg.slogdet(one)[1]))
        mine = near.component == k
        if bool(mine.any()):
            wanted = 2 * solved[mine]
            errors.append(((gradient[mine].double() - wanted).norm(dim=1) / wanted.norm(dim=1)).max().item())
    same = int((torch.stack(logs, dim=1).argmax(dim=1) == near.component).sum())
    return {"largest relative error of the gradient": max(errors), "same component": f"{same} of {len(f)}"}


def _dense_precision(m: GaussianMixture, k: int) -> Tensor:
    own = m.owners == k
    u = m.columns[:, own]
    inner = torch.diag(torch.where(m.still, 1, m.scales[k])) + (u * m.gains[own]) @ u.T
    return m.whitener @ inner @ m.whitener.T


def fit(args: argparse.Namespace) -> dict[str, Any]:
    """Ours and scikit-learn's time for one mixture, each at its defaults (three starts of ours, one of theirs)."""
    z = features(args.cases, args.width, 0).double()
    found: dict[str, Any] = {"what": f"N = {args.cases}, C = {args.width}, K = {args.components}, float64"}
    for threads in sorted({1, os.cpu_count() or 1}):
        torch.set_num_threads(threads)
        with threadpool_limits(threads):
            found[f"{threads} threads"] = _fit_both(z, args)
        print(found[f"{threads} threads"], flush=True)
    return found


def _fit_both(z: Tensor, args: argparse.Namespace) -> dict[str, Any]:
    ours = list[float]()
    for _ in range(3):
        start = time.perf_counter()
        fit_mixture(z, components=args.components, generator=torch.Generator().manual_seed(0))
        ours.append(time.perf_counter() - start)
    other = Sklearn(n_components=args.components, random_state=0, max_iter=args.sklearn_iterations)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other.fit(z.numpy())
    theirs = time.perf_counter() - start
    return {
        "ours, seconds": [round(seconds, 1) for seconds in ours],
        "scikit-learn, seconds": round(theirs, 1),
        "scikit-learn, EM steps": int(other.n_iter_),
        "scikit-learn over our slowest": round(theirs / max(ours), 1),
    }


def step(args: argparse.Namespace) -> dict[str, Any]:
    """HFC with K components at all layers over our plain step, and the bank's size over that of dense precisions."""
    model, x = untouched("resnet50"), torch.rand(8, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    target, generator = torch.ones(8, dtype=torch.int64), torch.Generator().manual_seed(0)
    widths = layer_widths()
    bank = MixtureBank({n: {1: made_up(d, args.components, generator)} for n, d in widths.items()}).to(x)
    size = bank.bytes
    dense = sum(args.components * d * d * 4 for d in widths.values())
    plain = bim(eps=EPS, steps=args.steps)
    runs = {"bim": our_steps(plain, model, x, target), "hfc": our_steps(plain.plus(hfc(bank)), model, x, target)}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(args.repeats + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if repeat:
                times[name].append((time.perf_counter() - start) / args.steps)
    return {
        "what": f"ResNet-50 256x256, batch 8, K = {args.components}, {len(widths)} layers, ranks of {CASES} cases",
        "hfc / bim": ratio(times, "hfc", "bim"),
        "median seconds a step": {name: round(statistics.median(values), 3) for name, values in times.items()},
        "bank of a class, MiB": round(size / 2**20, 1),
        "dense precisions of a class, MiB": round(dense / 2**20, 1),
        "dense over ours": round(dense / size, 1),
        "repeats": args.repeats,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["exact", "fit", "step"])
    parser.add_argument("--data", help="folder of real images, for exact")
    parser.add_argument("--components", type=int, default=64)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--sklearn-iterations", type=int, default=100)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {"exact": exact, "fit": fit, "step": step}[args.what](args)
    found = {**found, "processor": processor(), "environment": environment("cpu")}
    print(json.dumps(found, indent=1))
    folder = Path(__file__).parent / "results" / __version__
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"mixture-{args.what}--{platform.machine()}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
