from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.spatial.distance import mahalanobis
from torch import Tensor

from medaegis._errors import NumericsError
from medaegis.density import TiedGaussians, fit_tied
from medaegis.density._covariance import RIDGE


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def two_classes(n: int = 40, d: int = 3) -> tuple[Tensor, Tensor]:
    z = normal(2 * n, d) @ normal(d, d, seed=1)
    labels = torch.arange(2 * n) // n
    return z + 8 * labels[:, None], labels


def test_closed_form():
    z, labels = two_classes()
    tied = fit_tied(z, labels, generator=seeded())
    rows, means = z.numpy(), np.stack([z.numpy()[labels.numpy() == c].mean(axis=0) for c in (0, 1)])
    centred = rows - means[labels.numpy()]
    s = centred.T @ centred / len(rows)
    diagonal = np.diag(s)
    s = (1 - tied.strength) * s + np.diag(tied.strength * diagonal + RIDGE * diagonal.mean())
    f = normal(10, 3, seed=2)
    expected = [[mahalanobis(row, mean, np.linalg.inv(s)) ** 2 for mean in means] for row in f.numpy()]
    np.testing.assert_allclose(tied.quadratics(f).numpy(), expected, rtol=1e-9)


def test_features_are_centred_by_class():
    # the classes differ along the first axis; without the centring that axis would look wide, and a case 3 spreads
    # off along it would rank below one that is 2 spreads off along the second
    z, labels = normal(400, 2), torch.arange(400) % 2
    z = z + torch.stack([20.0 * labels, 0.0 * labels], dim=1)
    first, second = torch.tensor([[-3.0, 0.0]]).double(), torch.tensor([[0.0, 2.0]]).double()
    tied = fit_tied(z, labels, generator=seeded())
    assert tied.quadratics(first).amin() > tied.quadratics(second).amin() + 2
    skipped = fit_tied(z - z.mean(dim=0), torch.zeros(400), generator=seeded()).whitener
    off = [((f - tied.means) @ skipped).square().sum(dim=1).amin() for f in (first, second)]
    assert off[0] < off[1]


def test_one_covariance_for_all_classes():
    z, labels = two_classes()
    tied = fit_tied(z, labels, generator=seeded())
    step = normal(1, 3, seed=3)
    from_each = [tied.quadratics(tied.means[c] + step)[0, c] for c in (0, 1)]
    torch.testing.assert_close(from_each[0], from_each[1])


def test_class_names_need_not_count_from_zero():
    z, labels = two_classes()
    plain = fit_tied(z, labels, generator=seeded())
    named = fit_tied(z, labels * 7 + 3, generator=seeded())
    assert torch.equal(plain.means, named.means)
    assert torch.equal(plain.whitener, named.whitener)


@pytest.mark.parametrize("d", [60, 200])
def test_held_out_quadratic_is_of_order_one(d: int):
    labels = torch.arange(100) % 2
    tied = fit_tied(normal(100, d) + labels[:, None], labels, generator=seeded())
    held = normal(100, d, seed=1) + labels[:, None]
    assert 0.5 < tied.quadratics(held).amin(dim=1).mean().item() / d < 2


def test_features_after_relu_with_dead_channels():
    z, labels = normal(50, 30).relu(), torch.arange(50) % 2
    z[:, 3], z[:, 4] = 0, 0.1
    quadratics = fit_tied(z, labels, generator=seeded()).quadratics(z)
    assert quadratics.isfinite().all()
    assert quadratics.mean() < 10 * 30


def test_constant_features_have_the_identity():
    z, labels = torch.full((99, 2), 0.1), torch.arange(99) % 3
    tied = fit_tied(z, labels, generator=seeded())
    torch.testing.assert_close(tied.quadratics(z.double() + 1), torch.full((99, 3), 2.0, dtype=torch.float64))


def test_overflow_names_the_cause():
    with pytest.raises(NumericsError, match="not positive definite"):
        fit_tied(normal(20, 2) * 1e200, torch.arange(20) % 2, generator=seeded())


def test_gradient_agrees_with_finite_differences():
    z, labels = two_classes()
    tied = fit_tied(z, labels, generator=seeded())
    assert torch.autograd.gradcheck(tied.quadratics, (normal(4, 3).requires_grad_(),))


def test_comes_back_from_a_file_and_moves(tmp_path: Path):
    z, labels = two_classes()
    tied = fit_tied(z, labels, generator=seeded())
    save_file(tied.tensors(), tmp_path / "tied.safetensors")
    again = TiedGaussians.from_tensors(load_file(tmp_path / "tied.safetensors"))
    assert again.strength == tied.strength
    assert torch.equal(again.quadratics(z), tied.quadratics(z))
    single = tied.to(z.float()).quadratics(z.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), tied.quadratics(z), rtol=1e-3, atol=1e-3)
