"""Storage at 8, 12 and 16 bits: levels by hand, judged again, and the network left as it was."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from medaegis import InputError
from medaegis.attack import AttackResult, bim, requantise, run_attack


class Threshold(nn.Module):
    """Class 1 where the first pixel is above `cut`."""

    def __init__(self, cut: float) -> None:
        super().__init__()
        self.cut = nn.Parameter(torch.tensor(cut))

    def forward(self, x: Tensor) -> Tensor:
        value = x.flatten(1)[:, 0] - self.cut
        return torch.stack([-value, value], dim=1)


def made(x: Tensor) -> AttackResult:
    """A result that claims nothing about its images but their pixels."""
    n = len(x)
    counts = torch.arange(n)
    logits = torch.zeros(n, 2)
    return AttackResult(x, torch.zeros(n).bool(), counts * 0, logits, torch.ones(n), counts, counts, counts + 5)


def image(*values: float) -> Tensor:
    return torch.tensor(values).reshape(-1, 1, 1, 1)


def test_values_go_to_the_nearest_level_and_half_way_ones_to_the_even_level() -> None:
    x = image(0.0, 0.4 / 255, 0.6 / 255, 100.49 / 255, 100.51 / 255, 127.5 / 255, 1.0)
    stored = requantise(made(x), Threshold(0.5), torch.zeros(7, dtype=torch.int64), bits=8)
    torch.testing.assert_close(stored.x.flatten() * 255, torch.tensor([0.0, 0, 1, 100, 101, 128, 255]))
    assert 0.5 * 255 == 127.5  # half-way between 127 and 128, which is even
    truncated = (x * 255).to(torch.uint8).flatten().float()
    assert not torch.equal(stored.x.flatten() * 255, truncated)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_every_level_stays_and_a_second_time_changes_nothing(bits: int) -> None:
    levels = 2**bits - 1
    x = (torch.arange(levels + 1).double() / levels).float().reshape(1, 1, 1, -1)
    y = torch.zeros(1, dtype=torch.int64)
    once = requantise(made(x), Threshold(0.5), y, bits=bits)  # pyright: ignore[reportArgumentType]
    assert torch.equal(once.x, x)
    noisy = (x + 0.3 / levels * torch.sign(torch.rand_like(x) - 0.5)).clamp(0, 1)
    back = requantise(made(noisy), Threshold(0.5), y, bits=bits)  # pyright: ignore[reportArgumentType]
    assert torch.equal(back.x, x)


def test_a_perturbation_of_half_a_grey_level_is_lost_at_8_bits_and_survives_12_and_16() -> None:
    clean = image(100 / 255)
    net, y = Threshold((100 + 0.25) / 255), torch.tensor([0])
    result = made(clean + 0.4 / 255)
    assert [bool(requantise(result, net, y, bits=b).fooled) for b in (8, 12, 16)] == [False, True, True]


def test_a_perturbation_of_1_256_survives_16_bits() -> None:
    clean = image(*(torch.arange(255) / 255).tolist())
    stored = requantise(made(clean + 1 / 256), Threshold(0.5), torch.zeros(255, dtype=torch.int64), bits=16)
    torch.testing.assert_close(stored.x - clean, torch.full_like(clean, 1 / 256), atol=0.51 / 65535, rtol=0)


def test_the_result_may_leave_the_ball() -> None:
    clean = image(100 / 255)
    net = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    result = run_attack(bim(eps=0.6 / 255, steps=5), net, clean, torch.tensor([0]))
    assert (result.x - clean).abs().max() <= 0.6 / 255
    stored = requantise(result, net, torch.tensor([0]), bits=8)
    assert (stored.x - clean).abs().max() > 0.9 / 255


def test_fooled_is_judged_again_and_the_objective_is_missing() -> None:
    x = image(0.1, 0.9)
    stored = requantise(made(x), Threshold(0.5), torch.tensor([0, 0]), bits=8)
    assert stored.fooled.tolist() == [False, True]
    assert stored.prediction.tolist() == [0, 1]
    wanted = requantise(made(x), Threshold(0.5), torch.tensor([1, 1]), bits=8, target=torch.tensor([0, 0]))
    assert wanted.fooled.tolist() == [True, False]
    assert stored.objective.isnan().all()
    assert stored.steps.tolist() == [5, 6]


def test_the_batch_size_changes_nothing_and_the_network_is_left_as_it_was() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(36, 2)).train()
    net[1].eval()
    x, y = torch.rand(7, 1, 5, 5), torch.arange(7) % 2
    before = {name: value.clone() for name, value in net.state_dict().items()}
    kept, state = x.clone(), torch.get_rng_state()
    one, many = (requantise(made(x), net, y, bits=8, batch_size=b) for b in (1, 7))
    torch.testing.assert_close(one.logits, many.logits)
    assert torch.equal(x, kept)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [module.training for module in net] == [True, False, True, True, True]
    assert all(parameter.requires_grad for parameter in net.parameters())


@pytest.mark.parametrize("bits", [10, 8.0, True, "8"])
def test_other_depths_are_refused(bits: object) -> None:
    with pytest.raises(InputError, match=r"`bits` of requantise must be one of \(8, 12, 16\)"):
        requantise(made(image(0.5)), Threshold(0.5), torch.tensor([0]), bits=bits)  # pyright: ignore[reportArgumentType]


def test_labels_must_fit() -> None:
    with pytest.raises(InputError, match=r"`y` of requantise must be integers of shape \(1,\)"):
        requantise(made(image(0.5)), Threshold(0.5), torch.tensor([0, 1]), bits=8)
