from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from medaegis._errors import InputError, NotFittedError
from medaegis.detect import BU, make_detector


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Net(nn.Module):
    """BatchNorm, whose statistics a pass in training mode would move, and a dropout of its own."""

    def __init__(self, d: int = 12, k: int = 3, *, bias: bool = True) -> None:
        super().__init__()
        self.first, self.norm, self.relu = nn.Conv2d(1, d, 3), nn.BatchNorm2d(d), nn.ReLU()
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(d, k, bias=bias)

    def features(self, x: Tensor) -> Tensor:
        return self.relu(self.norm(self.first(x))).mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(self.features(x)))


def network(*, bias: bool = True, d: int = 12) -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net(d, bias=bias).double()


def images(n: int = 9) -> Tensor:
    return torch.rand(n, 1, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def fitted(model: Net, **options: Any) -> BU:
    return BU(**options).prepare(model).fit(normal(4, 12), torch.zeros(4).long())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dropout", [0.3, 0.5])
def test_agrees_with_passes_through_the_real_head(bias: bool, dropout: float):
    model = network(bias=bias).eval()
    bu = fitted(model, dropout=dropout)
    assert bu.masks_ is not None
    with torch.no_grad():
        z = model.features(images())
        passes = torch.stack([model.head(z * mask / (1 - dropout)) for mask in bu.masks_])  # (N, n, k)
    assert len(passes) == 50
    squares, mean = passes.square().sum(dim=2).mean(dim=0), passes.mean(dim=0)  # eq. 21, term by term
    torch.testing.assert_close(bu.score(z), squares - mean.square().sum(dim=1), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(bu.score(z), passes.var(dim=0, correction=0).sum(dim=1), rtol=1e-10, atol=1e-14)


def test_a_share_of_the_features_is_dropped():
    masks = fitted(network(), passes=5000).masks_
    assert masks is not None
    assert masks.shape == (5000, 12)
    assert masks.double().mean() == pytest.approx(0.7, abs=0.01)


def test_many_passes_converge_to_the_exact_form():
    model, z = network(), normal(9, 12)
    exact = fitted(model, passes=None).score(z)
    p = 0.3
    by_hand = p / (1 - p) * (z.square()[:, :, None] * model.head.weight.detach().T.square()).sum(dim=(1, 2))
    torch.testing.assert_close(exact, by_hand, rtol=1e-12, atol=0)
    errors = [((fitted(model, passes=n).score(z) - exact) / exact).abs().mean() for n in (50, 2000, 100_000)]
    assert errors[2] < 0.01 < 0.03 < errors[0]
    assert errors[2] < errors[1] < errors[0]


def test_by_hand():
    head = nn.Linear(1, 2)
    head.weight.data = torch.tensor([[3.0], [4.0]])
    bu = BU().prepare(head).fit(normal(4, 1), torch.zeros(4).long())
    assert bu.masks_ is not None
    q = bu.masks_.double().mean()  # share of passes that keep the feature
    # l = (3, 4) z / 0.7 where kept, 0 else: variance 25 z^2 / 0.49 q (1 - q)
    assert bu.score(torch.tensor([[2.0]])).item() == pytest.approx(25 * 4 / 0.49 * float(q * (1 - q)))
    exact = BU(None).prepare(head).fit(normal(4, 1), torch.zeros(4).long())
    assert exact.score(torch.tensor([[2.0]])).item() == pytest.approx(0.3 / 0.7 * 100)


def test_the_bias_cancels_also_where_it_is_large():
    model, z = network(), normal(5, 12)
    plain = fitted(model).score(z)
    model.head.bias.data += 1e9
    assert torch.equal(fitted(model).score(z), plain)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_alone(training: bool):
    model = network().train(training)
    model.norm.eval()
    modes = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    ran: list[int] = []
    handle = model.head.register_forward_hook(lambda *_: ran.append(1))
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    bu = BU().fit_images(model, images(), torch.zeros(9).long())
    assert sum(ran) == 1  # one pass for all masks
    scores = bu.score_images(model, images())
    assert sum(ran) == 2
    assert [module.training for module in model.modules()] == modes
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()] == hooks
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    handle.remove()
    with torch.no_grad():
        z = model.eval().features(images())
    torch.testing.assert_close(scores, bu.score(z), rtol=1e-9, atol=1e-12)


def test_the_head_is_a_copy():
    model, z = network(), normal(5, 12)
    bu = fitted(model)
    before = bu.score(z)
    model.head.weight.data.zero_()
    assert torch.equal(bu.score(z), before)
    assert torch.equal(bu.prepare(model).score(z), torch.zeros(5, dtype=torch.float64))


def test_the_head_can_come_after_fit():
    model, z = network(), normal(5, 12)
    late = BU().fit(normal(4, 12), torch.zeros(4).long())
    for call in (lambda: late.score(z), late.state):
        with pytest.raises(NotFittedError, match=r"call prepare\(model\) first"):
            call()
    assert late.fitted_layers() == ("",)
    assert torch.equal(late.prepare(model).score(z), fitted(model).score(z))


@pytest.mark.parametrize("passes", [50, None])
def test_a_restored_detector_keeps_the_head(passes: int | None, tmp_path: Path):
    model, z = network(), normal(5, 12)
    bu = fitted(model, passes=passes, seed=3)
    bu.save(tmp_path / "bu")
    back = BU.load(tmp_path / "bu")
    assert torch.equal(back.score(z), bu.score(z))
    assert back.get_params() == bu.get_params()


def test_the_seed_draws_the_masks():
    model, z = network(), normal(5, 12)
    assert not torch.equal(fitted(model, seed=1).score(z), fitted(model).score(z))


def test_errors_say_what_to_do():
    model, z, labels = network(), normal(6, 12), torch.zeros(6).long()
    with pytest.raises(InputError, match=r"the 12 channels of the fitted features, got \(3, 5\)"):
        fitted(model).prepare(network(d=5))
    with pytest.raises(InputError, match=r"the 5 channels of the fitted features, got \(3, 12\)"):
        BU().prepare(model).fit(normal(6, 5), labels)
    with pytest.raises(InputError, match=r"of one layer.*Take layers='penultimate'"):
        BU().prepare(model).fit({"a": z, "b": z}, labels)
    with pytest.raises(InputError, match=r"the network has no nn\.Linear"):
        BU().prepare(nn.Sequential(nn.Conv2d(1, 1, 1)))
    for passes in (1, 0, 2.5, True, "many"):
        with pytest.raises(InputError, match="`passes` of BU"):
            make_detector("BU", passes=passes)
    for dropout in (0, 1, -0.1, float("nan"), None):
        with pytest.raises(InputError, match="`dropout` of BU"):
            make_detector("BU", dropout=dropout)
