"""The laws of HOUSE.md, over the one list of attacks."""

from __future__ import annotations

import copy
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from contracts.attack_list import (
    ATTACKS,
    EXACT,
    EXACT_L2,
    FAINT,
    GRADIENT,
    L2_BALL,
    MINIMAL,
    RANDOM,
    READING,
    SETTING_IDS,
    SETTINGS,
    SHAPES,
    STEPS,
    TRANSFER,
    World,
    world,
)
from medaegis.attack import AttackResult, bim, l2_size, run_attack
from medaegis.density import fit_bank
from medaegis.models import Taps, frozen

all_attacks = pytest.mark.parametrize("name", list(ATTACKS))
all_settings = pytest.mark.parametrize("setting", SETTINGS, ids=SETTING_IDS)
some_settings = pytest.mark.parametrize(
    "setting", [("gray", 2, False), ("rgb", 5, True), ("volume", 2, True)], ids=["gray", "rgb", "volume"]
)
float32, float64 = torch.float32, torch.float64


@pytest.fixture(autouse=True)
def _same_networks_every_time():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def attacked(name: str, w: World, eps: float = 0.03, *, net: nn.Module | None = None, **options) -> AttackResult:
    options = {"target": w.target, "generator": torch.Generator().manual_seed(1)} | options
    x, y = options.pop("x", w.x), options.pop("y", w.y)
    return run_attack(ATTACKS[name](eps, w), net or w.net, x, y, **options)


def sizes(name: str, made: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """How far each case moved, as the attack's budget is measured."""
    return l2_size(made - x) if name in L2_BALL else (made - x).abs().flatten(1).amax(dim=1)


# --- the ball and the pixel range


@all_attacks
@all_settings
def test_inside_ball_and_range_exactly(name, setting) -> None:
    for dtype in (float32, float64):
        w = world(*setting, dtype)
        for eps in (0.03, 1e-3, 1 / 256):
            made = attacked(name, w, eps).x
            assert made.dtype == dtype
            assert made.min() >= 0
            assert made.max() <= 1
            assert (sizes(name, made, w.x) <= eps).all()
            assert (sizes(name, made.double(), w.x.double()) <= eps).all()
            used = sizes(name, made, w.x).max()
            assert used > (0 if name in MINIMAL else 0.3 if name in FAINT else 0.99) * eps  # and uses the budget


@all_attacks
@some_settings
@pytest.mark.parametrize("dtype", [float32, float64])
def test_no_budget_gives_the_input_bit_for_bit(name, setting, dtype) -> None:
    w = world(*setting, dtype)
    bits = torch.int32 if dtype == float32 else torch.int64
    made = attacked(name, w, 0.0).x
    assert torch.equal(made.view(bits), w.x.view(bits))


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize("targeted", [True, False])
def test_known_optimum_on_a_linear_network(name, shape, targeted) -> None:
    w = world(shape, 2, targeted)
    weight = torch.linspace(-1, 1, w.x[0].numel(), dtype=float64).roll(3)
    weight[weight.abs() < 0.01] = 0.5
    net = nn.Sequential(nn.Flatten(), nn.Linear(len(weight), 2)).double()
    net[1].weight.data = torch.stack([weight, -weight]) / 50
    made = attacked(name, w, net=net).x
    raises_logit_0 = (2 * w.y - 1).double().reshape(-1, *(1,) * (w.x.dim() - 1))  # the attacker wants the class 1 - y
    best = (w.x + 0.03 * raises_logit_0 * weight.sign().reshape(w.x.shape[1:])).clamp(0, 1)
    assert (made - best).abs().max() < 1e-15
    assert (made[w.x == 0] > 0).any()
    assert (made[w.x == 1] < 1).any()


@pytest.mark.parametrize("name", EXACT_L2)
@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize("targeted", [True, False])
def test_known_optimum_in_a_ball_on_a_linear_network(name, shape, targeted) -> None:
    """Inside the pixel range the best perturbation is the weight's direction at the ball's radius."""
    w = world(shape, 2, targeted)
    weight = torch.linspace(-1, 1, w.x[0].numel(), dtype=float64).roll(3)
    net = nn.Sequential(nn.Flatten(), nn.Linear(len(weight), 2)).double()
    net[1].weight.data = torch.stack([weight, -weight]) / 50
    x = 0.4 + 0.2 * w.x
    attack = replace(ATTACKS[name](0.03, w), steps=100)
    made = run_attack(attack, net, x, w.y, target=w.target, generator=torch.Generator().manual_seed(1)).x
    toward_0 = (2 * w.y - 1).double().reshape(-1, *(1,) * (x.dim() - 1))
    best = x + 0.03 * len(weight) ** 0.5 * toward_0 * (weight / weight.norm()).reshape(x.shape[1:])
    assert (made - best).abs().max() < (1e-3 if name == "apgd-rms" else 2e-6) * (20 if "-best" in name else 1)


@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in MINIMAL])  # these leave a fooled case alone
@some_settings
def test_pixels_at_the_ends_of_the_range_can_move(name, setting) -> None:
    w = world(*setting)
    made = attacked(name, w).x
    moved = [(made[w.x == 0] > 0).any(), (made[w.x == 1] < 1).any()]
    assert any(moved) if "low" in name else all(moved)  # one value of a coarse grid moves both


# --- what a result must not depend on


class Shifted(nn.Module):
    def __init__(self, net: nn.Module, constant: float) -> None:
        super().__init__()
        self.net, self.constant = net, constant

    def forward(self, x):
        return self.net(x) + self.constant


@all_attacks
@all_settings
def test_a_constant_on_all_logits_changes_nothing(name, setting) -> None:
    w = world(*setting)
    made = [attacked(name, w.within("net."), net=Shifted(w.net, constant)) for constant in (-50, 0, 50)]
    for other in made[::2]:
        assert torch.equal(other.fooled, made[1].fooled)
        torch.testing.assert_close(other.x, made[1].x, rtol=0, atol=1e-12)
        torch.testing.assert_close(other.objective, made[1].objective, rtol=0, atol=1e-10)


def assert_same_cases(a: AttackResult, b: AttackResult, rows: object = slice(None)) -> None:
    for field in ("x", "logits", "objective"):
        torch.testing.assert_close(getattr(a, field), getattr(b, field)[rows], rtol=0, atol=1e-9)
    assert torch.equal(a.fooled, b.fooled[rows])
    assert torch.equal(a.zero_gradient, b.zero_gradient[rows])


@all_attacks
@some_settings
def test_batch_size_changes_nothing(name, setting) -> None:
    w = world(*setting)
    whole = attacked(name, w)
    for size in (1, 3):
        assert_same_cases(attacked(name, w, batch_size=size), whole)


@all_attacks
@some_settings
def test_neighbours_change_nothing(name, setting) -> None:
    w = world(*setting)
    others = w.x.clone()
    others[::2] = 1 - others[::2].flip(-1)
    labels = w.y.clone()
    labels[::2] = labels[::2].roll(1)
    target = None if w.target is None else torch.where(torch.arange(7) % 2 == 1, w.target, labels)
    odd = slice(1, None, 2)
    made = attacked(name, w, x=others, y=labels, target=target)
    assert_same_cases(
        AttackResult(*(v[odd] if isinstance(v, torch.Tensor) else v for v in made)), attacked(name, w), odd
    )


@all_attacks
@some_settings
def test_fewer_cases_change_nothing(name, setting) -> None:
    w = world(*setting)
    first = None if w.target is None else w.target[:4]
    assert_same_cases(attacked(name, w, x=w.x[:4], y=w.y[:4], target=first), attacked(name, w), slice(4))


@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in RANDOM])
@some_settings
def test_order_changes_nothing(name, setting) -> None:
    w, order = world(*setting), torch.tensor([3, 0, 6, 1, 5, 2, 4])
    target = None if w.target is None else w.target[order]
    assert_same_cases(attacked(name, w, x=w.x[order], y=w.y[order], target=target), attacked(name, w), order)


# --- randomness


@all_attacks
def test_same_generator_same_result(name) -> None:
    w = world("gray", 2, False)
    one, two = attacked(name, w), attacked(name, w)
    assert torch.equal(one.x, two.x)
    other = attacked(name, w, generator=torch.Generator().manual_seed(2))
    assert torch.equal(one.x, other.x) == (name not in RANDOM)
    default = attacked(name, w, generator=None)
    assert torch.equal(default.x, attacked(name, w, generator=torch.Generator().manual_seed(0)).x)


@pytest.mark.parametrize("name", [name for name in RANDOM if "noise" in name])
def test_cases_draw_differently(name) -> None:
    w = world("gray", 2, False)
    same = w.x[3:4].expand(4, *w.x.shape[1:])
    made = attacked(name, w, x=same, y=w.y[:1].expand(4), target=None).x
    assert len({tuple(case.flatten().tolist()) for case in made}) == 4


class Draws(nn.Module):
    """A network that draws from torch's global generator in evaluation mode; raises from one pass on."""

    def __init__(self, net: nn.Module, passes: int) -> None:
        super().__init__()
        self.net, self.passes, self.count = net, passes, [0]

    def forward(self, x):
        self.count[0] += 1
        torch.rand(3)
        if self.count[0] > self.passes:
            raise Boom
        return self.net(x) + 0.1 * torch.randn(len(x), 1, dtype=x.dtype)

    def __deepcopy__(self, memo):
        twin = Draws(copy.deepcopy(self.net, memo), self.passes)
        twin.count = self.count
        return twin


class Boom(Exception):  # noqa: N818  # it is not an error of anybody's
    pass


def global_random_state() -> tuple[object, ...]:
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002  # it must stay as it is
    return (*torch_state.tolist(), random.getstate(), numpy_state[1].tobytes(), numpy_state[2:])


@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in TRANSFER])
@pytest.mark.parametrize("passes", [3, 10**9])
def test_global_random_state_is_left_alone(name, passes) -> None:
    w = world("gray", 2, False)
    before = global_random_state()
    run = lambda: attacked(name, w.within("net."), net=Draws(w.net, passes))
    if passes == 3:
        with pytest.raises(Boom):
            run()
    else:
        one, two = run(), run()
        assert torch.equal(one.x, two.x)
        assert torch.equal(one.logits, two.logits)
    assert global_random_state() == before


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


# --- the judge


@all_attacks
@some_settings
def test_judged_again_by_the_untouched_network(name, setting) -> None:
    """In float32 the folded copy's logits differ in their last bits, so equality shows who judged."""
    w = world(*setting, float32)
    result = attacked(name, w, 0.1)
    with torch.no_grad():
        logits = w.net(result.x)
    assert torch.equal(result.logits, logits)
    assert torch.equal(result.prediction, logits.argmax(dim=1))
    wanted = logits.argmax(dim=1) == w.target if w.target is not None else logits.argmax(dim=1) != w.y
    assert torch.equal(result.fooled, wanted)


@pytest.mark.parametrize("name", [name for name in GRADIENT if name.endswith("best") and "fgsm" not in name])
@some_settings
@pytest.mark.parametrize("eps", [0.03, 0.3])
def test_best_is_never_worse_than_any_iterate(name, setting, eps) -> None:
    w = world(*setting)
    attack = ATTACKS[name](eps, w)
    run = lambda attack: run_attack(
        attack, w.net, w.x, w.y, target=w.target, generator=torch.Generator().manual_seed(1)
    )
    best = run(attack)
    ranks = []
    for steps in range(STEPS + 1):
        iterate = run(replace(attack, steps=steps, keep="last"))
        ranks.append(list(zip((~iterate.fooled).tolist(), iterate.objective.tolist(), strict=True)))
    for case, got in enumerate(zip((~best.fooled).tolist(), best.objective.tolist(), strict=True)):
        expected = min(rank[case] for rank in ranks)
        assert got[0] == expected[0]
        assert got[1] == pytest.approx(expected[1], abs=1e-9)


# --- agreement with an independent loop


def test_features_before_batchnorm_are_those_of_the_untouched_network() -> None:
    """HFC on a convolution's own result, which folding would change; a hook keeps the second network from folding."""
    w = world("gray", 2, True)
    with frozen(w.net), torch.no_grad():
        features = Taps(w.net, ["0"])(torch.rand(40, *w.x.shape[1:], dtype=float64)).features
    bank = fit_bank(features, torch.arange(40) % 2, strength=0.1, generator=torch.Generator().manual_seed(0))
    plain = copy.deepcopy(w.net)
    plain[1].register_forward_hook(lambda module, inputs, output: None)
    plain[4].register_forward_hook(lambda module, inputs, output: None)
    one, two = (attacked("bim+hfc-best", w._replace(bank=bank), net=net) for net in (w.net, plain))
    assert_same_cases(one, two)


@all_settings
def test_bim_equals_ten_plain_lines(setting) -> None:
    w, eps = world(*setting), 0.02
    alpha = 2 * eps / 8
    x = w.x.clone()
    for _ in range(8):
        x.requires_grad_(True)
        goal, sign = (w.y, 1) if w.target is None else (w.target, -1)
        loss = nn.functional.cross_entropy(w.net(x), goal, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x)
        x = x.detach() + sign * alpha * gradient.sign()
        x = torch.min(torch.max(x, w.x - eps), w.x + eps).clamp(0, 1)
    made = run_attack(bim(eps=eps, steps=8), w.net, w.x, w.y, target=w.target).x
    assert (made - x).abs().max() < 1e-12
