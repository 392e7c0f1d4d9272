"""`medaegis detect`: errors before any work, resumption, files without code, and scores that mean something."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from experiment import striped
from medaegis import DataError, InputError, NumericsError, load_dataset
from medaegis._types import Tapped
from medaegis.attack import AttackResult, pgd, run_attack
from medaegis.cli import main
from medaegis.detect import KD, LID, MAHA, SVM, Combined, Detector, extract
from medaegis.experiment import _stages_own, _stages_own_detect, load_detectors
from medaegis.experiment._detect_score import check_finite
from medaegis.experiment._image_files import Read
from medaegis.experiment._stages_detect import DetectorChoice
from medaegis.models import build_model, load_factory

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


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an importable module of networks."""
    (tmp_path / "striped_nets.py").write_text(striped.NET)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "striped_nets"


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A network, its images and its detectors, fitted once for all tests."""
    from safetensors.torch import save_file

    root = tmp_path_factory.mktemp("striped")
    (root / "striped_nets.py").write_text(striped.NET)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root))
        train = striped.write_folder(root / "train", 160, 0)
        network = striped.trained(load_factory("striped_nets:blank"), train).eval()
        weights = striped.save_weights(network, root / "striped.safetensors")
        data = load_dataset(striped.write_folder(root / "new", 40, 1), size=striped.SIZE)
        x, y = data.tensor(), torch.as_tensor(data.labels)
        attack = pgd(eps=16 / 256, steps=10)
        made = run_attack(attack, network, x, y, target=1 - y, generator=torch.Generator().manual_seed(0))
        clean = striped.write_images(root / "clean", x)
        adversarial = striped.write_images(root / "adversarial", made.x)
        (root / "exact").mkdir()
        save_file({"x": made.x, "fooled": made.fooled}, root / "exact" / "000000-000039.safetensors")
        code, output = fit("striped_nets", train, weights, root / "fitted", "--detectors", ALL, *LEARN)
    assert code == 0, output
    return World(train, weights, clean, adversarial, root / "exact", root / "fitted", output)


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


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("--detectors", "KDD"), "Did you mean KD?"),
        (("--detectors", "KD,KD"), "different kinds"),
        (("--detectors", "KD:best"), "KIND:logistic"),
        (("--detectors", "Combined"), "cannot be made from its name"),
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
    network = striped.trained(striped_net(), world.train).eval()
    detector = MAHA().fit_images(network, own, labels)
    passed = extract(network, held, "relu")
    detector.calibrate(detector.pick(passed.features), passed.logits.argmax(dim=1), tnr=0.9)
    found = {entry["name"]: entry["threshold"] for entry in known["detectors"]}
    assert found["MAHA"] == pytest.approx(detector.threshold_, rel=1e-6)


def striped_net() -> torch.nn.Module:
    space: dict[str, Any] = {}
    exec(striped.NET, space)
    return space["blank"]()


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


def test_clean_images_pass_more_often_than_attacked_ones(nets: str, world: World, tmp_path: Path) -> None:
    code, output = score(nets, world, world.clean, tmp_path / "clean.csv", "--by", "MAHA")
    assert code in (0, 3), output
    clean = rows(tmp_path / "clean.csv")
    code, output = score(nets, world, world.adversarial, tmp_path / "made.csv", "--by", "MAHA")
    assert code == 3, output
    made = rows(tmp_path / "made.csv")
    for label in ("KD", "MAHA", "HFC", "SVM", "KNN"):
        low, high = (sum(row[f"{label}_flagged"] == "true" for row in found) for found in (clean, made))
        assert low <= 14, label
        assert high >= 26, label
    assert f"MAHA         flags {sum(row['MAHA_flagged'] == 'true' for row in made)}" in output
    assert f"40 images scored, {sum(row['flagged'] == 'true' for row in made)} flagged by MAHA." in output


def test_a_row_says_what_each_detector_says(nets: str, world: World, tmp_path: Path) -> None:
    score(nets, world, world.adversarial, tmp_path / "a.csv", "--batch-size", "7")
    found = rows(tmp_path / "a.csv")
    known = load_detectors(world.fitted)
    three = [f"{label}_{what}" for label in known.detectors for what in ("score", "threshold", "flagged")]
    assert list(found[0]) == ["file", "prediction", "probability", *three, "flagged", "problem"]
    assert [row["file"] for row in found] == [f"{i:03d}.png" for i in range(40)]
    data = load_dataset(world.train, size=striped.SIZE)
    network = striped.trained(striped_net(), world.train).eval()
    image = torch.stack([decoded(world.adversarial / f"{i:03d}.png") for i in range(40)])
    probability = network(image).softmax(dim=1)
    for label, detector in known.detectors.items():
        want = detector.score_images(network, image).detach()
        got = torch.tensor([float(row[f"{label}_score"]) for row in found], dtype=torch.float64)
        torch.testing.assert_close(got, want.double(), rtol=1e-4, atol=1e-5)
    for i, row in enumerate(found):
        assert row["prediction"] == data.class_names[int(probability[i].argmax())]
        assert float(row["probability"]) == pytest.approx(float(probability[i].max().detach()), abs=1e-4)
        flags: list[bool] = []
        for label, detector in known.detectors.items():
            assert float(row[f"{label}_threshold"]) == detector.threshold_
            flags.append(float(row[f"{label}_score"]) > float(row[f"{label}_threshold"]))
            assert row[f"{label}_flagged"] == ("true" if flags[-1] else "false")
        assert row["flagged"] == ("true" if any(flags) else "false")
        assert row["problem"] == ""


def decoded(path: Path) -> torch.Tensor:
    edge = (striped.SIDE - striped.SIZE) // 2
    whole = torch.tensor(list(Image.open(path).tobytes()), dtype=torch.float32).view(striped.SIDE, striped.SIDE, 3)
    return whole[edge : edge + striped.SIZE, edge : edge + striped.SIZE].permute(2, 0, 1) / 255


def test_exit_codes_are_fit_for_a_script(nets: str, world: World, tmp_path: Path) -> None:
    score(nets, world, world.clean, tmp_path / "clean.csv", "--by", "KD")
    passed = [row["file"] for row in rows(tmp_path / "clean.csv") if row["flagged"] == "false"]
    code, output = score(nets, world, world.clean / passed[0], tmp_path / "one.csv", "--by", "KD")
    assert code == 0
    assert "1 images scored, 0 flagged by KD." in output
    assert rows(tmp_path / "one.csv")[0]["file"] == str(world.clean / passed[0])
    code, _ = score(nets, world, world.adversarial, tmp_path / "made.csv", "--any")
    assert code == 3
    for more in (("--by", "Kd"), ("--any", "--by", "KD")):
        code, output = score(nets, world, world.clean, tmp_path / "none.csv", *more)
        assert (code, "error: " in output) == (2, True)
    code, output = score(nets, world, world.clean / "no.png", tmp_path / "none.csv")
    assert (code, "got nothing there" in output) == (2, True)
    code, output = score(nets, world, world.clean, tmp_path / "no" / "none.csv")
    assert (code, "a file in a folder that is there" in output) == (2, True)
    (tmp_path / "empty").mkdir()
    code, output = score(nets, world, tmp_path / "empty", tmp_path / "none.csv")
    assert (code, "There is no image" in output) == (2, True)
    assert not (tmp_path / "none.csv").exists()
    text = CliRunner().invoke(main, ["detect", "score", "--help"]).output
    assert "Exit code 0: no image is flagged. 3: at least one is. 2: an error" in " ".join(text.split())


def test_folders_with_labels_and_several_places(nets: str, world: World, tmp_path: Path) -> None:
    score(nets, world, world.train, tmp_path / "a.csv", "--data", str(world.clean / "000.png"))
    names = [row["file"] for row in rows(tmp_path / "a.csv")]
    assert len(names) == 161
    assert names[0] == "train/lying/000.png"
    assert names[-1] == str(world.clean / "000.png")


def test_the_images_of_an_attack_are_scored_without_loss(nets: str, world: World, tmp_path: Path) -> None:
    code, output = score(nets, world, world.exact, tmp_path / "exact.csv")
    assert code == 3, output
    found = rows(tmp_path / "exact.csv")
    assert [row["file"] for row in found] == [f"000000-000039.safetensors[{i}]" for i in range(40)]
    from safetensors.torch import load_file

    x = load_file(world.exact / "000000-000039.safetensors")["x"]
    want = load_detectors(world.fitted).detectors["MAHA"].score_images(striped.trained(striped_net(), world.train), x)
    got = torch.tensor([float(row["MAHA_score"]) for row in found], dtype=torch.float64)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_tensors_that_are_no_images_of_this_network_are_refused(nets: str, world: World, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    for name, tensors, text in (
        ("size", {"x": torch.zeros(1, 3, 16, 16)}, "not float of (3, 32, 32)"),
        ("range", {"x": torch.full((1, 3, 32, 32), 1.5)}, "outside [0, 1]"),
        ("none", {"y": torch.zeros(1)}, "as `x`"),
    ):
        save_file(tensors, tmp_path / f"{name}.safetensors")
        code, output = score(nets, world, tmp_path / f"{name}.safetensors", tmp_path / "a.csv")
        assert (code, text in output, f"{name}.safetensors" in output) == (2, True, True), output


def test_a_damaged_image_is_named_or_listed(nets: str, world: World, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    shutil.copy(world.adversarial / "000.png", folder / "a.png")
    (folder / "b.png").write_bytes((world.clean / "000.png").read_bytes()[:200])
    shutil.copy(world.adversarial / "001.png", folder / "c.png")
    code, output = score(nets, world, folder, tmp_path / "a.csv")
    assert code == 2
    assert str(folder / "b.png") in output
    assert not (tmp_path / "a.csv").exists()
    code, output = score(nets, world, folder, tmp_path / "a.csv", "--skip-unreadable")
    assert code == 3
    assert "1 files are no image and were not scored." in output
    found = rows(tmp_path / "a.csv")
    assert [bool(row["problem"]) for row in found] == [False, True, False]
    assert {value for name, value in found[1].items() if name not in ("file", "problem")} == {""}
    score(nets, world, world.adversarial, tmp_path / "whole.csv")
    whole = rows(tmp_path / "whole.csv")
    assert [row["prediction"] for row in (found[0], found[2])] == [row["prediction"] for row in whole[:2]]
    assert float(found[2]["KD_score"]) == pytest.approx(float(whole[1]["KD_score"]), rel=1e-4)
    code, output = score(nets, world, folder / "b.png", tmp_path / "b.csv", "--skip-unreadable")
    assert (code, "None of the 1 files is an image" in output) == (2, True)


def test_another_network_is_refused(nets: str, world: World, tmp_path: Path) -> None:
    network = striped.trained(load_factory(f"{nets}:blank"), world.train)
    with torch.no_grad():
        next(network.parameters())[0, 0, 0, 0] += 1e-3
    other = striped.save_weights(network, tmp_path / "other.safetensors")
    code, output = score(nets, world, world.clean, tmp_path / "a.csv", "--weights", str(other))
    assert code == 2
    assert "were fitted on another network" in output
    assert facts(world)["model"]["network_hash"] in output
    words = ["detect", "score", "--detectors", str(world.fitted), "--data", str(world.clean)]
    result = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "a.csv")], catch_exceptions=False)
    assert result.exit_code == 2
    assert "a file does not decide which code runs" in result.output
    moved = edited(world, tmp_path / "moved", model=facts(world)["model"] | {"weights": "/no/such/file.safetensors"})
    code, output = score(nets, moved, world.clean, tmp_path / "a.csv")
    assert code == 2
    assert not (tmp_path / "a.csv").exists()
    code, output = score(nets, moved, world.clean, tmp_path / "a.csv", "--weights", str(world.weights))
    assert code in (0, 3), output


def test_a_damaged_folder_says_so(world: World, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must hold detectors\.json"):
        load_detectors(tmp_path)
    with pytest.raises(DataError, match="has format 2"):
        load_detectors(edited(world, tmp_path / "a", format=2).fitted)
    with pytest.raises(DataError, match="not as `medaegis detect fit` writes it"):
        load_detectors(edited(world, tmp_path / "b", images={"size": 32}).fitted)
    entries = facts(world)["detectors"]
    with pytest.raises(DataError, match="of another fit"):
        load_detectors(edited(world, tmp_path / "c", detectors=[entries[0] | {"threshold": 0.5}]).fitted)
    with pytest.raises(DataError, match="does not hold a MAHA"):
        load_detectors(edited(world, tmp_path / "d", detectors=[entries[0] | {"kind": "MAHA"}]).fitted)
    outside = entries[0] | {"file": f"../{world.fitted.name}/KD.safetensors"}
    there = edited(world, tmp_path / "e", detectors=[outside]).fitted
    (there / "KD.safetensors").unlink()
    with pytest.raises(DataError, match="cannot be loaded"):
        load_detectors(there)


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


def test_an_attack_that_fools_nothing_is_told(nets: str, world: World, tmp_path: Path) -> None:
    more = ("--detectors", "SVM", "--attack", "fgsm", "--eps", "0.01/256")
    code, output = fit(nets, world.train, world.weights, tmp_path / "out", *more)
    assert code == 2
    assert "fools 0 of the 40 cases that detectors learn from" in output


def test_a_detector_of_another_package_comes_back(
    nets: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "plugin-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[medaegis.detectors]\nFeatureNorm = feature_norm:FeatureNorm\n")
    shutil.copy(Path(__file__).parents[1] / "detect" / "plugin_example" / "feature_norm.py", tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    more = ("--detectors", "FeatureNorm", "--set", "FeatureNorm.layers=relu")
    code, output = fit(nets, world.train, world.weights, tmp_path / "out", *more)
    assert code == 0, output
    (detector,) = load_detectors(tmp_path / "out").detectors.values()
    assert isinstance(detector, Detector)
    assert type(detector).__name__ == "FeatureNorm"
    code, output = fit(nets, world.train, world.weights, tmp_path / "both", "--detectors", "FeatureNorm:mean")
    assert code == 0, output
    (detector,) = load_detectors(tmp_path / "both").detectors.values()
    assert isinstance(detector, Combined)
    assert score(nets, world._replace(fitted=tmp_path / "both"), world.clean, tmp_path / "a.csv")[0] in (0, 3)
    shutil.rmtree(info)
    with pytest.raises(DataError, match=r"FeatureNorm of .* cannot be loaded"):
        load_detectors(tmp_path / "out")


def test_a_named_network_needs_no_model_to_score(world: World, tmp_path: Path) -> None:
    network = striped.trained(build_model("small-resnet", classes=2).model, world.train)
    weights = striped.save_weights(network, tmp_path / "small.safetensors")
    words = ["detect", "fit", "--model", "small-resnet", "--weights", str(weights), "--data", str(world.train)]
    words += ["--size", "32", "--out", str(tmp_path / "out"), "--device", "cpu", "--limit", "40"]
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    words = ["detect", "score", "--detectors", str(tmp_path / "out"), "--data", str(world.clean)]
    words += ["--out", str(tmp_path / "a.csv"), "--device", "cpu"]
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    assert result.exit_code in (0, 3), result.output
    assert len(rows(tmp_path / "a.csv")) == 40
    weights.unlink()
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    assert result.exit_code == 2
    assert "name this file: give it with --weights" in result.output


def test_an_image_that_no_comparison_could_flag_is_named() -> None:
    """NaN is above no threshold: it would pass."""
    read = Read(("a", "b", "c"), ("", "no image", ""), torch.zeros(2, 3, 2, 2))
    check_finite(read, {"KD": torch.tensor([0.0, torch.inf])}, "a score")  # as far as can be, and flagged
    with pytest.raises(NumericsError, match="c cannot be scored: a score at KD"):
        check_finite(read, {"KD": torch.tensor([0.0, torch.nan])}, "a score")
    with pytest.raises(NumericsError, match="a cannot be scored: its features at 1"):
        check_finite(read, {"1": torch.tensor([[0.0, torch.inf], [0.0, 0.0]])}, "its features")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_told_before_work(nets: str, world: World, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    code, output = fit(nets, world.train, world.weights, tmp_path / "closed" / "out")
    assert (code, "cannot be written" in output) == (2, True)


def test_a_detector_that_needs_more_than_features_is_refused() -> None:
    with pytest.raises(InputError, match="must be detectors that read features alone"):
        DetectorChoice.parse("MAHA", magnitude=1 / 256)
