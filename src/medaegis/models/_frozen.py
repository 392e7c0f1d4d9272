"""Borrowing a user's network: evaluation mode, frozen parameters and IEEE float32 inside, all as it was afterwards."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def frozen(model: nn.Module) -> Generator[nn.Module]:
    """Put `model` into evaluation mode with frozen parameters, and restore every module and buffer on leaving.

    A plain `.eval()` followed by `.train()` would un-freeze a BatchNorm that the user keeps in evaluation mode inside
    a training network; here each module's own flag comes back, also after an exception. Buffers that the forward
    pass changes come back too. TF32 is off inside: it would lose steps of 0.02/256 (SPEC section 11).

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
    buffers = [(m, name, b, b.detach().clone()) for m, _ in modes for name, b in m.named_buffers(recurse=False)]
    try:
        for module, _ in modes:
            module.training = False
        for parameter, _ in wants_gradient:
            parameter.requires_grad_(False)
        with ieee_float32():
            yield model
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, wanted in wants_gradient:
            parameter.requires_grad_(wanted)
        with torch.no_grad():
            for module, name, buffer, value in buffers:
                if not torch.equal(buffer, value):
                    buffer.copy_(value)
                setattr(module, name, buffer)


@contextmanager
def ieee_float32() -> Generator[None]:
    """Compute matrix products and convolutions on CUDA in float32 as IEEE defines it, not in TF32.

    Example:
        >>> with ieee_float32():
        ...     torch.backends.cudnn.conv.fp32_precision
        'ieee'
    """
    cudnn: Any = torch.backends.cudnn  # torch's annotations lack these attributes
    operators: tuple[Any, ...] = (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)
    before = [operator.fp32_precision for operator in operators]
    try:
        for operator in operators:
            operator.fp32_precision = "ieee"
        yield
    finally:
        for operator, precision in zip(operators, before, strict=True):
            operator.fp32_precision = precision


@contextmanager
def repeatable() -> Generator[None]:
    """On a GPU, convolutions that give the same sums at each call; afterwards the user's choice again.

    Example:
        >>> with repeatable():
        ...     torch.backends.cudnn.deterministic
        True
    """
    cudnn: Any = torch.backends.cudnn  # torch's annotations lack this attribute
    was = cudnn.deterministic
    try:
        cudnn.deterministic = True
        yield
    finally:
        cudnn.deterministic = was


@contextmanager
def seeded(seed: int, device: torch.device) -> Generator[None]:
    """Code that can only draw from torch's global generators (initialisation, dropout) draws from `seed` inside.

    The global generators of the CPU and of `device` are as before afterwards; those of other devices are not touched.

    Example:
        >>> before = torch.get_rng_state()
        >>> with seeded(0, torch.device("cpu")):
        ...     _ = torch.rand(3)
        >>> torch.equal(before, torch.get_rng_state())
        True
    """
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        for used in cuda:
            with torch.cuda.device(used):
                torch.cuda.manual_seed(seed)
        yield
