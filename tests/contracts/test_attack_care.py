"""The laws of HOUSE.md over the one list of attacks: gradients that vanish, and what must be as it was before."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from contracts.attack_list import ATTACKS, EXACT, FAINT, GRADIENT, MINIMAL, READING, SHAPES, world
from contracts.attack_runs import Boom, all_attacks, attacked, sizes
from medaegis.attack import bim, run_attack

pytestmark = pytest.mark.usefixtures("same_networks")


# --- gradients that vanish or are not numbers


class Gate(nn.Module):
    """No gradient where a pixel is below 0.6; with `root`, a NaN there, by the well-known trap of `where`."""

    def __init__(self, features: int, *, root: bool) -> None:
        super().__init__()
        self.root = root
        self.dense = nn.Linear(features, 3).double()

    def forward(self, x):
        above = x.flatten(1) - 0.6
        return self.dense(torch.where(above > 0, above.sqrt(), 0) if self.root else above.relu())


@pytest.mark.parametrize(
    "name", [name for name in GRADIENT if name not in READING and "kappa" not in name and "transfer" not in name]
)
@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize("root", [False, True], ids=["zero", "nan"])
def test_zero_and_nan_gradients_are_counted(name, shape, root) -> None:
    w = world(shape, 2, False)
    x = w.x.clone()
    x[2] = 0.1
    result = attacked(name, w, x=x, net=Gate(x[0].numel(), root=root))
    attack = ATTACKS[name](0.03, w)
    leaving = name in MINIMAL or attack.keep == "first"
    assert (result.steps <= attack.passes).all() if leaving else (result.steps == attack.passes / attack.draws).all()
    assert result.zero_gradient.tolist() == [0, 0, result.steps[2], 0, 0, 0, 0]
    assert result.stuck[2] in (0, result.steps[2])
    assert (result.stuck[2] == 0) == result.fooled[2]
    for part in (result.x, result.logits, result.objective):
        assert part.isfinite().all()
    if name in MINIMAL or (not attack.random_start and "tanh" not in name):
        assert torch.equal(result.x[2], x[2])
    if name not in MINIMAL:
        assert sizes(name, result.x, x)[3] > (0.01 if name in FAINT else 0.029)


class Brightness(nn.Module):
    """Its gradient comes back as one number a case, expanded without memory of its own."""

    def forward(self, x):
        total = x.flatten(1).sum(dim=1)
        return torch.stack([total, -total], dim=1)


@pytest.mark.parametrize("name", EXACT)
def test_expanded_gradients(name) -> None:
    w = world("gray", 2, False)
    result = attacked(name, w, x=w.x * 0.05, net=Brightness())  # dark: a saturated softmax has no gradient
    darker = (2 * w.y - 1).double().reshape(-1, 1, 1, 1)
    assert (result.x - (w.x * 0.05 + 0.03 * darker).clamp(0, 1)).abs().max() < 1e-15


class NaNLogits(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x):
        return torch.where(x.flatten(1)[:, :1] > 0.5, torch.nan, self.net(x))


@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in READING])
def test_nan_logits_do_not_count_as_fooled(name) -> None:
    w = world("gray", 2, False)
    x = w.x.clone()
    x[:3, 0, 0, 0] = 0.9
    x[3:, 0, 0, 0] = 0.1
    result = attacked(name, w, x=x, y=torch.ones_like(w.y), net=NaNLogits(w.net))
    assert not result.fooled[:3].any()
    assert result.x.isfinite().all()
    assert result.objective[3:].isfinite().all()


# --- what must be as before


class Fragile(nn.Module):
    """A network full of things to restore; from pass number `passes` on it raises."""

    def __init__(self, passes: int, *, copyable: bool) -> None:
        super().__init__()
        conv, norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.net = nn.Sequential(conv, norm, nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(100, 2)).double()
        self.register_buffer("seen", torch.zeros(()))
        self.passes, self.copyable, self.count = passes, copyable, [0]
        self.train()
        norm.eval()
        conv.weight.requires_grad_(False)
        with torch.enable_grad():
            self.net(torch.rand(2, 1, 7, 7).double()).sum().backward()
        norm.register_forward_hook(lambda module, inputs, output: None)

    def forward(self, x):
        self.seen += 1
        self.count[0] += 1
        if self.count[0] > self.passes:
            raise Boom
        return self.net(x)

    def __deepcopy__(self, memo):
        if not self.copyable:
            raise TypeError("cannot be copied")
        twin = Fragile(self.passes, copyable=True)
        twin.load_state_dict(self.state_dict())
        twin.count = self.count
        return twin.eval()

    def everything(self) -> list[object]:
        modes = [(n, m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for n, m in self.named_modules()]
        flags = [
            (n, p.requires_grad, p.tolist(), p.grad is None or p.grad.tolist()) for n, p in self.named_parameters()
        ]
        return [modes, flags, [(n, id(b), b.tolist()) for n, b in self.named_buffers()]]


@pytest.mark.parametrize("copyable", [True, False], ids=["copied", "not-copyable"])
@pytest.mark.parametrize("passes", [0, 1, 2, 4, 6, 10**9])
def test_network_and_tensors_are_as_before(passes, copyable) -> None:
    w = world("gray", 2, True)
    with torch.random.fork_rng():
        net = Fragile(passes, copyable=copyable)
    attack = bim(eps=0.03, steps=4)
    x, y, target = w.x.clone(), w.y.clone(), w.target.clone()
    generator = torch.Generator().manual_seed(0)
    before, grad_enabled = net.everything(), torch.is_grad_enabled()
    precision = torch.backends.cudnn.conv.fp32_precision
    if passes == 10**9:
        result = run_attack(attack, net, x, y, target=target, generator=generator)
        assert result.fooled.shape == (7,)
        assert not result.x.requires_grad
    else:
        with pytest.raises(Boom):
            run_attack(attack, net, x, y, target=target, generator=generator)
    assert net.everything() == before
    assert torch.is_grad_enabled() == grad_enabled
    assert torch.backends.cudnn.conv.fp32_precision == precision
    for now, then in ((x, w.x), (y, w.y), (target, w.target)):
        assert torch.equal(now, then)


def test_repeated_attacks_leave_no_hooks() -> None:
    w = world("gray", 2, True)
    for _ in range(3):
        attacked("bim+hfc-best", w)
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in w.net.modules())


@all_attacks
def test_the_callers_images_are_not_written_to(name) -> None:
    class InPlace(nn.Module):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(x.sub_(0.5))

    w = world("rgb", 5, False)
    x = w.x.clone()
    result = attacked(name, w.within("net."), x=x, net=InPlace(w.net))
    assert torch.equal(x, w.x)
    assert sizes(name, result.x, x).max() <= 0.03
