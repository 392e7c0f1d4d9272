"""The ONNX graph: numbers to the stated tolerance, decisions, and no file where they do not agree."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from defend.guards import learned, quick_guard
from defend.toy import toy_images
from medaegis import MedaegisError, NumericsError
from medaegis.defend import JPEG, Aegis, _aegis_onnx


@pytest.fixture(scope="module")
def guard() -> Aegis:
    return quick_guard()


@pytest.fixture(scope="module")
def exported(guard, tmp_path_factory):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    path = tmp_path_factory.mktemp("onnx") / "guard.onnx"
    return path, guard.export_onnx(path, images=toy_images(9, 4)[0])


def session(path):
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def test_a_missing_package_is_named(guard, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(_aegis_onnx, "NEEDED", ("no_such_package",))
    with pytest.raises(MedaegisError, match=r"needs no_such_package, .* medaegis\[onnx\]"):
        guard.export_onnx(tmp_path / "guard.onnx")


@pytest.mark.parametrize("n", [1, 7, 64])
def test_the_graph_decides_as_the_guard_does(guard, exported, n) -> None:
    """Images through the Cushion, then the graph; decisions are compared where no logit is near its threshold."""
    x, _ = toy_images(64, 5)
    verdict = guard(x[:n])
    names = list(_aegis_onnx.OUTPUTS)
    found = dict(zip(names, session(exported[0]).run(names, {"images": JPEG(80).apply(x[:n]).numpy()}), strict=True))
    near = (-verdict.score - guard.thresholds[verdict.prediction]).abs() < 1e-3
    assert near.float().mean() < 0.2
    assert found["prediction"].tolist() == verdict.prediction.tolist()
    assert (torch.from_numpy(found["accepted"]) == verdict.accepted)[~near].all()
    assert found["score"].tolist() == pytest.approx(verdict.score.tolist(), abs=1e-3)
    assert found["probability"].tolist() == pytest.approx(verdict.probability.tolist(), abs=1e-4)


def test_the_check_is_told(exported) -> None:
    path, check = exported
    assert (check.path, check.cases) == (path, 9)
    assert 0 <= check.difference <= check.tolerance == 1e-4
    assert [file.name for file in path.parent.iterdir()] == ["guard.onnx"]


def test_the_metadata_are_those_of_the_file(guard, exported) -> None:
    told = json.loads(session(exported[0]).get_modelmeta().custom_metadata_map["medaegis"])
    assert told == guard.state()[1]
    assert told["cushion"]["cushion"] == "JPEG"


def test_other_numbers_leave_no_file(guard, exported, tmp_path, monkeypatch) -> None:
    """The graph of other thresholds, or of another network, in place of the right one."""
    other = learned()
    with torch.no_grad():
        other[-1].bias += 0.1
    for wrong in (replace(guard, classifier=other), replace(guard, thresholds=guard.thresholds + 100)):
        wrong.export_onnx(tmp_path / "wrong.onnx")
        content = (tmp_path / "wrong.onnx").read_bytes()
        monkeypatch.setattr(_aegis_onnx, "_exported", lambda *_, content=content: content)
        with pytest.raises(NumericsError, match="onnxruntime differs"):
            guard.export_onnx(tmp_path / "guard.onnx", images=toy_images(9, 4)[0])
        monkeypatch.undo()
        (tmp_path / "wrong.onnx").unlink()
        assert not list(tmp_path.iterdir())


def test_a_network_that_cannot_be_exported_is_an_error(guard, exported, tmp_path) -> None:
    class Branching(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x) if x.mean().item() > 0 else self.inner(1 - x)

    broken = quick_guard(Branching(learned()))
    with pytest.raises(MedaegisError, match="cannot be exported to ONNX"):
        broken.export_onnx(tmp_path / "guard.onnx")
    assert not list(tmp_path.iterdir())
    with pytest.raises(MedaegisError, match="cannot be written"):
        guard.export_onnx(tmp_path / "no" / "guard.onnx")
