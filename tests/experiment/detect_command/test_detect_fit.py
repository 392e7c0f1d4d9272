"""`medaegis detect fit`: errors before any work, parts without a leak, and files that say what was fitted."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from experiment import striped
from experiment.detect_command.detect_world import ALL, LEARN, World, facts, fit
from medaegis import InputError, load_dataset
from medaegis._types import Tapped
from medaegis.attack import AttackResult, run_attack
from medaegis.detect import KD, LID, MAHA, SVM, Combined, extract
from medaegis.experiment import _stages_own, _stages_own_detect, load_detectors
from medaegis.experiment._stages_detect import DetectorChoice
from medaegis.models import load_factory


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("--detectors", "KDD"), "Did you mean KD?"),
        (("--detectors", "KD,KD"), "different kinds"),
        (("--detectors", "KD:best"), "KIND:logistic"),
        (("--detectors", "Combined"), "cannot be made from its name"),
        (("--detectors", "KD@last"), "KIND@relu"),
        (("--detectors", "Combined@relu"), "left without @"),
        (("--detectors", "SVM"), "Name one, as in --attack bim --eps 1/256"),
        (("--eps", "1/256"), "left out where there is no --attack"),
        (("--attack", "bim", "--eps", "1/256"), "no detector learns from attacks"),
        (("--detectors", "SVM", "--attack", "bimm", "--eps", "1/256"), "Did you mean bim?"),
        (("--detectors", "SVM", "--attack", "bim", "--eps", "8"), "did you mean 8/256?"),
        (("--set", "LID.neighbors=3"), "one of its settings ['layers', 'minibatch', 'neighbours', 'seed']"),
        (("--set", "LID.neighbours=0"), "`neighbours` of LID"),
        (("--set", "SVM.penalty=1"), "DETECTOR.name=value of one of ['KD', 'MAHA', 'LID']"),
        (("--tnr", "1.5"), "`tnr` of detect fit"),
        (("--size", "4"), "`size` of detect fit"),
        (("--data", "/no/such/folder"), "/no/such/folder"),
        (("--weights", "/no/such/file.pth"), "/no/such/file.pth"),
        (("--model", "no_such_module:net"), "no_such_module"),
        (("--set", 'KD.layers=["nowhere"]'), "KD cannot read this network"),
    ],
)
def test_errors_come_before_any_work(nets: str, world: World, tmp_path: Path, more: tuple[str, ...], text: str) -> None:
    code, output = fit(nets, world.train, world.weights, tmp_path / "out", *more)
    assert code == 2
    assert "error: " in output
    assert text in output
    assert not (tmp_path / "out").exists()


def test_a_network_that_detectors_cannot_read_is_refused(nets: str, world: World, tmp_path: Path) -> None:
    blank = tmp_path / "smooth.safetensors"
    striped.save_weights(load_factory(f"{nets}:smooth"), blank)
    for detector in ("MAHA", "BU", "KD"):
        code, output = fit(nets, world.train, blank, tmp_path / "out", "--detectors", detector, model="smooth")
        assert code == 2
        assert f"The detector {detector} cannot read this network" in output
    assert not (tmp_path / "out").exists()


def test_a_network_of_other_classes_or_channels_is_refused(nets: str, world: World, tmp_path: Path) -> None:
    other = tmp_path / "three.safetensors"
    striped.save_weights(load_factory(f"{nets}:three"), other)
    code, output = fit(nets, world.train, other, tmp_path / "a", model="three")
    assert (code, "logits of shape (n, 2)" in output) == (2, True)
    code, output = fit(nets, world.train, world.weights, tmp_path / "b", "--channels", "1")
    assert (code, "cannot take images of shape (1, 32, 32)" in output) == (2, True)


def test_too_few_images_are_refused_before_the_network_runs(nets: str, world: World, tmp_path: Path) -> None:
    code, output = fit(nets, world.train, world.weights, tmp_path / "a", "--limit", "19")
    assert code == 2
    assert "at least 20 images of each class to give every part its own, got 19 of lying, 19 of standing" in output
    assert "CleanPass" not in output
    code, output = fit(nets, world.train, world.weights, tmp_path / "b", "--limit", "20", "--tnr", "0.99")
    assert code == 2
    assert "needs at least 100 clean images that set it, got 10" in output
    blank = tmp_path / "blank.safetensors"
    network = load_factory(f"{nets}:blank")
    torch.nn.init.zeros_(network[-1].weight)  # pyright: ignore[reportIndexIssue, reportArgumentType]  # a Sequential
    striped.save_weights(network, blank)
    code, output = fit(nets, world.train, blank, tmp_path / "c")
    assert code == 2
    assert "that the network gets right, got 0 of 80" in output


def test_folders_that_cannot_take_the_files_are_refused(nets: str, world: World, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("x")
    code, output = fit(nets, world.train, world.weights, tmp_path / "thesis")
    assert (code, "an empty one, or one of an earlier run" in output) == (2, True)
    code, output = fit(nets, world.train, world.weights, tmp_path / "thesis" / "chapter.txt" / "out")
    assert (code, "cannot be written" in output) == (2, True)
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.txt"]
    (tmp_path / "attack" / "stages").mkdir(parents=True)
    (tmp_path / "attack" / "manifest.json").write_text("{}")
    code, output = fit(nets, world.train, world.weights, tmp_path / "attack")
    assert (code, "must not hold other work" in output) == (2, True)


def test_a_second_fit_removes_the_detectors_of_the_first_and_no_other_file(
    nets: str, world: World, tmp_path: Path
) -> None:
    for name in ("KD,MAHA", "MAHA"):
        code, output = fit(nets, world.train, world.weights, tmp_path / "out", "--detectors", name)
        assert code == 0, output
        (tmp_path / "out" / "mine.safetensors").write_text("x")
    assert sorted(path.name for path in (tmp_path / "out").glob("*.safetensors")) == [
        "MAHA.safetensors", "mine.safetensors",
    ]  # fmt: skip


def test_parts_share_no_image_and_thresholds_come_from_the_held_out_ones(world: World) -> None:
    known = facts(world)
    sizes = {part: sum(counts.values()) for part, counts in known["parts"].items()}
    assert sizes == {"fit": 80, "learn": 40, "calibration": 40}
    assert known["data"]["split"] == {"given": 160, "dropped_wrong": 0, **sizes}
    stored = [json.loads(path.read_text()) for path in world.fitted.glob("stages/DetectorParts-*/info.json")]
    (info,) = stored
    outer, inner = info["outer"]["parts"], info["inner"]["parts"]
    assert sorted(outer["train"]) == sorted(inner["train"] + inner["test"])
    assert not set(outer["train"]) & set(outer["test"])
    assert not set(inner["train"]) & set(inner["test"])
    data = load_dataset(world.train, size=striped.SIZE)
    held = data.tensor([data.names.index(name) for name in outer["test"]])
    own = data.tensor([data.names.index(name) for name in inner["train"]])
    labels = torch.as_tensor([data.labels[data.names.index(name)] for name in inner["train"]])
    network = striped.trained(striped.blank(), world.train).eval()
    detector = MAHA().fit_images(network, own, labels)
    passed = extract(network, held, "relu")
    detector.calibrate(detector.pick(passed.features), passed.logits.argmax(dim=1), tnr=0.9)
    found = {entry["name"]: entry["threshold"] for entry in known["detectors"]}
    assert found["MAHA"] == pytest.approx(detector.threshold_, rel=1e-6)


def test_the_folder_holds_one_file_a_detector_of_the_right_class(world: World) -> None:
    names = sorted(path.name for path in world.fitted.iterdir())
    labels = [name.partition(":")[0] for name in ALL.split(",")]
    assert names == sorted([*(f"{label}.safetensors" for label in labels), "detectors.json", "stages"])
    known = load_detectors(world.fitted)
    assert list(known.detectors) == labels
    wanted = {"KD": KD, "MAHA": MAHA, "LID": LID, "SVM": SVM, "KNN": Combined}
    assert {label: type(known.detectors[label]) for label in wanted} == wanted
    assert all(isinstance(detector.threshold_, float) for detector in known.detectors.values())
    known = facts(world)
    assert known["format"] == 1
    assert known["images"] == {"size": 32, "resize": 35, "channels": 3}
    assert known["class_names"] == ["lying", "standing"]
    assert [entry["name"] for entry in known["detectors"] if entry["learned_from_attack"]] == ["SVM", "KNN"]
    assert known["attack"]["words"] == "PGD 8/256 (8 steps)"
    assert known["attack"]["negative"] == 80  # 40 clean, 40 noisy
    assert 0 < known["attack"]["positive"] <= 40
    assert 0.1 <= known["flagged_by_any"] <= 0.7  # each flags a tenth: any flags at least as many, at most their sum
    assert "MAHA         threshold" in world.output
    assert "calibration  n = 40" in world.output


def test_a_killed_fit_goes_on_and_computes_nothing_twice(
    nets: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def killed_at_first(*args: Any, **named: Any) -> AttackResult:
        calls.append(len(args[2]))
        if len(calls) == 1:
            raise KeyboardInterrupt
        return run_attack(*args, **named)

    monkeypatch.setattr(_stages_own, "run_attack", killed_at_first)
    passes: list[int] = []
    whole = _stages_own_detect.features_of

    def counted(model: torch.nn.Module, images: torch.Tensor, *rest: Any) -> Tapped:
        passes.append(len(images))
        return whole(model, images, *rest)

    monkeypatch.setattr(_stages_own_detect, "features_of", counted)
    words = ("--detectors", ALL, *LEARN)
    code, output = fit(nets, world.train, world.weights, tmp_path / "out", *words)
    assert code == 130
    assert not (tmp_path / "out" / "detectors.json").exists()
    before = list(passes)
    assert before == [80, 40]  # fit and calibration
    code, output = fit(nets, world.train, world.weights, tmp_path / "out", *words)
    assert code == 0, output
    assert passes[:2] == before
    assert sum(passes[2:]) == 80 + facts(world)["attack"]["positive"]  # nothing but the learn part
    for entry in facts(world)["detectors"]:
        again = (tmp_path / "out" / entry["file"]).read_bytes()
        assert again == (world.fitted / entry["file"]).read_bytes(), entry["name"]
    code, output = fit(nets, world.train, world.weights, tmp_path / "out", *words)
    assert "0 stages computed, 14 found" in output
    code, output = fit(nets, world.train, world.weights, tmp_path / "out", *words, "--tnr", "0.8", "--batch-size", "5")
    assert "0 stages computed, 14 found" in output
    code, output = fit(nets, world.train, world.weights, tmp_path / "out", "--detectors", "KD")
    assert "0 stages computed" not in output
    assert sorted(path.name for path in (tmp_path / "out").glob("*.safetensors")) == ["KD.safetensors"]


def test_settings_reach_the_detectors(nets: str, world: World, tmp_path: Path) -> None:
    more = ("--detectors", "LID,KD", "--set", "LID.neighbours=5", "LID.minibatch=30", "KD.bandwidth=median")
    code, output = fit(nets, world.train, world.weights, tmp_path / "out", *more)
    assert code == 0, output
    lid, kd = load_detectors(tmp_path / "out").detectors.values()
    assert isinstance(lid, LID)
    assert isinstance(kd, KD)
    assert (lid.neighbours, lid.minibatch, kd.bandwidth) == (5, 30, "median")


def test_layers_by_name_beside_all_activations(nets: str, world: World, tmp_path: Path) -> None:
    """KD at a convolution, which is no activation, must not add it to what MAHA reads."""
    more = ("--detectors", "MAHA,KD", "--set", 'KD.layers=["0"]')
    code, output = fit(nets, world.train, world.weights, tmp_path / "out", *more)
    assert code == 0, output
    known = load_detectors(tmp_path / "out")
    assert known.detectors["MAHA"].fitted_layers() == ("1", "3")
    assert known.detectors["KD"].fitted_layers() == ("0",)
    assert known.layers == ("1", "3", "0")
    code, output = fit(nets, world.train, world.weights, tmp_path / "all", "--detectors", "KD@relu,KNN@relu:mean")
    assert code == 0, output
    every = load_detectors(tmp_path / "all").detectors
    assert {label: detector.fitted_layers() for label, detector in every.items()} == {
        "KD": ("1", "3"),
        "KNN": ("1", "3"),
    }


def test_an_attack_that_fools_nothing_is_told(nets: str, world: World, tmp_path: Path) -> None:
    more = ("--detectors", "SVM", "--attack", "fgsm", "--eps", "0.01/256")
    code, output = fit(nets, world.train, world.weights, tmp_path / "out", *more)
    assert code == 2
    assert "fools 0 of the 40 cases that detectors learn from" in output


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_told_before_work(nets: str, world: World, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    code, output = fit(nets, world.train, world.weights, tmp_path / "closed" / "out")
    assert (code, "cannot be written" in output) == (2, True)


def test_a_detector_that_needs_more_than_features_is_refused() -> None:
    with pytest.raises(InputError, match="must be detectors that read features alone"):
        DetectorChoice.parse("MAHA", magnitude=1 / 256)
