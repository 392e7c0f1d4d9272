"""Conformance checks of files, and of the door of images."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from medaegis._errors import DataError
from medaegis.detect._bench import Bench, demand, demand_error, one_layer
from medaegis.detect._detector import Detector
from medaegis.detect._features import extract
from medaegis.models import PENULTIMATE, Taps


def save_and_load(bench: Bench) -> None:
    """A detector that was saved and loaded scores bit for bit alike, with the same threshold and state."""
    z, labels = bench.near(20, seed=1)
    for wrap in (one_layer, bench.by_name()):
        detector = bench.fitted(wrap)
        detector.calibrate(wrap(z), labels)
        with tempfile.TemporaryDirectory() as folder:
            detector.save(Path(folder) / "detector")
            back = bench.prepared(type(detector).load(Path(folder) / "detector"))
        demand(
            type(back) is type(detector), f"`load` must give a {type(detector).__name__}, got {type(back).__name__}."
        )
        same = torch.equal(back.score(wrap(z), labels), detector.score(wrap(z), labels))
        demand(same, "A loaded detector must score bit for bit as the saved one.")
        demand(back.threshold_ == detector.threshold_, "A loaded detector must keep its threshold.")
        demand(back.threshold_spread_ == detector.threshold_spread_, "A loaded detector must keep its spread.")
        demand(back.fitted_layers() == detector.fitted_layers(), "A loaded detector must have the same layers.")
        kept = json.dumps(back.state()[1]) == json.dumps(detector.state()[1])
        demand(kept and _same(back.state()[0], detector.state()[0]), "A loaded detector must have the same state.")


def other_files_are_refused(bench: Bench) -> None:
    """`load` refuses the file of another class, and one that is damaged."""
    detector = bench.fitted(one_layer)
    kind = type(detector)
    stranger = cast("type[Detector]", type(f"Other{kind.__name__}", (kind,), {}))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detector"
        detector.save(path)
        demand_error(lambda: stranger.load(path), DataError, "`load` of another class's file")
        path.write_bytes(b"no detector")
        demand_error(lambda: kind.load(path), DataError, "`load` of a damaged file")


def images_door(bench: Bench) -> None:
    """`fit_images`, `score_images` and `calibrate_images` are `fit`, `score` and `calibrate` of images' features."""
    network = _network()
    inner = Bench(bench.make, network)
    train, query, attacked = inner.near(), inner.near(8, seed=1), inner.far(seed=12)
    detector = bench.make()
    sides = (_images(inner.near(seed=11).z), _images(attacked.z)) if detector.learns_attacks else (None, None)
    known = _images(train.z)
    detector.fit_images(network, known, train.labels, negative=sides[0], positive=sides[1], batch_size=16)
    x = _images(query.z)
    logits, features = extract(network, x, [*Taps(network).names(x), PENULTIMATE])
    read = detector.pick(features), logits.argmax(dim=1)
    if detector.needs_images:
        read = detector.read_images(network, x)
    wanted, scores = detector.score(*read), detector.score_images(network, x, batch_size=3)
    close = torch.allclose(scores, wanted, rtol=1e-6, atol=1e-8)
    demand(close, "`score_images` must be `score` of the network's features and predictions.")
    _check_threshold(detector, network, x)


def _check_threshold(detector: Detector, network: nn.Module, x: Tensor) -> None:
    demand(detector.calibrate_images(network, x, tnr=0.75) is detector, "`calibrate_images` must return the detector.")
    flagged = int((detector.score_images(network, x) > cast(float, detector.threshold_)).sum())
    demand(flagged <= 2, f"calibrate_images(tnr=0.75) must let 6 of these 8 images pass, flagged {flagged}.")


def _images(z: Tensor) -> Tensor:
    """Images of one row: one value of each channel."""
    return z.reshape(*z.shape[:2], -1)[:, None, None, :, 0]


def _network() -> nn.Module:
    """Two dense layers with an activation, in evaluation mode, drawn without the global random state."""
    layers = [nn.utils.skip_init(nn.Linear, 4, d, dtype=torch.float64) for d in (4, 3)]
    network = nn.Sequential(nn.Flatten(), layers[0], nn.ReLU(), layers[1]).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return network


def _same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())
