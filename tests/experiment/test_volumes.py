"""Volumes in stages and commands: keys of images stay, windows have keys, `medaegis attack` takes volumes."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import load_file

from medaegis import load_dataset
from medaegis._errors import InputError
from medaegis.cli import main
from medaegis.data._geometry import Frame, frame_facts
from medaegis.experiment._detect_files import _frame
from medaegis.experiment._network_settings import NetworkSettings, classifier_stage
from medaegis.experiment._own_settings import OwnSettings, clean_pass
from medaegis.experiment._stages_data import Images, SplitCases, images_stage


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """Eight dark and eight light volumes in Hounsfield units, of which the network in `nets` is sure."""
    generator = np.random.default_rng(0)
    for name, centre in (("dark", 15), ("light", 65)):
        for i in range(8):
            values = generator.normal(centre, 4, (20, 16, 5)).astype(np.float32)
            values[0, 0, 0] = -1000
            path = tmp_path / "volumes" / name / f"{i}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nibabel.Nifti1Image(values, np.eye(4)).to_filename(path)
    return tmp_path / "volumes"


def test_keys_of_images_are_what_they_were() -> None:
    """As printed by the commit before there were volumes, 3ca41a2."""
    images = Images("kermany", "ab12", 128, limit=5, root="/x")
    assert images.key == "9df48b8d7984e622f226c5e2"
    assert SplitCases(images, seed=3).key == "bb2dd773971f7bbd5da0a3cc"
    settings = NetworkSettings(source="phantom-chest", model="small-resnet", weights=None, size=32)
    assert classifier_stage(settings).key == "04828cb369553fce1baea651"
    assert (
        clean_pass(OwnSettings(data="phantom-chest", model="small-resnet", size=32))[0].key
        == "2316099f2932fc13c2a0c84b"
    )


def test_depth_and_window_are_in_the_key(volumes: Path) -> None:
    stages = [
        images_stage(None, volumes, size=16, depth=depth, window=window)
        for depth, window in ((5, None), (6, None), (5, "40,80"))
    ]
    assert len({stage.key for stage in stages}) == 3
    assert {stage.source for stage in stages} == {"volumes"}
    assert {stage.channels for stage in stages} == {1}
    with pytest.raises(InputError, match="an int for volumes"):
        images_stage(None, volumes, size=16)


def test_settings_read_windows_as_the_command_line_gives_them() -> None:
    assert NetworkSettings.model_validate({"window": ["40", "80"], "depth": "30"}).window == "40,80"
    assert NetworkSettings.model_validate({"window": "none"}).window is None
    with pytest.raises(ValidationError, match="width above 0"):
        NetworkSettings(window="40,-1")


def test_scoring_repeats_the_window_of_the_fit() -> None:
    images = Images("folder", "", 32, window="40,80")
    assert _frame(frame_facts(images.frame)) == Frame(**frame_facts(images.frame)) == images.frame
    earlier = {"size": 32, "resize": 35, "channels": 3}  # what was written before there were windows
    assert _frame(earlier) == Images("folder", "", 32).frame


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(words), catch_exceptions=False)
    return result.exit_code, result.output


def test_attack_on_volumes(nets: str, volumes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["attack", "--model", f"{nets}:plain", "--data", str(volumes), "--size", "16", "--depth", "5"]
    words += ["--window", "40,80", "--attack", "bim", "--eps", "96/256", "--steps", "4", "--checks", "2"]
    code, text = run(*words, "--device", "cpu", "--out", str(out))
    assert code == 0, text
    assert "clean accuracy 100.0" in text
    assert "Adv. Acc             100.0" in text
    (file,) = (out / "adversarial").iterdir()
    made = load_file(file)["x"]
    clean = load_dataset(volumes, size=16, depth=5, window="40,80").tensor()
    assert made.shape == clean.shape == (16, 1, 5, 16, 16)
    assert float((made - clean).abs().max()) <= 96 / 256
    shown = np.asarray(Image.open(out / "preview" / "dark" / "3.nii.gz.png"))
    assert np.array_equal(shown, np.rint(255 * made[3, 0, 2].numpy()))
    assert "5 slices the middle one is shown" in (out / "report.html").read_text()


@pytest.mark.parametrize("command", [("detect", "fit"), ("aegis", "fit")])
def test_commands_on_images_refuse_volumes(nets: str, volumes: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    words = ["--model", f"{nets}:plain", "--data", str(volumes), "--depth", "5", "--out", str(tmp_path / "out")]
    code, text = run(*command, *words)
    assert code == 2
    assert f"`depth` of {' '.join(command)} must be None" in text


def test_memory_holds_volumes_once(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for i in range(60):
        path = tmp_path / "ab"[i % 2] / f"{i}.nii"
        path.parent.mkdir(exist_ok=True)
        nibabel.Nifti1Image(generator.normal(size=(64, 64, 8)).astype(np.float32), np.eye(4)).to_filename(path)
    load_dataset(tmp_path, size=56, depth=8, limit=3)  # imports
    tracemalloc.start()
    data = load_dataset(tmp_path, size=56, depth=8)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.7 * data.images.nbytes  # what is being decoded comes on top
