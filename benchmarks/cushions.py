"""What Cushions cost, and which backward pass an attack through JPEG should have. One thread.

    python benchmarks/cushions.py speed                 # writes benchmarks/results/<version>/cushions-speed--….json
    python benchmarks/cushions.py backward --data DIR   # a folder of labelled images; cushions-backward-<name>--….json

`speed`: each Cushion, and JPEG's and total variation's backward passes, on one image (a fundus phantom) of 256 px with
3 channels, against one forward pass of ResNet-50, in turn within each repeat; seconds of this process on the processor.
Also how far each moves that image, once and again, and how far its surrogate is from it.
`backward`: BIM through JPEG-80 in front of a small residual network that was trained on these images at 128 px, with
the identity and with surrogates whose rounding has other slopes. Every result is judged through the exact codec; a
higher margin of the target's logit is a better attack.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attack_step import processor, ratio, untouched
from torch import Tensor, nn

from medaegis import Dataset, __version__, build_model, load_dataset, run_attack, split_cases, train_classifier
from medaegis.attack import Preprocessed, bim
from medaegis.defend import JPEG, BitDepth, Chain, Cushion, TotalVariation, _jpeg_surrogate
from medaegis.experiment._outputs import environment
from medaegis.models import Cases, TrainSettings

CUSHIONS: dict[str, Cushion] = {
    "JPEG-90": JPEG(90),
    "JPEG-80": JPEG(80),
    "JPEG-70": JPEG(70),
    "JPEG-80 4:4:4": JPEG(80, "4:4:4"),
    "Bit-3": BitDepth(3),
    "Bit-4": BitDepth(4),
    "TV 0.03": TotalVariation(0.03),
    "TV 0.1": TotalVariation(0.1),
    "Bit-3, JPEG-80": Chain((BitDepth(3), JPEG(80))),
}
ATTACKED = ("JPEG-80", "Bit-3", "TV 0.03")
"""Cushions whose way forward and backward in an attack is timed too."""
BUDGETS, STEPS, TEST = (1, 2, 4), 20, 64


def speed(repeats: int) -> dict[str, Any]:
    model = untouched("resnet50")
    x = load_dataset(None, source="phantom-fundus", n=2, size=256).tensor([1])
    runs: dict[str, Callable[[], Any]] = {"ResNet-50": lambda: model(x)}
    runs |= {name: lambda cushion=cushion: cushion.apply(x) for name, cushion in CUSHIONS.items()}
    runs |= {f"{name} and back": lambda name=name: back(CUSHIONS[name], x) for name in ATTACKED}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):  # the first one warms up
        for name, run in runs.items():
            start = time.process_time()
            run()
            if repeat:
                times[name].append(time.process_time() - start)
    return {
        "what": "one image of 256 x 256 px, 3 channels, float32, one thread; seconds of the processor",
        "median milliseconds": {name: round(1e3 * statistics.median(values), 3) for name, values in times.items()},
        "over one forward pass of ResNet-50": {name: ratio(times, name, "ResNet-50") for name in list(runs)[1:]},
        "levels of 255, root mean square": {name: sizes(cushion, x) for name, cushion in CUSHIONS.items()},
        "repeats": repeats,
    }


def sizes(cushion: Cushion, x: Tensor) -> dict[str, float]:
    """How far the image moves, moves again at a second time, and how far the surrogate is from the exact step."""
    once = cushion.apply(x)
    pairs = {"change": (once, x), "second time": (cushion.apply(once), once), "surrogate": (cushion.surrogate(x), once)}
    return {name: round((255 * (a - b)).square().mean().sqrt().item(), 3) for name, (a, b) in pairs.items()}


def back(cushion: Cushion, x: Tensor) -> None:
    inner = x.clone().requires_grad_()
    cushion.bpda()(inner).sum().backward()


def backward(folder: Path, epochs: int) -> dict[str, Any]:
    data = load_dataset(folder, size=128, limit=350)
    net, test = trained(data, epochs)
    x, y = data.tensor(test), torch.as_tensor(data.labels)[torch.as_tensor(test)]
    cushion, smooth = JPEG(80), _jpeg_surrogate.soft_round
    with torch.no_grad():
        right = net(cushion.apply(x)).argmax(dim=1) == y
    x, y = x[right], y[right]
    found: dict[str, Any] = {}
    for eps in BUDGETS:
        for name, rounding in ROUNDINGS.items():
            _jpeg_surrogate.soft_round = rounding or smooth
            system = Preprocessed(cushion.bpda("surrogate" if rounding else "identity"), net)
            attack = bim(eps=eps / 256, steps=STEPS, step_size=eps / 256 / 8)
            result = run_attack(attack, system, x, y, target=1 - y)
            margin = (result.logits.gather(1, (1 - y)[:, None]) - result.logits.gather(1, y[:, None])).mean()
            found.setdefault(f"{eps}/256", {})[name] = {
                "fooled": round(result.fooled.double().mean().item(), 3),
                "mean margin": round(margin.item(), 3),
            }
            print(eps, name, found[f"{eps}/256"][name], flush=True)
    _jpeg_surrogate.soft_round = smooth
    what = f"BIM, {STEPS} steps of eps/8, targeted, through JPEG-80 and a small residual network at 128 px"
    return {"what": what, "images": len(x), "right through JPEG-80": right.double().mean().item(), "eps": found}


def sine(t: Tensor) -> Tensor:
    return t - 0.9 * torch.sin(2 * math.pi * t) / (2 * math.pi)


ROUNDINGS: dict[str, Callable[[Tensor], Tensor] | None] = {
    "identity for all": None,
    "cubic": lambda t: t.round() + (t - t.round()) ** 3,
    "sine": sine,
    "ours": _jpeg_surrogate.soft_round,
}


def trained(data: Dataset, epochs: int) -> tuple[nn.Module, np.ndarray]:
    split = split_cases(data.labels, data.groups, seed=0)
    labels = torch.as_tensor(data.labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = build_model("small-resnet", classes=2).model

    def cases(part: Any) -> Cases:
        places = np.asarray(part)
        return Cases(lambda index: data.tensor(places[np.asarray(index)]), labels[torch.as_tensor(places)])

    settings = TrainSettings(epochs=epochs, batch_size=32, learning_rate=1e-3)
    state = train_classifier(net, cases(split.train), cases(split.validation), settings=settings, seed=0).state
    net.load_state_dict(state)
    return net.eval(), np.asarray(split.test)[:TEST]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("speed", "backward"))
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()
    if args.what == "backward" and args.data is None:
        parser.error("backward needs --data FOLDER")
    torch.set_num_threads(1)
    found = speed(args.repeats) if args.what == "speed" else backward(args.data, args.epochs)
    found |= {"processor": processor(), "environment": environment("cpu")}
    print(json.dumps(found, indent=1))
    name = f"cushions-{args.what}" + (f"-{args.data.name}" if args.what == "backward" else "")
    folder = Path(__file__).parent / "results" / __version__
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}--{platform.machine()}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
