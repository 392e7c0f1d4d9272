"""Total variation minimisation: an answer by hand, the library's result, and a surrogate that follows it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.restoration import denoise_tv_chambolle

from medaegis import InputError
from medaegis.defend import TotalVariation
from medaegis.defend._total_variation import _divergence, _gradient


def noisy(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    shapes = torch.zeros(shape, dtype=torch.float64)
    shapes[..., : shape[-1] // 2] = 0.6
    return (shapes + 0.1 + 0.1 * torch.rand(shape, generator=generator, dtype=torch.float64)).clamp(0, 1)


def variation(x: torch.Tensor) -> torch.Tensor:
    down, right = _gradient(x)
    return (down.square() + right.square()).sqrt().flatten(1).sum(dim=1)


@pytest.mark.parametrize("method", ["apply", "surrogate"])
def test_the_two_sides_of_an_edge_approach_by_weight_over_width(method) -> None:
    x = torch.full((1, 1, 6, 5), 0.25, dtype=torch.float64)
    x[..., 2:] = 0.75
    made = getattr(TotalVariation(weight=0.06), method)(x)
    wanted = torch.tensor([0.25 + 0.06 / 2] * 2 + [0.75 - 0.06 / 3] * 3, dtype=torch.float64)
    torch.testing.assert_close(made, wanted.expand_as(made), atol=2e-3, rtol=0)


def test_it_is_scikit_images_result_channel_by_channel() -> None:
    x = noisy(2, 3, 20, 31).float()
    made = TotalVariation(weight=0.05).apply(x)
    whole = denoise_tv_chambolle(x[1].double().numpy(), weight=0.05, channel_axis=0)
    assert np.array_equal(made[1].numpy(), whole.astype(np.float32))


def test_more_weight_leaves_less_variation_and_the_same_mean() -> None:
    x = noisy(1, 1, 24, 24)
    made = [TotalVariation(weight).apply(x) for weight in (0.01, 0.05, 0.2)]
    sizes = [variation(image).item() for image in (x, *made)]
    assert sizes == sorted(sizes, reverse=True)
    for image in made:
        torch.testing.assert_close(image.mean(), x.mean())


def test_a_flat_image_stays() -> None:
    flat = torch.full((1, 3, 9, 9), 0.3)
    assert torch.equal(TotalVariation().apply(flat), flat)


@pytest.mark.parametrize("weight", [0, -1.0, float("nan"), float("inf"), True, "1"])
def test_weights_that_are_none(weight) -> None:
    with pytest.raises(InputError, match="`weight` of TotalVariation must be a number above 0"):
        TotalVariation(weight)


@pytest.mark.parametrize("weight", [0.01, 0.03, 0.1])
def test_the_surrogate_is_near(weight) -> None:
    x = noisy(2, 3, 20, 31)
    exact, soft = (step(x) for step in (TotalVariation(weight).apply, TotalVariation(weight).surrogate))
    assert (soft - exact).square().mean() < 0.05 * (x - exact).square().mean()


def test_divergence_is_the_negative_transpose_of_the_gradient() -> None:
    u, down, right = (noisy(1, 1, 7, 9) for _ in range(3))
    down[:, :, -1] = 0
    right[..., -1] = 0
    g_down, g_right = _gradient(u)
    torch.testing.assert_close((g_down * down + g_right * right).sum(), -(u * _divergence(down, right)).sum())
