"""Speed of an attack step as a ratio to the floor, in one interleaved run on one thread; and peak memory.

Floor: frozen parameters, gradient of the cross-entropy to the input, on the untouched torchvision model. Ours: BIM
steps of `run_attack`'s loop (accelerated copy, projection and all), the same with HFC over all layers, and, as
`run_attack`, the whole public call with the network's copying, its checks and the final judgement. Peers: their whole
public calls of BIM on the same model. Every call makes `--steps` steps and its time is divided by them, so set-up is
spread alike. Targets: bim / floor at most 0.80 for ResNet-50 at 256 px and 0.90 for ResNet-18 at 64 px.

    python benchmarks/attack_step.py            # ResNet-50, 256 px, batch 8; writes benchmarks/results/
    python benchmarks/attack_step.py --size 64 --model resnet18 --batch 32
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from peer_steps import Call, peer_calls
from torch.nn import functional

from medaegis import __version__, run_attack
from medaegis.attack import Attack, bim, hfc
from medaegis.attack._batch import Batch
from medaegis.attack._objectives import Goal
from medaegis.attack._random import CaseRandom
from medaegis.density import fit_bank
from medaegis.experiment._outputs import environment, package_versions
from medaegis.models import Taps, accelerate

EPS = 4 / 256


def untouched(name: str) -> torch.nn.Module:
    """A torchvision network with BatchNorm statistics as training would leave them, so that folding has work to do."""
    from torchvision import models

    network = models.get_model(name, weights=None).eval()
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.copy_(0.1 * torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.num_features, generator=generator))
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network


def floor_steps(model: torch.nn.Module, x: torch.Tensor, target: torch.Tensor, steps: int = 1) -> None:
    for _ in range(steps):
        leaf = x.detach().requires_grad_(True)
        torch.autograd.grad(functional.cross_entropy(model(leaf), target), leaf)


def our_steps(attack: Attack, model: torch.nn.Module, x: torch.Tensor, target: torch.Tensor):
    """A function that makes `attack.steps` steps on a prepared copy, as `run_attack` does for each batch."""
    fast = accelerate(model, x[:2])
    layers = attack.objective.layers
    taps = Taps(fast.model, layers or "none")
    goal, random = Goal(torch.zeros_like(target), target), CaseRandom.from_seeds([0] * len(x))
    images = x.contiguous(memory_format=fast.memory_format)
    batch = Batch(taps, fast.memory_format, images, goal, random, lambda _count: None)
    return lambda: attack.make(batch)


def bank_for(model: torch.nn.Module, x: torch.Tensor, components: int):
    """Mixtures over every activation, fitted to made-up features: speed does not depend on values."""
    with torch.no_grad():
        widths = {name: z.shape[1] for name, z in Taps(model)(x[:1]).features.items()}
    generator = torch.Generator().manual_seed(0)
    features = {name: torch.rand(200, width, generator=generator) for name, width in widths.items()}
    labels = torch.arange(200) % 2
    return fit_bank(features, labels, components=components, strength=0.1, generator=generator)


def measure(args: argparse.Namespace) -> dict[str, list[float]]:
    generator = torch.Generator().manual_seed(0)
    model = untouched(args.model)
    x = torch.rand(args.batch, 3, args.size, args.size, generator=generator)
    target = torch.ones(args.batch, dtype=torch.int64)
    plain = bim(eps=EPS, steps=args.steps)
    hidden = plain.plus(hfc(bank_for(model, x, args.components)))
    label = torch.zeros_like(target)
    runs: dict[str, Call] = {
        "floor": lambda: floor_steps(model, x, target, args.steps),
        "bim": our_steps(plain, model, x, target),
        "bim+hfc": our_steps(hidden, model, x, target),
        "run_attack": lambda: run_attack(plain, model, x, label, target=target, batch_size=len(x)),
    }
    runs |= peer_calls(model, x, target, eps=EPS, steps=args.steps)
    return timed(runs, args)


def timed(runs: dict[str, Call], args: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds a step of each run, in turn within each repeat."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(args.warmup + args.repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if repeat >= args.warmup:
                times[name].append((time.perf_counter() - start) / args.steps)
    return times


def ratio(times: dict[str, list[float]], top: str, bottom: str) -> dict[str, float]:
    """Median and quartiles of the ratio within each interleaved repeat."""
    ratios = [a / b for a, b in zip(times[top], times[bottom], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {"median": round(middle, 4), "quartile_low": round(low, 4), "quartile_high": round(high, 4)}


def ratios(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Everything over the floor, HFC over BIM, and each peer over our whole call."""
    ours = {"floor", "bim", "bim+hfc", "run_attack"}
    pairs = [(name, "floor") for name in times if name != "floor"]
    pairs += [("bim+hfc", "bim"), *((name, "run_attack") for name in times if name not in ours)]
    return {f"{top} / {bottom}": ratio(times, top, bottom) for top, bottom in pairs}


def memory() -> dict[str, float]:
    """Megabytes at the peak beyond the images, for few and many images and steps; empty where Linux's /proc is not."""
    script = Path(__file__).with_name("attack_memory.py")
    if not Path("/proc/self/clear_refs").exists():
        return {}
    known = os.environ | {"MALLOC_MMAP_THRESHOLD_": "262144"}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True, env=known)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--components", type=int, default=1)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / __version__ / "attack_step")
    args = parser.parse_args()
    torch.set_num_threads(1)
    times = measure(args)
    known = environment("cpu") | {"command": " ".join(["attack_step.py", args.model, str(args.size)])}
    known["versions"] |= package_versions(("torchattacks", "foolbox", "adversarial-robustness-toolbox"))
    found = {
        "what": f"{args.model} {args.size}x{args.size}, batch {args.batch}, float32, one thread, K={args.components}",
        "steps a call": args.steps,
        **ratios(times),
        "median seconds a step": {name: round(statistics.median(values), 4) for name, values in times.items()},
        "peak megabytes beyond the images": memory(),
        "repeats": args.repeats,
        "processor": processor(),
        "environment": known,
    }
    print(json.dumps(found, indent=1))
    target = args.out.parent / f"{args.out.name}-{args.model}-{args.size}-b{args.batch}--{platform.machine()}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(found, indent=1) + "\n")


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


if __name__ == "__main__":
    main()
