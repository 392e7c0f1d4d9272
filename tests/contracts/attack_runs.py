"""What the laws of attacks have in common: one run of an attack of the list, how far it moved, what must be equal."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn

from contracts.attack_list import ATTACKS, L2_BALL, SETTING_IDS, SETTINGS, World, world
from medaegis.attack import AttackResult, l2_size, run_attack

all_attacks = pytest.mark.parametrize("name", list(ATTACKS))
all_settings = pytest.mark.parametrize("setting", SETTINGS, ids=SETTING_IDS)
some_settings = pytest.mark.parametrize(
    "setting", [("gray", 2, False), ("rgb", 5, True), ("volume", 2, True)], ids=["gray", "rgb", "volume"]
)


def attacked(name: str, w: World, eps: float = 0.03, *, net: nn.Module | None = None, **options) -> AttackResult:
    options = {"target": w.target, "generator": torch.Generator().manual_seed(1)} | options
    x, y = options.pop("x", w.x), options.pop("y", w.y)
    return run_attack(ATTACKS[name](eps, w), net or w.net, x, y, **options)


@cache
def plain(name: str, setting: tuple[str, int, bool]) -> AttackResult:
    """What the laws compare with: the attack as it is, run once."""
    return attacked(name, world(*setting))


def sizes(name: str, made: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """How far each case moved, as the attack's budget is measured."""
    return l2_size(made - x) if name in L2_BALL else (made - x).abs().flatten(1).amax(dim=1)


def assert_same_cases(a: AttackResult, b: AttackResult, rows: object = slice(None)) -> None:
    for field in ("x", "logits", "objective"):
        torch.testing.assert_close(getattr(a, field), getattr(b, field)[rows], rtol=0, atol=1e-9)
    assert torch.equal(a.fooled, b.fooled[rows])
    assert torch.equal(a.zero_gradient, b.zero_gradient[rows])


class Boom(Exception):  # noqa: N818  # it is not an error of anybody's
    pass
