"""One network with its images and detectors, and the commands of `medaegis detect` as functions."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from experiment import striped
from medaegis.attack import pgd, run_attack
from medaegis.cli import main

ALL = "KD,MAHA,LID,BU,HFC,SVM,KNN:logistic"
LEARN = ("--attack", "pgd", "--eps", "8/256", "--steps", "8")


class World(NamedTuple):
    """Files of one network: training images, its weights, new images, and those attacked."""

    train: Path
    weights: Path
    clean: Path
    adversarial: Path
    exact: Path
    fitted: Path
    output: str


def fit(nets: str, data: Path, weights: Path, out: Path, *more: str, model: str = "blank") -> tuple[int, str]:
    words = ["detect", "fit", "--model", f"{nets}:{model}", "--weights", str(weights), "--data", str(data)]
    words += ["--size", "32", "--out", str(out), "--device", "cpu"]
    result = CliRunner().invoke(main, [*words, *more], catch_exceptions=False)
    return result.exit_code, result.output


def score(nets: str, world: World, data: Path, out: Path, *more: str) -> tuple[int, str]:
    words = ["detect", "score", "--detectors", str(world.fitted), "--model", f"{nets}:blank", "--data", str(data)]
    result = CliRunner().invoke(main, [*words, "--out", str(out), "--device", "cpu", *more], catch_exceptions=False)
    return result.exit_code, result.output


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def facts(world: World) -> dict[str, Any]:
    return json.loads((world.fitted / "detectors.json").read_text())


def edited(world: World, folder: Path, **changes: Any) -> World:
    shutil.copytree(world.fitted, folder, ignore=shutil.ignore_patterns("stages"))
    (folder / "detectors.json").write_text(json.dumps(facts(world) | changes))
    return world._replace(fitted=folder)


def make_world(root: Path) -> World:
    """A network, its images and its detectors; the path must have `root`."""
    begun = striped.start(root, "striped_nets", train=160, new=40)
    x, y = begun.new.tensor(), torch.as_tensor(begun.new.labels)
    attack = pgd(eps=16 / 256, steps=10)
    made = run_attack(attack, begun.network, x, y, target=1 - y, generator=torch.Generator().manual_seed(0))
    clean = striped.write_images(root / "clean", x)
    adversarial = striped.write_images(root / "adversarial", made.x)
    (root / "exact").mkdir()
    save_file({"x": made.x, "fooled": made.fooled}, root / "exact" / "000000-000039.safetensors")
    code, output = fit("striped_nets", begun.train, begun.weights, root / "fitted", "--detectors", ALL, *LEARN)
    assert code == 0, output
    return World(begun.train, begun.weights, clean, adversarial, root / "exact", root / "fitted", output)
