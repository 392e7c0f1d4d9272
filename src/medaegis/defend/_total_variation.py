"""Total variation minimisation by Chambolle's projections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medaegis._errors import is_number, require
from medaegis._types import Images
from medaegis.defend._cushion import Cushion, from_slices, to_slices
from medaegis.defend._threaded import map_threads

ITERATIONS = 20
"""Of the surrogate; scikit-image stops when its energy does, after at most 200."""
STEP = 0.25
SMALLEST_NORM = 1e-6


@dataclass(frozen=True)
class TotalVariation(Cushion):
    """Images u with a small total variation near x: the minimum of |u - x|^2 / 2 + weight TV(u).

    Each channel of each image (of a volume, each slice) is smoothed by itself by scikit-image's
    `denoise_tv_chambolle`, in float64 with its own rule of stopping, so that no image depends on another one. Nothing
    is drawn at random: Guo et al., whom Medical Aegis cites, also drop half of the pixels first; it does not say that
    it does.

    The surrogate differentiates through the first 20 of Chambolle's iterations.

    Args:
        weight: above 0; more is smoother. Pixels of an edge lower than a few weights vanish. Medical Aegis gives none.

    Raises:
        InputError: `weight` is no number above 0; at the call, images are not (n, c, h, w) or (n, c, depth, h, w).

    Source: Medical Aegis, Table 5 ("TVM"); Chambolle 2004; Guo et al. 2018.

    Example:
        >>> x = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> bool(TotalVariation(weight=0.1).apply(x).std() < x.std())
        True
    """

    weight: float = 0.03

    def __post_init__(self) -> None:
        good = is_number(self.weight) and self.weight > 0
        require(good, "weight", "TotalVariation", "a number above 0", self.weight)

    def exact(self, x: Images) -> Images:
        """What scikit-image gives for each channel of each slice."""
        slices = to_slices(x, "TotalVariation")
        planes = slices.flatten(0, 1).double().cpu().contiguous().numpy()
        smooth = torch.from_numpy(map_threads(self._smooth, planes)).clamp_(0, 1).to(x)
        return from_slices(smooth.reshape(slices.shape), x).contiguous()

    def surrogate(self, x: Images) -> Images:
        """The 20th of Chambolle's iterates, slice by slice."""
        return from_slices(_chambolle(to_slices(x, "TotalVariation"), self.weight), x)

    def _smooth(self, plane: NDArray[np.float64]) -> NDArray[np.float64]:
        from skimage.restoration import denoise_tv_chambolle

        return denoise_tv_chambolle(plane, weight=self.weight)


def _chambolle(x: Tensor, weight: float) -> Tensor:
    """The iterate u = x + div p, p being the dual variable (n, c, h, w) of each of the two directions."""
    down, right = torch.zeros_like(x), torch.zeros_like(x)
    for _ in range(ITERATIONS):
        g_down, g_right = _gradient(x + _divergence(down, right))
        norm = (g_down.square() + g_right.square() + SMALLEST_NORM**2).sqrt()  # smooth, as flat regions have 0 here
        shrink = 1 + STEP / weight * norm
        down, right = (down + STEP * g_down) / shrink, (right + STEP * g_right) / shrink
    return x + _divergence(down, right)


def _gradient(u: Tensor) -> tuple[Tensor, Tensor]:
    """Forward differences, 0 at the last row and column."""
    down = torch.nn.functional.pad(u[:, :, 1:] - u[:, :, :-1], (0, 0, 0, 1))
    right = torch.nn.functional.pad(u[..., 1:] - u[..., :-1], (0, 1))
    return down, right


def _divergence(down: Tensor, right: Tensor) -> Tensor:
    """The negative transpose of `_gradient`; the last row of `down` and column of `right` are 0."""
    above = torch.nn.functional.pad(down[:, :, :-1], (0, 0, 1, 0))
    left = torch.nn.functional.pad(right[..., :-1], (1, 0))
    return down - above + right - left
