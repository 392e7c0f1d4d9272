"""Detectors that cannot learn from an attack say which attack, how many cases it fools and what to do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from medaegis import InputError
from medaegis.detect import Examples
from medaegis.experiment._stages_detect import DetectorChoice, Learned


class FewFooled(Learned):
    """Learned from an attack that fools three of twenty cases."""

    def _examples(self, model: nn.Module, context: Any) -> Examples:
        features = [{"a": torch.randn(n, 5, generator=torch.Generator().manual_seed(n))} for n in (40, 3)]
        ones = [torch.ones(n, dtype=torch.long) for n in (40, 3)]
        return Examples(*features, *ones, [str(i) for i in range(40)], ["0", "1", "2"])


def test_too_few_fooled_cases_are_counted_and_the_fix_is_told() -> None:
    layers = {"a": torch.randn(30, 5, generator=torch.Generator().manual_seed(0))}
    classifier = SimpleNamespace(load=lambda context: nn.Linear(5, 2))
    learned = FewFooled(
        features=SimpleNamespace(features=lambda context: (layers, torch.arange(30) % 2)),
        attacked=SimpleNamespace(title="MIM 1/256", cases=SimpleNamespace(classifier=classifier)),
        detectors=(DetectorChoice("DNN"),),
    )
    with pytest.raises(InputError, match=r"DNN cannot learn from MIM 1/256, which fools 3 cases: .*--set eps"):
        learned.compute(None)
