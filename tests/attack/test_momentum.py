"""MIM's step rule against its paper's formula, and where dividing by a zero gradient would freeze a case."""

from __future__ import annotations

import pytest
import torch

from medaegis import InputError
from medaegis.attack import Iterate, Momentum, SignStep, mim


def moved(step: Momentum, gradient: torch.Tensor, state: object) -> tuple[torch.Tensor, torch.Tensor]:
    """The move from the origin and the next velocity."""
    here = torch.zeros_like(gradient)
    point, state = step.update(Iterate(here, gradient, torch.zeros(len(here)), 0, 9, lambda point: point), state)
    return point, state


@pytest.mark.parametrize(("norm", "order"), [("l1", 1), ("l2", 2)])
@pytest.mark.parametrize("decay", [1.0, 0.5, 0.0])
def test_momentum_is_the_papers_running_sum(norm: str, order: int, decay: float) -> None:
    generator = torch.Generator().manual_seed(0)
    step = Momentum(SignStep(0.1), decay, norm)  # pyright: ignore[reportArgumentType]
    state, expected = step.init(torch.zeros(3, 2, 4, 4)), torch.zeros(3, 2, 4, 4)
    for _ in range(4):
        gradient = torch.randn(3, 2, 4, 4, generator=generator)
        size = gradient.flatten(1).norm(p=order, dim=1).reshape(3, 1, 1, 1)
        expected = decay * expected + gradient / size
        move, state = moved(step, gradient, state)
        torch.testing.assert_close(state[0], expected)
        torch.testing.assert_close(move, -0.1 * expected.sign())


def test_a_zero_gradient_keeps_the_momentum_and_is_never_nan() -> None:
    step = Momentum(SignStep(0.1))
    gradient = torch.tensor([[[[1.0, -2.0]]], [[[3.0, 1.0]]]])
    move, state = moved(step, gradient, step.init(torch.zeros_like(gradient)))
    gradient = torch.stack([torch.zeros_like(gradient[0]), gradient[1]])
    again, state = moved(step, gradient, state)
    assert torch.isfinite(state[0]).all()
    assert torch.equal(again[0], move[0])


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_size_of_gradients_does_not_matter(scale: float) -> None:
    step, gradient = Momentum(SignStep(0.1), norm="l2"), torch.tensor([[[[3.0, -4.0]]]])
    _, state = moved(step, gradient * scale, step.init(gradient))
    torch.testing.assert_close(state[0], torch.tensor([[[[0.6, -0.8]]]]))


@pytest.mark.parametrize("change", [{"decay": -1.0}, {"norm": "l3"}, {"steps": 0}, {"eps": 8}])
def test_bad_arguments_are_named(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        mim(**({"eps": 1 / 256, "steps": 4} | change))  # pyright: ignore[reportArgumentType]
