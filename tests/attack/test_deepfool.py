"""DeepFool: closed forms on linear networks, plain loops, counted passes, no NaN, budgets."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from contracts.attack_list import SHAPES, world
from medaegis import InputError
from medaegis.attack import deepfool, hfc, l2_size, run_attack

float64 = torch.float64


def linear(shape: tuple[int, ...], classes: int, seed: int = 0) -> nn.Sequential:
    generator = torch.Generator().manual_seed(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(shape).numel(), classes)).double()
    net[1].weight.data = torch.randn(net[1].weight.shape, generator=generator, dtype=float64)
    net[1].bias.data.zero_()
    return net


def curved(shape: tuple[int, ...], classes: int, bend: float = 4.0, lead: float = 0.0) -> nn.Sequential:
    """A network that bends, whose boundaries lie near every image, the further from class 0 the more it leads."""
    first, last = linear(shape, 16), linear((16,), classes, seed=2)
    first[1].weight.data /= torch.Size(shape).numel() ** 0.5 / bend
    first[1].bias.data = -first[1].weight.detach().sum(dim=1) / 2
    last[1].bias.data[0] += lead
    return nn.Sequential(*first, nn.Tanh(), last[1])


def interior(shape: tuple[int, ...], n: int = 6) -> torch.Tensor:
    """Images in the middle of the pixel range."""
    return 0.45 + 0.1 * torch.rand(n, *shape, generator=torch.Generator().manual_seed(1), dtype=float64)


def predictions(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return net(x).argmax(dim=1)


@pytest.mark.parametrize("shape", list(SHAPES.values()), ids=list(SHAPES))
@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize(("norm", "dual"), [("l2", 2), ("linf", 1)])
def test_smallest_perturbation_of_a_linear_network(shape, classes, norm, dual) -> None:
    """min_k |f_k - f_y| / |w_k - w_y|_q, longer by the overshoot alone, in one step."""
    net, x = linear(shape, classes), interior(shape)
    y = predictions(net, x)
    result = run_attack(deepfool(norm=norm), net, x, y)
    logits, w = net(x).detach(), net[1].weight.detach()
    gaps = (logits - logits.gather(1, y[:, None])).abs()
    slopes = (w[None] - w[y][:, None]).norm(p=dual, dim=2)
    best = torch.where(slopes > 0, gaps / slopes, torch.inf).amin(dim=1)
    d = result.x - x
    found = l2_size(d, "l2") if norm == "l2" else d.abs().flatten(1).amax(dim=1)
    torch.testing.assert_close(found, 1.02 * best, rtol=1e-9, atol=0)
    assert result.fooled.all()
    assert (result.steps == 1).all()
    assert (result.objective < 0).all()


@pytest.mark.parametrize("classes", [2, 5])
def test_the_target_is_reached(classes) -> None:
    """With a target only its boundary counts; of two classes it is the only one there is."""
    shape = SHAPES["rgb"]
    net, x = linear(shape, classes), interior(shape)
    y = predictions(net, x)
    target = (y + 1) % classes
    result = run_attack(deepfool(), net, x, y, target=target)
    assert torch.equal(result.prediction, target)
    if classes == 2:
        torch.testing.assert_close(result.x, run_attack(deepfool(), net, x, y).x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("setting", [("gray", 2), ("rgb", 5), ("volume", 5)])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_equals_a_plain_loop_over_cases(setting, norm) -> None:
    net, x = curved(SHAPES[setting[0]], setting[1], 4.0, 8.0), interior(SHAPES[setting[0]])
    y = predictions(net, x)
    result = run_attack(deepfool(norm=norm), net, x, y, batch_size=4)
    made = result.x
    assert result.fooled.all()
    assert result.steps.max() > 1
    for case in range(len(x)):
        now = x[case : case + 1]
        for _ in range(50):
            if predictions(net, now) != y[case]:
                break
            jacobian = torch.autograd.functional.jacobian(net, now)[0, :, 0]
            logits, ways = net(now)[0].detach(), []
            for k in range(setting[1]):
                if k != y[case]:
                    slope = jacobian[k] - jacobian[y[case]]
                    gap = (logits[k] - logits[y[case]]).abs()
                    if norm == "l2":
                        ways.append((gap / slope.norm(), gap / slope.norm() ** 2 * slope))
                    else:
                        ways.append((gap / slope.abs().sum(), gap / slope.abs().sum() * slope.sign()))
            now = (now + 1.02 * min(ways, key=lambda way: way[0])[1]).clamp(0, 1)
        assert (made[case] - now[0]).abs().max() < 1e-9


class Counting(nn.Module):
    """Counts the forward and backward passes of each case through any copy of itself."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.forwards, self.backwards = net, [0], [0]

    def forward(self, x):
        self.forwards[0] += 1
        if x.requires_grad:
            x.register_hook(self.count)
        return self.net(x)

    def count(self, gradient):
        self.backwards[0] += 1

    def __deepcopy__(self, memo):
        return self


@pytest.mark.parametrize(("classes", "candidates", "each"), [(2, 10, 1), (5, 10, 4), (5, 3, 2)])
def test_one_backward_pass_for_each_rival_class(classes, candidates, each) -> None:
    """At the first step, and for the three nearest ones after it."""
    w = world("gray", classes, False)
    x = 0.3 + 0.4 * w.x[:1]
    net = Counting(w.net)
    result = run_attack(deepfool(candidates=candidates), net, x, predictions(w.net, x))
    assert result.steps[0] >= 1
    assert net.backwards[0] == each + min(each, 3) * (result.steps[0] - 1)


def test_fooled_cases_stay_as_they_are_and_cost_nothing() -> None:
    w = world("gray", 2, False)
    result = run_attack(deepfool(), w.net, w.x, 1 - predictions(w.net, w.x))
    assert torch.equal(result.x, w.x)
    assert not result.steps.any()


@pytest.mark.parametrize("pixel", [0.0, 1.0])
@pytest.mark.parametrize("shape", list(SHAPES.values()), ids=list(SHAPES))
def test_black_and_white_images_move(pixel, shape) -> None:
    """Half of the pixels can only go out of the range; the others carry the whole way."""
    net, x = linear(shape, 2), torch.full((1, *shape), pixel, dtype=float64)
    net[1].bias.data[0] = 1 + net(x).detach().diff().item()
    result = run_attack(deepfool(), net, x, torch.tensor([0]))
    slope = net[1].weight.detach().diff(dim=0)[0]
    free = slope > 0 if pixel == 0 else slope < 0
    assert result.fooled.all()
    best = 1 / slope[free].norm().item()
    assert best <= l2_size(result.x - x, "l2").item() < 1.002 * best  # half steps leave little to overshoot
    assert torch.equal((result.x != x).flatten(), free)


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e200])
def test_scale_of_the_logits_changes_nothing(scale) -> None:
    shape = SHAPES["gray"]
    net, x = linear(shape, 5), interior(shape)
    y = predictions(net, x)
    plain = run_attack(deepfool(), net, x, y).x
    net[1].weight.data *= scale
    assert (run_attack(deepfool(), net, x, y).x - plain).abs().max() < 1e-12


class Tie(nn.Module):
    def forward(self, x):
        return torch.stack([x.flatten(1).sum(dim=1), 2 * x.flatten(1).sum(dim=1)], dim=1) * 1.0


def test_an_exact_tie_is_crossed() -> None:
    """Both logits are 0, so the linear distance is too, and class 0 wins the tie."""
    result = run_attack(deepfool(), Tie(), torch.zeros(1, 1, 4, 4), torch.tensor([0]))
    assert result.fooled.all()
    assert 0 < l2_size(result.x).item() < 1e-5


class Flat(nn.Module):
    """Without gradient below 0.6; with `root`, the square root's infinite one becomes NaN there."""

    def __init__(self, root: bool) -> None:
        super().__init__()
        self.root, self.dense = root, nn.Linear(49, 3).double()

    def forward(self, x):
        above = x.flatten(1) - 0.6
        return self.dense(torch.where(above > 0, above.sqrt(), 0) if self.root else above.relu())


@pytest.mark.parametrize("root", [False, True])
def test_a_case_without_gradient_is_counted_and_leaves(root) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Flat(root)
    x = torch.rand(4, 1, 7, 7, generator=torch.Generator().manual_seed(0), dtype=float64)
    x[1] = 0.1
    result = run_attack(deepfool(), net, x, predictions(net, x))
    assert (result.zero_gradient.tolist(), result.stuck.tolist()) == ([0, 1, 0, 0], [0, 1, 0, 0])
    assert result.steps[1] == 1
    assert torch.equal(result.x[1], x[1])
    assert result.x.isfinite().all()
    assert result.fooled.tolist() == [True, False, True, True]


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("eps", [0.001, 0.5])
def test_budget(norm, eps) -> None:
    shape = SHAPES["rgb"]
    net, x = linear(shape, 5), interior(shape).float()
    net = net.float()
    y = predictions(net, x)
    free, bound = (run_attack(deepfool(limit, norm=norm), net, x, y).x for limit in (None, eps))
    d = (bound - x).double()
    assert (l2_size(d) if norm == "l2" else d.abs().flatten(1).amax(dim=1)).max() <= eps
    if eps == 0.5:
        assert torch.equal(free, bound)


def test_errors_and_no_steps() -> None:
    w = world("gray", 2, False)
    assert torch.equal(run_attack(deepfool(steps=0), w.net, w.x, w.y).x, w.x)
    with pytest.raises(InputError, match="DeepFool follows the shortest way"):
        deepfool().plus(hfc(w.bank))
    wrong = [
        {"steps": -1},
        {"overshoot": -0.1},
        {"candidates": 1},
        {"norm": "l1"},
        {"eps": 4},
        {"eps": 4, "norm": "linf"},
    ]
    for options in wrong:
        with pytest.raises(InputError):
            deepfool(**options)
    with pytest.raises(InputError, match="carries no gradient"):
        run_attack(deepfool(), Constant(), w.x, w.y)


class Constant(nn.Module):
    def forward(self, x):
        return x.detach().flatten(1)[:, :2].neg().sort(dim=1, descending=True).values + torch.tensor([1e3, 0.0])
