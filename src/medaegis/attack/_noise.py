"""Noise controls: what a detector must not mistake for an attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from medaegis._errors import require
from medaegis._types import Images
from medaegis.attack._constraints import Linf, Region
from medaegis.attack._random import CaseRandom

Kind = Literal["uniform", "gaussian", "sign"]


@dataclass(frozen=True)
class NoiseBall:
    """The Linf ball whose random start has a chosen distribution; see `noise`.

    Args:
        eps: Linf budget in pixel units.
        kind: distribution of the start.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> start = NoiseBall(0.1, "sign").around(torch.full((1, 1, 2, 2), 0.5)).start(CaseRandom.from_seeds([0]))
        >>> bool(((start - 0.5).abs() > 0.0999).all())
        True
    """

    eps: float
    kind: Kind = "uniform"

    def __post_init__(self) -> None:
        Linf(self.eps)
        require(self.kind in ("uniform", "gaussian", "sign"), "kind", "noise", "uniform, gaussian or sign", self.kind)

    def around(self, x0: Images) -> Region:
        """The box around `x0` with this start."""
        return _NoiseRegion(Linf(self.eps).around(x0), x0, self)


@dataclass(frozen=True)
class _NoiseRegion:
    box: Region
    x0: Tensor
    ball: NoiseBall

    def start(self, random: CaseRandom) -> Tensor:
        if self.ball.kind == "uniform":
            return self.box.start(random)
        drawn = random.normal(self.x0.shape[1:], self.x0)
        shaped = drawn.sign() if self.ball.kind == "sign" else drawn / 2
        return self.box.project(self.x0 + shaped * self.ball.eps)

    def project(self, x: Tensor) -> Tensor:
        return self.box.project(x)

    def shrink(self, perturbation: Tensor) -> Tensor:
        return self.box.shrink(perturbation)

    def bounds(self) -> tuple[Tensor, Tensor]:
        return self.box.bounds()


def matched_noise(clean: Images, adversarial: Images, *, generator: torch.Generator) -> Images:
    """Noise that has, for every case and in every norm, the size of that case's adversarial perturbation.

    Each pixel keeps the magnitude of its perturbation and gets a random sign, so nothing but the direction differs;
    pixels that would leave [0, 1] are cut. Source: the "noisy" class of LID's and MAHA's papers, whose norm must
    match the attack's (the code released with HFC-21 adds no noise at all).

    Args:
        clean: (n, c, *space).
        adversarial: (n, c, *space).
        generator: source of the signs.

    Returns:
        Noisy images (n, c, *space) in [0, 1].

    Raises:
        InputError: `adversarial` has another shape than `clean`.

    Example:
        >>> clean = torch.full((1, 1, 2, 2), 0.5)
        >>> noisy = matched_noise(clean, clean + 0.25, generator=torch.Generator().manual_seed(0))
        >>> (noisy - clean).abs().unique()
        tensor([0.2500])
    """
    shape, got = tuple(clean.shape), tuple(adversarial.shape)
    require(shape == got, "adversarial", "matched_noise", f"of the shape of `clean`, {shape}", got)
    coin = torch.rand(clean.shape, generator=generator, dtype=clean.dtype).to(clean.device) < 0.5
    return (clean + (adversarial - clean) * torch.where(coin, 1.0, -1.0)).clamp(0, 1)
