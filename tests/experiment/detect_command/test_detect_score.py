"""`medaegis detect score`: what the CSV and the exit code say, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from experiment import striped
from experiment.detect_command.detect_world import World, edited, facts, fit, rows, score
from medaegis import DataError, NumericsError, load_dataset
from medaegis.cli import main
from medaegis.detect import Combined, Detector
from medaegis.experiment import load_detectors
from medaegis.experiment._detect_score import check_finite
from medaegis.experiment._image_files import Read
from medaegis.models import build_model, load_factory


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
    network = striped.trained(striped.blank(), world.train).eval()
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
    want = load_detectors(world.fitted).detectors["MAHA"].score_images(striped.trained(striped.blank(), world.train), x)
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


def test_a_network_of_other_code_is_refused(nets: str, world: World, tmp_path: Path) -> None:
    told = facts(world)["model"]
    assert told["answers"]
    changed = edited(world, tmp_path / "moved", model=told | {"answers": [2 * value + 1 for value in told["answers"]]})
    code, output = score(nets, changed, world.clean, tmp_path / "a.csv")
    assert code == 2
    assert "computed something else" in output


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


def test_a_detector_of_another_package_comes_back(
    nets: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "plugin-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[medaegis.detectors]\nFeatureNorm = feature_norm:FeatureNorm\n")
    shutil.copy(Path(__file__).parents[2] / "detect" / "plugin_example" / "feature_norm.py", tmp_path)
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
