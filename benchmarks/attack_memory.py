"""Peak memory of `run_attack` beyond the images themselves, in a process of its own; Linux only.

The C library must give memory back at once, or peaks depend on what it keeps from earlier runs:

    MALLOC_MMAP_THRESHOLD_=262144 python benchmarks/attack_memory.py --images 8 64 --steps 2 20
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import nn

from medaegis import run_attack
from medaegis.attack import bim

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MEGABYTE = 2**20


def resident(field: str) -> int:
    """Bytes of a line of the process's status: VmRSS now, VmHWM at the peak."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def network() -> nn.Module:
    body = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2)).eval()


def peak(model: nn.Module, images: int, steps: int, size: int) -> float:
    """Megabytes at the peak of one run at batch 8, less those before it and those of the images that come back."""
    x = torch.rand(images, 3, size, size, generator=torch.Generator().manual_seed(0))
    RESET.write_text("5")  # sets the recorded peak to what is resident now
    before = resident("VmRSS")
    run_attack(bim(eps=4 / 256, steps=steps), model, x, torch.zeros(images, dtype=torch.int64), batch_size=8)
    return (resident("VmHWM") - before - x.numel() * 4) / MEGABYTE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs=2, default=[8, 64])
    parser.add_argument("--steps", type=int, nargs=2, default=[2, 20])
    parser.add_argument("--size", type=int, default=128)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = network()
    peak(model, args.images[0], args.steps[0], args.size)
    few, many = args.images
    short, long = args.steps
    runs = [(few, short), (few, long), (many, short), (many, long)]
    found = {f"{n} images, {steps} steps": round(peak(model, n, steps, args.size), 1) for n, steps in runs}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
