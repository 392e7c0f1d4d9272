"""1 x 1 convolutions of small batches on one thread: by oneDNN, which torch does not ask there."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

_SMALL_BATCH = 16


class _Pointwise(nn.Module):
    """A 1 x 1 convolution in channels-last format with the parameters of another."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias
        self.stride = list(convolution.stride)

    def forward(self, x: Tensor) -> Tensor:
        """What the other gives, up to rounding."""
        usual = len(x) >= _SMALL_BATCH or torch.get_num_threads() > 1 or x.dtype != torch.float32 or x.dim() != 4
        if usual or x.device.type != "cpu":
            return functional.conv2d(x, self.weight, self.bias, self.stride)
        return torch.mkldnn_convolution(x, self.weight, self.bias, [0, 0], self.stride, [1, 1], 1)


def pointwise_by_onednn(model: nn.Module) -> tuple[str, ...]:
    """Replace 1 x 1 convolutions, in place, where torch would use its own matrix product.

    On one thread and with fewer than 16 images, torch runs these as a matrix product that first fills its result with
    the bias, and its gradient with zeros; oneDNN does neither. On several threads, for
    larger batches and on other devices the convolution stays torch's own.

    Args:
        model: a private copy in channels-last format whose parameters want no gradient.

    Returns:
        Names of the convolutions that were replaced.

    Example:
        >>> pointwise_by_onednn(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3)))
        ('0',)
    """
    if not (torch.backends.mkldnn.is_available() and hasattr(torch, "mkldnn_convolution")):
        return ()
    found = {name: module for name, module in model.named_modules() if _fits(module)}
    for name, module in found.items():
        model.set_submodule(name, _Pointwise(cast("nn.Conv2d", module)).eval())
    return tuple(found)


def _fits(module: nn.Module) -> bool:
    hooked = any(getattr(module, name) for name in ("_forward_hooks", "_forward_pre_hooks"))
    if type(module) is not nn.Conv2d or hooked:
        return False
    shape = (module.kernel_size, module.padding, module.dilation, module.groups, module.padding_mode)
    return shape == ((1, 1), (0, 0), (1, 1), 1, "zeros")
