"""A private copy of a network for many forward and backward passes to the input: frozen, BatchNorm folded, channels last.

Each change is exact up to the rounding of float32, and is verified: the copy's logits on a probe batch must equal the
untouched model's, or the change is taken back. See docs/decisions/004-accelerated-copy.md.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from medaegis._types import Images
from medaegis.models._frozen import frozen

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


class Accelerated(NamedTuple):
    """A frozen copy of a network and what was done to it.

    Attributes:
        model: the copy, in evaluation mode; its parameters want no gradient.
        folded: names of the BatchNorm modules that were folded into the convolution before them.
        memory_format: the memory format that images should have before they enter.
        difference: largest |difference| of the logits from the untouched model's on the probe, over 1 + max |logit|.
    """

    model: nn.Module
    folded: tuple[str, ...]
    memory_format: torch.memory_format
    difference: float


def accelerate(model: nn.Module, probe: Images, *, tolerance: float = 1e-4) -> Accelerated:
    """Copy a network and make the copy fast where that changes nothing.

    Args:
        model: any module that maps images to logits; left exactly as it is.
        probe: a few images (b, c, *space) of the kind that will follow; used for finding and verifying.
        tolerance: largest accepted difference of logits, relative to 1 + max |logit|.

    Returns:
        The copy; with nothing folded and the plain memory format where verification fails.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> accelerate(net, torch.rand(2, 3, 8, 8)).folded
        ('1',)
    """
    with frozen(model), torch.no_grad():
        expected = model(probe)
        duplicate = copy.deepcopy(model)
    with torch.no_grad():
        for fold in (True, False):
            candidate = _prepare(duplicate if not fold else copy.deepcopy(duplicate), probe, fold=fold)
            difference = _difference(candidate, probe, expected)
            if difference <= tolerance:
                return candidate._replace(difference=difference)
    return Accelerated(duplicate, (), torch.contiguous_format, 0.0)


def _prepare(duplicate: nn.Module, probe: Tensor, *, fold: bool) -> Accelerated:
    folded = _fold(duplicate, probe) if fold else ()
    layout = _FORMATS.get(probe.dim(), torch.contiguous_format)
    if not any(isinstance(module, _CONVOLUTIONS) for module in duplicate.modules()):
        layout = torch.contiguous_format
    if layout is not torch.contiguous_format:
        duplicate.to(memory_format=layout)  # pyright: ignore[reportCallIssue]  # torch's stub lacks this overload
    return Accelerated(duplicate, folded, layout, 0.0)


def _difference(candidate: Accelerated, probe: Tensor, expected: Tensor) -> float:
    got = candidate.model(probe.contiguous(memory_format=candidate.memory_format))
    difference = ((got - expected).abs().max() / (1 + expected.abs().max())).item()
    return difference if difference == difference else float("inf")


def _fold(model: nn.Module, probe: Tensor) -> tuple[str, ...]:
    """Fold every BatchNorm whose only call takes the very tensor that a convolution's only call returned."""
    pairs = _convolutions_before_norms(model, probe)
    for conv_name, norm_name in pairs.items():
        conv, norm = model.get_submodule(conv_name), model.get_submodule(norm_name)
        fused = fuse_conv_bn_eval(conv, norm)  # pyright: ignore[reportArgumentType]  # types are checked in the probe
        model.set_submodule(conv_name, fused)
        model.set_submodule(norm_name, nn.Identity())
    return tuple(pairs.values())


def _convolutions_before_norms(model: nn.Module, probe: Tensor) -> dict[str, str]:
    calls: Counter[str] = Counter()
    made_by: dict[int, tuple[str, Tensor]] = {}
    pairs: dict[str, str] = {}

    def record(name: str, module: nn.Module, given: Tensor, output: Tensor) -> None:
        calls[name] += 1
        if isinstance(module, _CONVOLUTIONS):
            made_by[id(output)] = (name, output)  # the tensor is kept alive so that its id stays its own
        elif id(given) in made_by:
            pairs[made_by[id(given)][0]] = name

    with _watch(model, record):
        model(probe)
    return {conv: norm for conv, norm in pairs.items() if calls[conv] == calls[norm] == 1}


@contextmanager
def _watch(model: nn.Module, record: Any) -> Iterator[None]:
    handles: list[Any] = []
    try:
        for name, module in model.named_modules():
            if _foldable(module):

                def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, name: str = name) -> None:
                    record(name, module, inputs[0], output)

                handles.append(module.register_forward_hook(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _foldable(module: nn.Module) -> bool:
    if module._forward_hooks or module._forward_pre_hooks or hasattr(module, "parametrizations"):
        return False
    norm = isinstance(module, _BATCH_NORMS) and module.running_mean is not None
    return norm or isinstance(module, _CONVOLUTIONS)
