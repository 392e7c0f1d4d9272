"""Classifier, Shields and thresholds as an ONNX graph, compared with PyTorch before the file counts."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import json
import logging
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from medaegis._errors import MedaegisError, NumericsError
from medaegis._types import Images
from medaegis.defend._aegis_verdict import close_calls
from medaegis.defend._shield_system import Shielded
from medaegis.models import frozen

INPUT = "images"
OUTPUTS = ("prediction", "probability", "accepted", "score", "threshold", "logits", "shields")
TOLERANCE = 1e-4
"""Largest difference of any number that the graph gives, relative to 1 + the largest of its kind."""
NEEDED = ("onnx", "onnxscript", "onnxruntime")


class OnnxCheck(NamedTuple):
    """How far onnxruntime is from PyTorch.

    Attributes:
        path: of the graph.
        difference: the largest, relative to 1 + the largest value of that output.
        tolerance: what it may be.
        cases: images that were compared.
        close: of these, the ones so near to a boundary that their decision was not compared.
    """

    path: Path
    difference: float
    tolerance: float
    cases: int
    close: int


class GuardGraph(nn.Module):
    """What is exported: images that went through the Cushion to the verdict's columns and both kinds of logits.

    Args:
        system: classifier and Shields, without the Cushion.
        thresholds: (k,) of S.

    Example:
        >>> from medaegis.defend import Shields, tap_plan
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> graph = GuardGraph(Shielded(net, Shields(tap_plan(net, torch.rand(1, 1, 8, 8)), 2)), torch.zeros(2))
        >>> [tuple(part.shape) for part in graph(torch.rand(3, 1, 8, 8))]
        [(3,), (3,), (3,), (3,), (3,), (3, 2), (3, 2)]
    """

    def __init__(self, system: Shielded, thresholds: Tensor) -> None:
        super().__init__()
        self.system = system
        self.register_buffer("thresholds", thresholds.detach().clone())

    def forward(self, images: Images) -> tuple[Tensor, ...]:
        """The columns of `OUTPUTS`."""
        logits, shields = self.system.both(images)
        prediction = logits.argmax(dim=1)
        own = shields.gather(1, prediction[:, None])[:, 0]
        limit = self.get_buffer("thresholds")[prediction]
        return prediction, logits.softmax(dim=1).amax(dim=1), own >= limit, -own, -limit, logits, shields


def write_onnx(
    system: Shielded, thresholds: Tensor, probes: Images, path: str | Path, about: Mapping[str, Any]
) -> OnnxCheck:
    """Export, compare in onnxruntime, and only then put the file in its place.

    Args:
        system: classifier and Shields, without the Cushion; copied to the CPU.
        thresholds: (k,) of S.
        probes: images (n, c, *space) behind the Cushion, on the CPU, to compare on.
        path: of the file.
        about: JSON values for the graph's metadata, under the name `medaegis`.

    Raises:
        MedaegisError: a package is missing, the network cannot be exported, or the file cannot be written.
        NumericsError: onnxruntime gives other numbers than PyTorch, beyond the tolerance.
    """
    runtime = _runtime()
    target = Path(path)
    temporary = target.with_name(f".{target.name}.tmp")
    graph = GuardGraph(copy.deepcopy(system).cpu(), thresholds.cpu()).eval()
    try:
        temporary.write_bytes(_exported(graph, torch.cat([probes[:1], probes[:1]]), about))
        found = compared(graph, probes, runtime, temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise MedaegisError(f"The graph {target} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return found._replace(path=target)


def _runtime() -> Any:
    """The module onnxruntime, once all that an export needs is known to be there."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise MedaegisError(
            f"Aegis.export_onnx needs {', '.join(missing)}, which is not installed: pip install medaegis[onnx]."
        )
    return importlib.import_module("onnxruntime")


def _exported(graph: GuardGraph, example: Images, about: Mapping[str, Any]) -> bytes:
    """The graph for any number of images, with `about` in its metadata."""
    batch = torch.export.Dim("n", min=1)
    talkative = logging.getLogger("torch.onnx")
    level = talkative.level
    try:
        talkative.setLevel(logging.ERROR)
        with warnings.catch_warnings(), torch.no_grad():  # not frozen: its TF32 flags stop the exporter
            warnings.simplefilter("ignore")  # of the exporter's own old names
            program: Any = torch.onnx.export(
                graph,
                (example,),
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                dynamic_shapes=({0: batch},),
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # a user's network may fail to be exported in any way
        raise MedaegisError(
            "The network cannot be exported to ONNX, as one whose steps depend on the values of its input cannot: "
            f"{type(error).__name__}: {error}"
        ) from error
    finally:
        talkative.setLevel(level)
    whole = program.model_proto
    entry = whole.metadata_props.add()
    entry.key, entry.value = "medaegis", json.dumps(about)
    return whole.SerializeToString()


def compared(graph: GuardGraph, probes: Images, runtime: Any, path: Path) -> OnnxCheck:
    """Compare a graph's file with PyTorch, on all probes together and on the first alone.

    Raises:
        NumericsError: a number differs by more than the tolerance, or a decision that is not close differs.
    """
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst, close = 0.0, 0
    for x in (probes, probes[:1]):
        with frozen(graph), torch.no_grad():
            expected = dict(zip(OUTPUTS, graph(x.clone()), strict=True))
        found = dict(zip(OUTPUTS, map(torch.from_numpy, session.run(list(OUTPUTS), {INPUT: x.numpy()})), strict=True))
        for name in ("probability", "score", "threshold", "logits", "shields"):
            size = 1 + expected[name].abs().max().item()
            worst = max(worst, (found[name] - expected[name]).abs().max().item() / size)
        near = close_calls(expected["logits"], expected["shields"], graph.get_buffer("thresholds"))
        same = (found["prediction"] == expected["prediction"]) & (found["accepted"] == expected["accepted"])
        close = max(close, int(near.sum()))
        if not worst <= TOLERANCE or not bool((same | near).all()):
            raise NumericsError(
                f"onnxruntime differs from PyTorch by {worst:.3g} of 1 + the largest value, and {TOLERANCE:g} is "
                "allowed, or decides otherwise. The file was not written. Try another version of onnxruntime or torch; "
                "use Aegis.save and PyTorch meanwhile."
            )
    return OnnxCheck(path, worst, TOLERANCE, len(probes), close)
