"""The JPEG codec as a differentiable function: everything but the rounding as libjpeg does it, in real numbers."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, conv_transpose2d, interpolate, pad

# The tables K.1 and K.2 of ITU-T T.81, row by row; libjpeg scales them by its quality.
_LUMA = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99),
    *(99,) * 32,
)
_FACTORS = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:2:0": (2, 2)}
FLOOR = 0.1
"""Smallest slope of the smooth rounding."""


def quality_tables(quality: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Quantisation tables of luma and chroma at a quality from 1 to 100, 64 steps each, row by row.

    Example:
        >>> quality_tables(50)[0][:4], quality_tables(80)[0][:4], quality_tables(100)[1][:4]
        ((16, 11, 10, 16), (6, 4, 4, 6), (1, 1, 1, 1))
    """
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    luma, chroma = (tuple(min(max((v * scale + 50) // 100, 1), 255) for v in table) for table in (_LUMA, _CHROMA))
    return luma, chroma


def soft_round(t: Tensor) -> Tensor:
    """Smooth rounding: r + 4 (1 - a) d^3 + a d, where r is the nearest whole number and d = t - r.

    Right at whole and half numbers; its slope goes from a at whole numbers to 3 - 2 a half-way between them, where a
    small step counts, without a jump. The usual r + d^3 has a slope of zero at whole numbers, which takes the gradient
    from the texture of every flat block, and jumps half-way.

    Example:
        >>> soft_round(torch.tensor([0.0, 0.25, 0.5, 2.0], dtype=torch.float64)).tolist()
        [0.0, 0.08125, 0.5, 2.0]
    """
    whole = t.detach().round()
    rest = t - whole
    return whole + 4 * (1 - FLOOR) * rest**3 + FLOOR * rest


def soft_jpeg(x: Tensor, quality: int, subsampling: str | None) -> Tensor:
    """Images in [0, 1] after the smooth codec; not clamped, and not rounded to bytes.

    Args:
        x: (m, 1, h, w), or (m, 3, h, w) where `subsampling` is given.
        quality: from 1 to 100.
        subsampling: "4:4:4", "4:2:2" or "4:2:0" for colour, None for gray.

    Example:
        >>> x = torch.full((1, 1, 8, 8), 0.5)
        >>> bool((soft_jpeg(x, 100, None) - x).abs().max() < 1 / 255)
        True
    """
    luma, chroma = quality_tables(quality)
    if subsampling is None:
        return (_code(x * 255 - 128, luma) + 128) / 255
    r, g, b = (x * 255).split(1, dim=1)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    cb, cr = (_code_chroma(part, chroma, _FACTORS[subsampling]) for part in ((b - y) / 1.772, (r - y) / 1.402))
    y = _code(y - 128, luma) + 128
    red, blue = y + 1.402 * cr, y + 1.772 * cb
    green = (y - 0.299 * red - 0.114 * blue) / 0.587
    return torch.cat([red, green, blue], dim=1) / 255


def _code_chroma(plane: Tensor, table: tuple[int, ...], factors: tuple[int, int]) -> Tensor:
    """Averages of `factors` pixels are coded; the triangle filter of libjpeg's decoder brings them back."""
    if factors == (1, 1):
        return _code(plane, table)
    height, width = plane.shape[2:]
    small = _code(avg_pool2d(_filled(plane, factors), factors), table)
    scale = tuple(map(float, factors))
    large = interpolate(small, scale_factor=scale, mode="bilinear", align_corners=False)
    return large[:, :, :height, :width]


def _filled(plane: Tensor, multiples: tuple[int, int]) -> Tensor:
    """Last rows and columns repeated up to a multiple of `multiples`."""
    below, right = (-size % multiple for size, multiple in zip(plane.shape[2:], multiples, strict=True))
    return pad(plane, (0, right, 0, below), mode="replicate")


def _code(plane: Tensor, table: tuple[int, ...]) -> Tensor:
    """Cosine transform of 8 x 8 blocks (m, 1, h, w), smooth quantisation, and back."""
    height, width = plane.shape[2:]
    basis = _cosines(plane)
    steps = plane.new_tensor(table).reshape(1, 64, 1, 1)
    coefficients = conv2d(_filled(plane, (8, 8)), basis, stride=8)
    return conv_transpose2d(soft_round(coefficients / steps) * steps, basis, stride=8)[:, :, :height, :width]


def _cosines(like: Tensor) -> Tensor:
    """The 64 orthonormal patterns (64, 1, 8, 8) of the 8 x 8 cosine transform."""
    k = torch.arange(8, dtype=torch.float64)
    waves = torch.cos(math.pi / 8 * k[:, None] * (k + 0.5)) / 2
    waves[0] /= math.sqrt(2)
    return torch.einsum("ui,vj->uvij", waves, waves).reshape(64, 1, 8, 8).to(like)
