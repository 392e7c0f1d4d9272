"""A batch that does not fit into memory is halved, and nothing that was done is lost."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from contracts.attack_list import world
from medaegis.attack import pgd, run_attack


class Narrow(nn.Module):
    """Takes a number of cases at most."""

    def __init__(self, net: nn.Module, most: int, error: Exception) -> None:
        super().__init__()
        self.net, self.most, self.error = net, most, error

    def forward(self, x):
        if len(x) > self.most:
            raise self.error
        return self.net(x)


ERRORS = [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: not enough memory")]


@pytest.mark.parametrize("error", ERRORS, ids=["cuda", "cpu"])
def test_the_batch_is_halved_until_it_fits(error) -> None:
    w = world("gray", 2, True)
    attack, whole = pgd(eps=0.03, steps=3), run_attack(pgd(eps=0.03, steps=3), w.net, w.x, w.y, target=w.target)
    with pytest.warns(UserWarning, match=r"A batch of \d did not fit into memory; going on with \d") as warned:
        made = run_attack(attack, Narrow(w.net, 2, error), w.x, w.y, target=w.target, batch_size=7)
    assert [str(warning.message)[11] for warning in warned] == ["7", "3"]
    torch.testing.assert_close(made.x, whole.x, rtol=0, atol=1e-12)


def test_a_single_case_that_does_not_fit_and_other_errors_are_raised() -> None:
    w = world("gray", 2, True)
    with pytest.raises(RuntimeError, match="a bug"):
        run_attack(pgd(eps=0.03, steps=3), Narrow(w.net, 2, RuntimeError("a bug")), w.x, w.y)
    net = Narrow(w.net, 2, ERRORS[0])
    net.register_forward_pre_hook(lambda module, inputs: setattr(module, "most", 0) if len(inputs[0]) > 2 else None)
    with pytest.warns(UserWarning, match="did not fit"), pytest.raises(torch.OutOfMemoryError):
        run_attack(pgd(eps=0.03, steps=3), net, w.x, w.y)
