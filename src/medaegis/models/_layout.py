"""Which convolutions of a channels-last network run in the plain memory format: the ones with few places to go."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from medaegis._types import Images

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_PLACES = 16
_WEIGHTS = 2**16


def plain_where_small(model: nn.Module, probe: Images) -> tuple[str, ...]:
    """On a CPU, give wide convolutions on small activations the plain memory format, in place, by a hook on each.

    A wide kernel is rearranged at every call, and channels-last format takes 1.3 to 2.8 times as long there (512
    channels on 2 x 2 places, one thread, AVX-512) while it is the faster one for large activations. The rule reads
    shapes and no clock, so that equal calls give equal results. See docs/decisions/004-accelerated-copy.md.

    Args:
        model: a private copy in channels-last format whose parameters want no gradient.
        probe: images (b, c, *space) of the size that will follow.

    Returns:
        Names of the convolutions that were changed.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 256, 8, stride=8), nn.Conv2d(256, 256, 3, padding=1))
        >>> plain_where_small(net.to(memory_format=torch.channels_last), torch.rand(1, 3, 32, 32))
        ('1',)
    """
    if probe.device.type != "cpu":
        return ()
    places = _places(model, probe)
    small = tuple(name for name, count in places.items() if count <= _PLACES and _wide(model.get_submodule(name)))
    for name in small:
        convolution = model.get_submodule(name)
        convolution.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]  # torch's stub lacks it
        convolution.register_forward_pre_hook(_plain)
    return small


def _wide(module: nn.Module) -> bool:
    sizes: Any = module  # torch declares these on each class alone
    return sizes.in_channels * sizes.out_channels // sizes.groups >= _WEIGHTS


def _plain(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value.contiguous() if isinstance(value, Tensor) else value for value in inputs)


def _places(model: nn.Module, probe: Images) -> dict[str, int]:
    """Number of places (h w) in the input of each of torch's own convolutions; the largest of several calls."""
    found: dict[str, int] = {}
    handles: list[Any] = []
    try:
        for name, module in model.named_modules():
            if type(module) in _CONVOLUTIONS:

                def look(_module: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
                    found[name] = max(found.get(name, 0), inputs[0].shape[2:].numel())

                handles.append(module.register_forward_pre_hook(look))
        with torch.no_grad():
            model(probe.clone())
    finally:
        for handle in handles:
            handle.remove()
    return found
