"""Borrowing a user's network: evaluation mode and frozen parameters inside, everything as it was afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """Put `model` into evaluation mode with frozen parameters, and restore every flag of every module on leaving.

    A plain `.eval()` followed by `.train()` would un-freeze a BatchNorm that the user keeps in evaluation mode inside
    a training network; here each module's own flag comes back, also after an exception.

    Example:
        >>> net = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout()).train()
        >>> with frozen(net):
        ...     net.training
        False
        >>> net.training
        True
    """
    modes = [(module, module.training) for module in model.modules()]
    wants_gradient = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        for module, _ in modes:
            module.training = False
        for parameter, _ in wants_gradient:
            parameter.requires_grad_(False)
        yield model
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, wanted in wants_gradient:
            parameter.requires_grad_(wanted)
