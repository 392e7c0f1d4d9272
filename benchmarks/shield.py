"""What the Shields of two classes, JPEG-80 and both add to one forward pass of ResNet-50 at 256 pixels, on one thread.

    python benchmarks/shield.py               # writes benchmarks/results/<version>/shield--<machine>.json

The bare network, the same with its Shields (`Shielded.both`), behind the Cushion, and with both in turn within each
repeat, on one image and on a batch, on the network as torchvision builds it and on `accelerate`'s copy. Images are
fundus phantoms, since noise takes a codec longer. Times are those of this process on the processor, which others on the
machine lengthen less. Targets: Shields at most 5 %, Shields and JPEG at most 10 %.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from attack_step import processor, ratio, untouched
from torch import nn

from medaegis import __version__
from medaegis.data import phantom_dataset
from medaegis.defend import JPEG, Shielded, Shields, ShieldSettings, tap_plan
from medaegis.experiment._outputs import environment
from medaegis.models import accelerate

SIZE, WARM_UP = 256, 3


def measure(network: nn.Module, x: torch.Tensor, width: int, repeats: int) -> dict[str, Any]:
    shields, jpeg = Shields(tap_plan(network, x), 2, width=width), JPEG(80)
    alone, both = Shielded(network, shields).eval(), Shielded(network, shields, jpeg.bpda()).eval()
    runs = {
        "bare": network,
        "with Shields": alone.both,
        "with JPEG": lambda images: network(jpeg.apply(images)),
        "with both": both.both,
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    with torch.no_grad():
        for _ in range(WARM_UP + repeats):
            for name, run in runs.items():
                start = time.process_time()
                run(x)
                times[name].append(time.process_time() - start)
    times = {name: values[WARM_UP:] for name, values in times.items()}
    middle = {f"{name}, ms": round(1000 * statistics.median(values), 1) for name, values in times.items()}
    return middle | {f"{name} / bare": ratio(times, name, "bare") for name in list(runs)[1:]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--width", type=int, default=ShieldSettings.paper().width)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--batch", type=int, default=8)
    args = parser.parse_args()
    torch.set_num_threads(1)
    network, found = untouched("resnet50"), dict[str, Any]()
    for batch, repeats in ((1, args.repeats), (args.batch, max(5, args.repeats // 4))):
        x = phantom_dataset("phantom-fundus", batch, size=SIZE).tensor()
        fast = accelerate(network, x[:1], layers=tap_plan(network, x).names)
        found[f"torchvision, batch {batch}"] = measure(network, x, args.width, repeats)
        placed = x.contiguous(memory_format=fast.memory_format)
        found[f"accelerated, batch {batch}"] = measure(fast.model, placed, args.width, repeats)
    what = f"ResNet-50, {SIZE} pixels, Shields of two classes of width {args.width}, one thread, processor time"
    found = {"what": what, **found, "processor": processor(), "environment": environment("cpu")}
    print(json.dumps(found, indent=1))
    folder = Path(__file__).parent / "results" / __version__
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"shield--{platform.machine()}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
