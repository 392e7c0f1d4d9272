"""A user's network whose code changes is another one, though its name and every number in it stay."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from medaegis.experiment import AttackSettings, attack_plan
from medaegis.experiment._network_settings import NetworkSettings, classifier_stage
from medaegis.models import answers_to_noise, load_factory, network_hash, says_the_same

CODE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, mean):
        super().__init__()
        self.mean = mean  # no parameter and no buffer
        self.slope = nn.Parameter(torch.tensor(10.0))

    def forward(self, x):
        bright = self.slope * (x.flatten(1).mean(dim=1) - self.mean)
        return torch.stack([-bright, bright], dim=1)

def before():
    return Net(0.5)

def after():
    return Net(0.4)
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_nets.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("nets")
def test_results_are_not_those_of_the_code_before(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = load_factory("own_nets:before"), load_factory("own_nets:after")
    assert network_hash(before) == network_hash(after)
    attack = AttackSettings(data="phantom-chest", model="own_nets:before", attack="pgd", eps="1/256", size=32)
    trained = NetworkSettings(source="phantom-chest", model="own_nets:before", weights=None, size=32)

    def keys() -> set[str]:
        return {attack_plan(attack).clean.key, classifier_stage(trained).key}

    first = keys()
    assert keys() == first  # the same code, the same stages
    monkeypatch.setattr("own_nets.before", lambda: after)
    assert not keys() & first


def test_asking_leaves_a_network_as_it_is_and_draws_the_same() -> None:
    class Draws(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.rand_like(x)

    network = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(), Draws(), nn.Flatten()).train()
    before = network_hash(network)
    told = answers_to_noise(network, (1, 4, 4))
    assert len(told) == 32
    assert answers_to_noise(network, (1, 4, 4)) == told
    assert says_the_same(network, (1, 4, 4), told)
    assert (network_hash(network), network.training) == (before, True)
