"""The command line as a user meets it: quick help, clear errors, no stack trace."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from medaegis.cli import main


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(words), catch_exceptions=False)
    return result.exit_code, result.output


def test_help_is_quick_and_loads_no_torch() -> None:
    code = "import sys, medaegis.cli; assert 'torch' not in sys.modules; medaegis.cli.main(['--help'])"
    times: list[float] = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        times.append(time.perf_counter() - start)
    assert "demo" in done.stdout
    assert min(times) < 0.5


def test_python_m_is_the_same_command() -> None:
    done = subprocess.run([sys.executable, "-m", "medaegis", "list"], capture_output=True, text=True, check=True)
    assert done.stdout == run("list")[1]


def test_list_names_recipes_and_settings() -> None:
    code, text = run("list")
    assert code == 0
    assert "chest-xray-small" in text
    papers, subjects = text.split("By subject")
    assert [line for line in papers.splitlines() if line[:1].isalpha()] == ["HFC-21", "HFC-23", "Medical Aegis"]
    assert "hfc21-fig1                   the same as hfc23-fig7" in papers
    assert "hfc21-table2" not in subjects
    code, text = run("list", "--settings", "demo")
    assert code == 0
    assert "Gaussian components" in text
    assert "--scale paper: there is no such version" in text


def test_several_recipes_are_run_by_name(tmp_path: Path) -> None:
    """Two that share everything but a budget; one of them twice, by its alias; another that fails, with exit code 2."""
    settings = ("--set", "sets=phantom-chest", "steps=1", "images=2", "epochs=1", "size=32", "cases=60")
    words = ("run", "hfc23-fig4", "hfc21-table1", "--tiny", "--quiet", "--out", str(tmp_path), *settings)
    code, text = run(*words)
    assert code == 0, text
    assert "2 recipes: " in text
    computed = re.search(r"Computed (\d+) stages of (\d+) distinct ones; a second run computes none\.", text)
    assert computed is not None
    assert computed[1] == computed[2] == "5"  # images, split, classifier, 1/256 of both, 8/256
    assert f"Index: {tmp_path / 'index.html'}" in text
    page = (tmp_path / "index.html").read_text()
    assert all(f"{name}-tiny/report.html" in page for name in ("hfc23-fig4", "hfc21-table1"))
    code, text = run(*words, "ood-lesions")  # has no setting `sets`
    assert code == 2
    assert "ood-lesions          FAILED" in text
    assert "Computed 0 stages" in text


def test_doctor_passes_its_self_test() -> None:
    code, text = run("doctor")
    assert code == 0, text
    assert "known optimum" in text


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("run", "no-such-recipe"), "There is no recipe"),
        (("run", "demo", "--set", "epoch=1"), "did you mean epochs"),
        (("run", "demo", "--set", "eps=8"), "8/256"),
        (("run", "demo", "--set", "seed=1", "epoch=1"), "did you mean epochs"),
        (("run", "demo", "seed"), "key=value"),
        (("run", "demo", "--scale", "paper"), "small, its only one"),
        (("run", "hfc21-table2"), "--tiny"),
        (("run", "hfc21-table2", "--tiny", "--set", "epoch=3"), "epoch"),
        (("run", "chest-xray-small"), "--data"),
        (("run", "chest-xray-small", "--data", "/no/such/folder"), "/no/such/folder"),
        (("run", "demo", "--device", "abacus"), "cpu or cuda"),
        (("run", "demo", "--model", "no_such_module:net", "--tiny"), "no_such_module"),
        (("report", "/no/such/run"), "/no/such/run"),
        (("detect", "fit", "--model", "no_such_module:net", "--data", "phantom-chest", "--out", "x"), "no_such_module"),
        (("detect", "score", "--detectors", "/no/such", "--data", "x", "--out", "y"), "must hold detectors.json"),
    ],
)
def test_errors_are_one_clear_text(words: tuple[str, ...], text: str, tmp_path: Path) -> None:
    out = ("--out", str(tmp_path)) if words[0] == "run" else ()
    code, output = run(*words, *out)
    assert code == 2
    assert "error: " in output
    assert text in output
    assert "Traceback" not in output
