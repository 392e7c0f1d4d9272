"""`medaegis attack`: errors before any work, images without loss, resumption, and what the files say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from medaegis import load_dataset
from medaegis.attack import PRESETS, Attacker, AttackResult, CrossEntropy, Objective, requantise, run_attack
from medaegis.attack._batch import Batch, Made
from medaegis.cli import main
from medaegis.experiment import _attack_run, _stages_own
from medaegis.experiment._attack_files import preview_name
from medaegis.models import load_factory

EPS = 8 / 256
SHORT = ("--set", "step_size=0.5/256")  # so short that the random start still shows in the end


def attack(nets: str, data: Path, out: Path, *more: str, model: str = "plain", checks: str = "0") -> tuple[int, str]:
    words = ["attack", "--model", f"{nets}:{model}", "--data", str(data), "--size", "16", "--out", str(out)]
    words += ["--attack", "pgd", "--eps", "8/256", "--steps", "4", "--checks", checks, "--device", "cpu"]
    result = CliRunner().invoke(main, [*words, *more], catch_exceptions=False)
    return result.exit_code, result.output


def manifest(out: Path) -> dict[str, Any]:
    return json.loads((out / "manifest.json").read_text())


def table(out: Path) -> dict[str, dict[str, Any]]:
    return {row["metric"]: row for row in pyarrow.csv.read_csv(out / "table.csv").to_pylist()}


def images(out: Path) -> torch.Tensor:
    return torch.cat([load_file(file)["x"] for file in sorted((out / "adversarial").glob("*.safetensors"))])


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("--eps", "1.0"), "did you mean 1/256?"),
        (("--eps", "8"), "did you mean 8/256?"),
        (("--eps", "x"), "`eps` of pgd must be a fraction"),
        (("--attack", "pdg"), "Did you mean pgd?"),
        (("--set", "decay=1.0"), "The attack pgd has no setting 'decay'"),
        (("--set", "step_sise=1/256"), "Did you mean step_size?"),
        (("--attack", "fgsm"), "The attack fgsm has no setting 'steps'"),
        (("--set", "decay"), "key=value"),
        (("--target", "grey"), "one of the classes dark, light"),
        (("--target", "2"), "one of the classes dark, light"),
        (("--data", "/no/such/folder"), "/no/such/folder"),
        (("--model", "no_such_module:net"), "no_such_module"),
        (("--substitute", "no_such_module:net"), "no_such_module"),
        (("--weights", "/no/such/file.pth"), "/no/such/file.pth"),
        (("--size", "4"), "`size` of attack"),
        (("--limit", "1"), "`limit` of attack"),
        (("--source", "kermani"), "kermani"),
    ],
)
def test_errors_come_before_any_work(
    nets: str, pictures: Path, tmp_path: Path, more: tuple[str, ...], text: str
) -> None:
    code, output = attack(nets, pictures, tmp_path / "out", *more)
    assert code == 2
    assert "error: " in output
    assert text in output
    assert "Traceback" not in output
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_files_is_not_touched(nets: str, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("x")
    code, output = attack(nets, pictures, tmp_path / "thesis")
    assert code == 2
    assert "an empty one, or one of an earlier run" in output
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.txt"]


def test_a_network_of_other_classes_is_refused(nets: str, pictures: Path, tmp_path: Path) -> None:
    code, output = attack(nets, pictures, tmp_path / "out", model="three")
    assert code == 2
    assert "logits of shape (n, 2)" in output


def test_nothing_to_attack_says_why(nets: str, pictures: Path, tmp_path: Path) -> None:
    code, output = attack(nets, pictures, tmp_path / "out", "--target", "dark", model="blind")
    assert code == 2
    assert "There is no case to attack" in output


def test_the_images_are_the_attacks_own_without_loss(nets: str, pictures: Path, tmp_path: Path) -> None:
    code, output = attack(nets, pictures, tmp_path / "out")
    assert code == 0, output
    data = load_dataset(pictures, size=16)
    x, y = data.tensor(), torch.as_tensor(data.labels)
    made = run_attack(
        PRESETS["pgd"](eps=EPS, steps=4), load_factory(f"{nets}:plain"), x, y, target=1 - y,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    stored = images(tmp_path / "out")
    assert stored.dtype == torch.float32
    assert torch.equal(stored, made.x)
    assert (stored.double() - x.double()).abs().max() <= EPS
    assert stored.min() >= 0
    assert stored.max() <= 1
    assert not torch.equal((stored * 255).round() / 255, stored)


def test_cases_say_what_happened_to_each(nets: str, pictures: Path, tmp_path: Path) -> None:
    attack(nets, pictures, tmp_path / "out")
    cases = pyarrow.parquet.read_table(tmp_path / "out" / "cases.parquet").to_pylist()
    assert pyarrow.csv.read_csv(tmp_path / "out" / "cases.csv").column_names == list(cases[0])
    assert len(cases) == 12
    x = images(tmp_path / "out")
    net = load_factory(f"{nets}:plain")
    clean = load_dataset(pictures, size=16).tensor()
    for i, case in enumerate(cases):
        assert case["label"] == case["clean_prediction"] == case["name"].split("/")[0]
        assert case["target"] == {"dark": "light", "light": "dark"}[case["label"]]
        assert case["fooled"] == (case["adversarial_prediction"] == case["target"])
        assert case["steps"] == 4
        change = (x[i].double() - clean[i].double()).flatten()
        sizes = [change.abs().max(), (change**2).mean().sqrt(), change.norm()]
        np.testing.assert_allclose([case[k] for k in ("linf", "rms", "l2")], torch.stack(sizes), rtol=1e-6)
        assert torch.equal(load_file(tmp_path / "out" / case["file"])["x"][case["row"]], x[i])
    y = torch.tensor([0 if case["label"] == "dark" else 1 for case in cases])
    zero = torch.zeros(12)
    whole = AttackResult(x, zero.bool(), y, torch.zeros(12, 2), zero, y, y, y)
    again = requantise(whole, net, y, bits=8, target=1 - y)
    assert [case["fooled_8_bits"] for case in cases] == again.fooled.tolist()


def test_the_table_has_success_with_intervals(nets: str, pictures: Path, tmp_path: Path) -> None:
    _, output = attack(nets, pictures, tmp_path / "out")
    rows = table(tmp_path / "out")
    assert rows["clean accuracy"]["value"] == 100
    assert (rows["Adv. Acc"]["value"], rows["Adv. Acc"]["n"]) == (100, 12)
    assert rows["Adv. Acc of dark"]["n"] == rows["Adv. Acc of light"]["n"] == 6
    assert {f"Adv. Acc at {bits} bits" for bits in (8, 12, 16)} <= set(rows)
    np.testing.assert_allclose(rows["mean Linf"]["value"], 100 * EPS, rtol=1e-3)
    assert all(row["ci_low"] <= row["value"] + 1e-9 <= row["ci_high"] + 2e-9 for row in rows.values())
    assert "Adv. Acc of dark" in output
    assert "100.0 [100.0, 100.0] n=12" in output


def test_wrong_cases_are_left_out_and_counted(nets: str, pictures: Path, tmp_path: Path) -> None:
    attack(nets, pictures, tmp_path / "out", model="blind")  # calls everything dark
    parts = manifest(tmp_path / "out")["data"]["split"]
    assert parts == {"given": 12, "dropped_wrong": 6, "dropped_target": 0, "attacked": 6}
    assert "6 were classified wrongly" in (tmp_path / "out" / "report.html").read_text()
    assert "6 of 12 images right, no more than always naming" in manifest(tmp_path / "out")["warnings"][0]


def test_a_class_as_target_leaves_out_its_own_cases(nets: str, pictures: Path, tmp_path: Path) -> None:
    attack(nets, pictures, tmp_path / "out", "--target", "light")
    assert manifest(tmp_path / "out")["data"]["split"]["dropped_target"] == 6
    cases = pyarrow.parquet.read_table(tmp_path / "out" / "cases.parquet").to_pylist()
    assert {(case["label"], case["target"]) for case in cases} == {("dark", "light")}
    attack(nets, pictures, tmp_path / "none", "--target", "none")
    cases = pyarrow.parquet.read_table(tmp_path / "none" / "cases.parquet").to_pylist()
    assert {case["target"] for case in cases} == {None}


def test_previews_are_rounded_and_nothing_is_judged_on_them(nets: str, pictures: Path, tmp_path: Path) -> None:
    attack(nets, pictures, tmp_path / "out")
    before = (tmp_path / "out" / "table.csv").read_bytes()
    name = "dark/dark0.png"
    preview = tmp_path / "out" / "preview" / preview_name(name)
    first = images(tmp_path / "out")[0]
    shown = np.asarray(Image.open(preview)).astype(np.float64)
    np.testing.assert_array_equal(shown, np.rint(255 * first.numpy()).max(axis=0) if shown.ndim == 2 else shown)
    assert "nothing was judged" in (tmp_path / "out" / "preview" / "README.txt").read_text()
    Image.new("L", (16, 16), 255).save(preview)
    _, output = attack(nets, pictures, tmp_path / "out")
    assert "0 stages computed" in output
    assert (tmp_path / "out" / "table.csv").read_bytes() == before


def test_a_run_killed_in_a_chunk_goes_on_with_that_chunk(
    nets: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attack(nets, pictures, tmp_path / "whole", *SHORT)
    monkeypatch.setattr(_attack_run, "CHUNK", 5)
    calls: list[int] = []

    def killed_in_the_second(*args: Any, **named: Any) -> AttackResult:
        calls.append(len(args[2]))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run_attack(*args, **named)

    monkeypatch.setattr(_stages_own, "run_attack", killed_in_the_second)
    code, output = attack(nets, pictures, tmp_path / "out", *SHORT)
    assert code == 130
    assert "the same command goes on" in output
    assert not (tmp_path / "out" / "table.csv").exists()
    code, output = attack(nets, pictures, tmp_path / "out", *SHORT)
    assert code == 0, output
    assert calls == [5, 5, 5, 2]  # the first chunk is not made again
    names = sorted(path.name for path in (tmp_path / "out" / "adversarial").iterdir())
    assert names == ["000000-000004.safetensors", "000005-000009.safetensors", "000010-000011.safetensors"]
    assert torch.equal(images(tmp_path / "out"), images(tmp_path / "whole"))
    assert (tmp_path / "out" / "table.csv").read_bytes() == (tmp_path / "whole" / "table.csv").read_bytes()
    assert "0 stages computed" in attack(nets, pictures, tmp_path / "out", *SHORT)[1]


def test_the_batch_size_is_not_in_the_keys_and_the_seed_is(nets: str, pictures: Path, tmp_path: Path) -> None:
    attack(nets, pictures, tmp_path / "out", *SHORT)
    first = images(tmp_path / "out")
    assert "0 stages computed" in attack(nets, pictures, tmp_path / "out", *SHORT, "--batch-size", "3")[1]
    assert "1 stages computed" in attack(nets, pictures, tmp_path / "out", *SHORT, "--seed", "1")[1]
    assert not torch.equal(images(tmp_path / "out"), first)
    assert len(list((tmp_path / "out" / "adversarial").iterdir())) == 1


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_runs(nets: str, pictures: Path, tmp_path: Path, name: str) -> None:
    words = [
        "attack",
        "--model",
        f"{nets}:plain",
        "--data",
        str(pictures),
        "--size",
        "16",
        "--out",
        str(tmp_path / "o"),
    ]
    words += ["--attack", name, "--eps", "8/256", "--checks", "4", "--device", "cpu"]
    words += [] if name in ("fgsm", "noise") else ["--steps", "3"]
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert len(manifest(tmp_path / "o")["checks"]) == 7


class Nudge(Attacker):
    """An attack outside the loop, without a budget: every pixel moves to the other side of the middle."""

    name, objective, random, passes = "Nudge", CrossEntropy(), False, 3  # pyright: ignore[reportAssignmentType]

    def make(self, batch: Batch) -> Made:
        none = torch.zeros(len(batch.x0), dtype=torch.int64)
        return Made(1.0 - batch.x0, none, none, none + 3)

    def plus(self, objective: Objective) -> Attacker:
        raise NotImplementedError


def nudge(eps: float | None = None, steps: int = 3) -> Attacker:
    return Nudge()


def test_an_attack_without_a_budget_needs_one_line(
    nets: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "nudge", nudge)
    words = ["attack", "--model", f"{nets}:plain", "--data", str(pictures), "--size", "16", "--device", "cpu"]
    words += ["--out", str(tmp_path / "out"), "--attack", "nudge", "--checks", "4"]
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found = checks_of(tmp_path / "out")
    assert found["Success is complete at a large budget"] == (None, "Not run: the attack has no budget.")
    assert found["Many steps are not below one step"][0] is None
    assert found["More steps do not help"][0] is True
    assert table(tmp_path / "out")["Adv. Acc"]["eps"] == "no limit"
    assert "An attacker without a limit on the change" in (tmp_path / "out" / "report.html").read_text()
    result = CliRunner().invoke(main, [*words, "--set", "kappa=1"], catch_exceptions=False)
    assert "The attack nudge has no setting 'kappa'. It has: steps." in result.output


def test_settings_reach_the_preset(nets: str, pictures: Path, tmp_path: Path) -> None:
    more = ("--attack", "mim", "--set", "decay=0.5", "norm=l2", "step_size=0.5/256")
    code, output = attack(nets, pictures, tmp_path / "out", *more)
    assert code == 0, output
    assert manifest(tmp_path / "out")["settings"]["options"] == {
        "decay": "0.5", "norm": "l2", "step_size": "0.5/256", "steps": "4",
    }  # fmt: skip
    moved = images(tmp_path / "out") - load_dataset(pictures, size=16).tensor()
    assert moved.abs().max() <= 4 * 0.5 / 256 + 1e-7


def test_phantoms_grey_images_and_a_named_network(tmp_path: Path) -> None:
    words = ["attack", "--model", "small-resnet", "--data", "phantom-chest", "--limit", "3", "--size", "32"]
    words += ["--attack", "fgsm", "--eps", "0.02", "--channels", "1", "--checks", "0", "--device", "cpu"]
    result = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "out")], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert images(tmp_path / "out").shape[1:] == (1, 32, 32)
    assert "small-resnet is untrained" in result.output


def test_a_case_name_cannot_lead_out_of_the_folder() -> None:
    assert preview_name("../../etc/x") == "_/_/etc/x.png"
    assert preview_name("/etc/x") == "etc/x.png"


def checks_of(out: Path) -> dict[str, tuple[bool | None, str]]:
    return {check["name"]: (check["passed"], check["text"]) for check in manifest(out)["checks"]}


def test_a_sound_attack_passes_its_checks_and_the_report_shows_all(nets: str, pictures: Path, tmp_path: Path) -> None:
    more = ("--substitute", f"{nets}:shifted")
    code, output = attack(nets, pictures, tmp_path / "out", *more, checks="8")
    assert code == 0, output
    found = checks_of(tmp_path / "out")
    assert [passed for passed, _ in found.values()] == [True] * 6 + [None]
    assert "6 of 6 checks of the attack's strength passed." in output
    page = (tmp_path / "out" / "report.html").read_text()
    assert all(name in page for name in found)
    assert "With 8 cases, what concerns fewer than 31 %" in page
    assert "\u2013 Not run" in page
    assert "Detector scores" not in page


def test_hidden_gradients_are_found_out(nets: str, pictures: Path, tmp_path: Path) -> None:
    more = ("--substitute", f"{nets}:plain")
    _, output = attack(nets, pictures, tmp_path / "out", *more, model="masked", checks="8")
    found = {name: passed for name, (passed, _) in checks_of(tmp_path / "out").items()}
    assert found["Gradients are alive"] is False
    assert found["White-box is not below transfer"] is False
    assert "Gradients are alive. " in output
    page = (tmp_path / "out" / "report.html").read_text()
    assert "the model may look safer than it is" in page


def test_checks_that_are_not_run_say_why(nets: str, pictures: Path, tmp_path: Path) -> None:
    attack(nets, pictures, tmp_path / "off")
    found = checks_of(tmp_path / "off")
    assert found["More steps do not help"] == (None, "Not run: switched off with --checks 0.")
    assert sum(passed is None for passed, _ in found.values()) == 6
    page = (tmp_path / "off" / "report.html").read_text()
    assert page.count("\u2013 Not run") == 6
    assert "s strength did not pass" not in page
    attack(nets, pictures, tmp_path / "bim", "--attack", "bim", checks="4")
    found = checks_of(tmp_path / "bim")
    assert found["More restarts do not help"] == (None, "Not run: nothing in the attack is random.")
    assert found["White-box is not below transfer"] == (None, "Not run: no substitute given.")
