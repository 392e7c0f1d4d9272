"""On real X-rays and a ResNet-18: one decision an image, from Python, a file, batches of 1 and of 64, and ONNX."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

import medaegis as ma
from medaegis.defend import JPEG, Aegis, AegisVerdict, ShieldSettings, TrainingAttack, _aegis_onnx

DATA = Path(os.environ.get("MEDAEGIS_DATA", Path(__file__).parents[3] / "shared" / "data")) / "chest_xray"
QUICK = ShieldSettings((TrainingAttack(steps=1),), epochs=1, growing=1, last_eps=4 / 256, width=4, probe_cases=0)


@pytest.fixture(scope="module")
def xrays() -> torch.Tensor:
    if not DATA.is_dir():
        pytest.skip(f"no X-rays at {DATA}; set MEDAEGIS_DATA to the folder above")
    return ma.data.load_dataset(DATA, size=128, limit=32).tensor()


@pytest.fixture(scope="module")
def network(xrays) -> nn.Module:
    """Random weights whose two classes halve the images: what it says is of no use here, that it is the same is."""
    net = ma.build_model("resnet18", classes=2, seed=0).model.eval()
    with torch.no_grad():
        logits = torch.cat([net(JPEG(80).apply(part)) for part in xrays.split(32)])
        dense = [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
        dense.bias[1] += (logits[:, 0] - logits[:, 1]).median()
    return net


@pytest.fixture(scope="module")
def guard(xrays, network) -> Aegis:
    with torch.no_grad():
        said = torch.cat([network(JPEG(80).apply(part)).argmax(dim=1) for part in xrays.split(32)])
    return Aegis.fit(network, (xrays, said, None), settings=QUICK, tnr=0.8, seed=0)


@pytest.fixture(scope="module")
def verdict(guard, xrays) -> AegisVerdict:
    return guard(xrays[:64], batch_size=64)


def test_batches_of_one(guard, xrays, verdict) -> None:
    one = guard(xrays[:64], batch_size=1)
    assert 0 < int(verdict.accepted.sum()) < 64
    assert torch.equal(one.prediction, verdict.prediction)
    assert torch.equal(one.accepted, verdict.accepted)
    torch.testing.assert_close(one.score, verdict.score, rtol=1e-4, atol=1e-4)


def test_loaded_artefact(guard, network, xrays, verdict, tmp_path) -> None:
    digest = guard.save(tmp_path / "guard.safetensors")
    loaded = Aegis.load(tmp_path / "guard.safetensors", network, sha256=digest)
    assert all(torch.equal(a, b) for a, b in zip(loaded(xrays[:64], batch_size=64), verdict, strict=True))


def test_onnx(guard, xrays, verdict, tmp_path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    check = guard.export_onnx(tmp_path / "guard.onnx", images=xrays[:4])
    session = runtime.InferenceSession(str(tmp_path / "guard.onnx"), providers=["CPUExecutionProvider"])
    names = list(_aegis_onnx.OUTPUTS)
    found = dict(zip(names, session.run(names, {"images": JPEG(80).apply(xrays[:64]).numpy()}), strict=True))
    assert check.difference <= check.tolerance
    near = (-verdict.score - guard.thresholds[verdict.prediction]).abs() < 1e-3
    near |= (verdict.probability - 0.5).abs() < 1e-4
    assert near.float().mean() < 0.2
    assert (torch.from_numpy(found["prediction"]) == verdict.prediction)[~near].all()
    assert (torch.from_numpy(found["accepted"]) == verdict.accepted)[~near].all()
    torch.testing.assert_close(torch.from_numpy(found["score"])[~near], verdict.score[~near], rtol=1e-3, atol=1e-3)
