"""`medaegis aegis`: errors before any work, a guard that says on the command line what it says in Python."""

from __future__ import annotations

import csv
import io
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from click.testing import CliRunner

from experiment import striped
from medaegis import InputError, load_dataset
from medaegis.cli import main
from medaegis.defend import JPEG, Aegis, BitDepth, Chain, ShieldSettings, _shield_train
from medaegis.experiment import AegisSettings, named_cushion
from medaegis.models import build_model, load_factory

QUICK = (
    "--training",
    "paper",
    "--set",
    "epochs=1",
    "--set",
    "last_eps=4/256",
    "--set",
    "width=4",
    "--set",
    "probe_cases=4",
)


class Fake(NamedTuple):
    """What `run_aegis_fit` returns."""

    guard: Aegis
    path: Path
    sha256: str = ""
    computed: int = 0
    found: int = 0


class World(NamedTuple):
    """Files of one network: training images, its weights, new images, and its guard."""

    train: Path
    weights: Path
    clean: Path
    fitted: Path
    output: str

    @property
    def guard(self) -> Path:
        return self.fitted / "guard.safetensors"


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an importable module of networks."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return striped.write_module(tmp_path, "guarded_nets")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A network, its images and its guard, fitted once for all tests."""
    root = tmp_path_factory.mktemp("guarded")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root))
        begun = striped.start(root, "guarded_nets", train=120, new=30)
        clean = striped.write_images(root / "clean", begun.new.tensor())
        code, output = fit(begun.module, begun.train, begun.weights, root / "fitted")
    assert code == 0, output
    return World(begun.train, begun.weights, clean, root / "fitted", output)


def fit(nets: str, data: Path, weights: Path, out: Path, *more: str, model: str = "blank") -> tuple[int, str]:
    words = ["aegis", "fit", "--model", f"{nets}:{model}", "--weights", str(weights), "--data", str(data)]
    words += ["--size", "32", "--out", str(out), "--device", "cpu", *QUICK]
    result = CliRunner().invoke(main, [*words, *more], catch_exceptions=False)
    return result.exit_code, result.output


def check(nets: str, guard: Path, images: Path, *more: str, model: str | None = "blank") -> tuple[int, str, str]:
    words = ["aegis", "check", str(images), "--guard", str(guard), "--device", "cpu", *more]
    words += [] if model is None else ["--model", f"{nets}:{model}"]
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def network(nets: str, world: World) -> torch.nn.Module:
    return build_model(f"{nets}:blank", classes=2, weights=world.weights, channels=3).model


@pytest.mark.parametrize("auc", [0.95, 0.4])
def test_a_guard_that_does_not_hold_is_called_that(
    nets: str, world: World, monkeypatch: pytest.MonkeyPatch, auc: float
) -> None:
    guard = Aegis.load(world.guard, network(nets, world))
    history = ({**guard.facts.history[0], "validation_auc": 0.9},)
    told = replace(guard, facts=guard.facts._replace(history=history, probe_auc=auc))
    monkeypatch.setattr("medaegis.experiment.run_aegis_fit", lambda *_a, **_k: Fake(told, world.guard))
    output = fit(nets, world.train, world.weights, world.fitted)[1]
    assert ("warning: this guard does not hold: attacks leave an AUC of 0.400" in output) == (auc < 0.8)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("--cushion", "webp:3"), "jpeg:QUALITY, bits:DROP or tv:WEIGHT"),
        (("--cushion", "jpeg:high"), "jpeg:QUALITY, bits:DROP or tv:WEIGHT"),
        (("--cushion", "jpeg:101"), "`quality` of JPEG"),
        (("--training", "weak"), "`training` of aegis fit"),
        (("--set", "then_epochs=4"), "`then_epochs`"),
        (("--tnr", "1"), "`tnr` of aegis fit"),
        (("--set", "epoch=3"), "did you mean epochs?"),
        (("--set", "last_eps=8"), "8/256"),
        (("--set", "layers=nowhere"), "nowhere"),
        (("--data", "/no/such/folder"), "/no/such/folder"),
        (("--weights", "/no/such/file.pth"), "/no/such/file.pth"),
    ],
)
def test_errors_come_before_any_work(nets: str, world: World, tmp_path: Path, more: tuple[str, ...], text: str) -> None:
    code, output = fit(nets, world.train, world.weights, tmp_path / "out", *more)
    assert code == 2
    assert "error: " in output
    assert text in output
    assert not (tmp_path / "out").exists()


def test_fit_shows_taps_thresholds_and_hash(nets: str, world: World) -> None:
    guard = Aegis.load(world.guard, network(nets, world))
    assert "Tapped layers: " in world.output
    for name, threshold in zip(("lying", "standing"), guard.thresholds.tolist(), strict=True):
        assert f"{name:<12} threshold {-threshold:.6g}" in world.output
    digest = world.output.rsplit("SHA-256 ", 1)[1].strip()
    assert Aegis.load(world.guard, network(nets, world), sha256=digest).cushion == JPEG(80)
    counts = guard.facts.counts
    assert sum(sum(part.values()) for part in counts.values()) == 120
    assert str(world.weights) not in world.output.split("Guard: ")[0]


def test_the_terminal_says_what_python_says(nets: str, world: World, tmp_path: Path) -> None:
    data = load_dataset(striped.write_folder(tmp_path / "new", 30, 1), size=striped.SIZE)
    guard = Aegis.load(world.guard, network(nets, world))
    verdict = guard(data.tensor(), batch_size=1)
    code, out, err = check(nets, world.fitted, world.clean, "--batch-size", "64")
    found = rows(out)
    assert [row["accepted"] == "true" for row in found] == verdict.accepted.tolist()
    assert [row["prediction"] for row in found] == [data.class_names[c] for c in verdict.prediction.tolist()]
    assert [float(row["score"]) for row in found] == pytest.approx(verdict.score.tolist(), abs=1e-4)
    assert all((float(row["score"]) <= float(row["threshold"])) == (row["accepted"] == "true") for row in found)
    assert code == (0 if bool(verdict.accepted.all()) else 3)
    assert f"30 images checked, {int((~verdict.accepted).sum())} rejected." in err


@pytest.mark.parametrize(("shift", "expected"), [(-1e6, 0), (1e6, 3)])
def test_exit_codes(nets: str, world: World, tmp_path: Path, shift: float, expected: int) -> None:
    guard = Aegis.load(world.guard, network(nets, world))
    replace(guard, thresholds=guard.thresholds + shift).save(tmp_path / "guard.safetensors")
    given = ("--out", str(tmp_path / "t.csv"), "--weights", str(world.weights))
    code, out, _ = check(nets, tmp_path, world.clean, *given)
    assert code == expected
    assert out == ""
    found = rows((tmp_path / "t.csv").read_text())
    assert {row["accepted"] for row in found} == {"true" if expected == 0 else "false"}


def test_the_same_command_again_and_another_tnr_train_nothing(nets: str, world: World, tmp_path: Path) -> None:
    shutil.copytree(world.fitted, tmp_path / "again")
    before = world.guard.read_bytes()
    code, output = fit(nets, world.train, world.weights, tmp_path / "again")
    assert code == 0, output
    assert "0 stages computed" in output
    assert (tmp_path / "again" / "guard.safetensors").read_bytes() == before
    code, output = fit(nets, world.train, world.weights, tmp_path / "again", "--tnr", "0.5")
    assert "0 stages computed" in output
    stricter, guard = (
        Aegis.load(place / "guard.safetensors", network(nets, world)) for place in (tmp_path / "again", world.fitted)
    )
    assert (stricter.thresholds > guard.thresholds).all()
    assert stricter.facts.tnr == 0.5
    code, output = fit(nets, world.train, world.weights, tmp_path / "again", "--tnr", "0.999")
    assert code == 2
    assert "needs at least 1000 calibration cases" in output


def test_a_killed_training_goes_on(nets: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed when the second epoch begins; the same command then trains the second alone."""
    learn, seen = _shield_train.learn, list[int]()

    def dying(*given):
        seen.append(1)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return learn(*given)

    monkeypatch.setattr(_shield_train, "learn", dying)
    code, _ = fit(nets, world.train, world.weights, tmp_path / "out", "--set", "epochs=2")
    assert code == 130
    assert not (tmp_path / "out" / "guard.safetensors").exists()
    code, output = fit(nets, world.train, world.weights, tmp_path / "out", "--set", "epochs=2")
    assert code == 0, output
    assert len(seen) == 3
    assert not list((tmp_path / "out" / "stages").glob(".partial-*"))


def test_what_does_not_belong_together_is_refused(nets: str, world: World, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    striped.save_weights(load_factory(f"{nets}:blank"), other)
    code, _, err = check(nets, world.guard, world.clean, "--weights", str(other))
    assert (code, "must be the network that" in err) == (2, True)
    code, _, err = check(nets, world.guard, world.clean, model=None)
    assert (code, "a file does not decide which code runs" in err) == (2, True)
    code, _, err = check(nets, world.guard, world.clean, "--sha256", "00")
    assert (code, "is another one" in err) == (2, True)
    whole = bytearray(world.guard.read_bytes())
    whole[-3] ^= 1
    (tmp_path / "bad.safetensors").write_bytes(whole)
    table = tmp_path / "t.csv"
    code, _, err = check(nets, tmp_path / "bad.safetensors", world.clean, "--out", str(table))
    assert (code, "changed or damaged" in err, table.exists()) == (2, True, False)
    code, _, err = check(nets, tmp_path / "no", world.clean)
    assert (code, "cannot be read" in err) == (2, True)
    replace(Aegis.load(world.guard, network(nets, world)), about={}).save(tmp_path / "python.safetensors")
    code, _, err = check(nets, tmp_path / "python.safetensors", world.clean)
    assert (code, "does not say how images are read" in err) == (2, True)


def test_files_that_are_no_image(nets: str, world: World, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "broken.png").write_bytes(b"no image")
    code, _, err = check(nets, world.guard, tmp_path / "in")
    assert (code, "broken.png" in err) == (2, True)
    code, _, err = check(nets, world.guard, tmp_path / "in", "--skip-unreadable")
    assert (code, "None of the 1 files is an image" in err) == (2, True)
    shutil.copy(world.clean / "000.png", tmp_path / "in" / "000.png")
    code, out, err = check(nets, world.guard, tmp_path / "in", "--skip-unreadable")
    assert [bool(row["problem"]) for row in rows(out)] == [False, True]
    assert code in (0, 3)
    assert "1 files are no image" in err


def test_cushions_by_name() -> None:
    assert named_cushion("jpeg") == JPEG(80)
    assert named_cushion("bits:4+jpeg:70") == Chain((BitDepth(4), JPEG(70)))
    with pytest.raises(InputError, match="`cushion` of aegis fit"):
        named_cushion("", "aegis fit")


def test_training_by_name() -> None:
    plain = AegisSettings(data="phantom-chest", model="small-resnet")
    assert plain.shield_settings() == ShieldSettings.hardened()
    paper = plain.model_copy(update={"training": "paper", "epochs": 5, "last_eps": "8/256", "training_batch": 16})
    found = paper.shield_settings()
    assert (found.attacks, found.epochs, found.growing) == (ShieldSettings.paper().attacks, 5, 5)
    assert (found.last_eps, found.batch_size) == (8 / 256, 16)
    varied = plain.model_copy(update={"training": "varied", "training_batch": 4}).shield_settings()
    assert varied == ShieldSettings.varied().changed(batch_size=4)
    longer = plain.model_copy(update={"then_epochs": 7}).shield_settings()
    assert longer == ShieldSettings.hardened().changed(then_epochs=7)
