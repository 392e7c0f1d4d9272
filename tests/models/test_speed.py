"""The accelerated copy: what is folded, what must not be, and that nothing changes."""

from __future__ import annotations

import copy

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from medaegis import Taps, accelerate, build_model
from medaegis.models import frozen
from medaegis.models._layout import plain_where_small
from medaegis.models._pointwise import pointwise_by_onednn
from medaegis.models._speed import use_fast_format


@pytest.fixture(autouse=True)
def _same_networks_every_time():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def settle(net: nn.Module, seed: int = 0) -> nn.Module:
    """BatchNorm statistics and weights far from those at initialisation."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for tensor, low, high in ((module.running_mean, -1, 1), (module.running_var, 0.3, 3)):
                tensor.uniform_(low, high, generator=generator)
            module.weight.data.uniform_(0.5, 2, generator=generator)
            module.bias.data.uniform_(-1, 1, generator=generator)
    return net


def block(*, bias: bool = False) -> list[nn.Module]:
    return [nn.Conv2d(3, 3, 3, padding=1, bias=bias), nn.BatchNorm2d(3), nn.ReLU(inplace=True)]


class Net(nn.Module):
    """conv, BatchNorm and a way of using them."""

    def __init__(self, forward) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Linear(3, 2)
        self.way = forward

    def forward(self, x):
        return self.head(self.way(self, x).mean(dim=(2, 3)))


X = torch.rand(4, 3, 12, 10, generator=torch.Generator().manual_seed(0))


def gradient(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    x = x.clone().requires_grad_(True)
    with frozen(net):
        return torch.autograd.grad(net(x).square().sum(), x)[0]


@pytest.mark.parametrize(
    ("name", "count"), [("resnet18", 20), ("vgg16_bn", 13), ("mobilenet_v2", 52), ("densenet121", 59)]
)
def test_torchvision_networks_fold(name, count) -> None:
    """All of them; of densenet121, those that follow a convolution and not a concatenation."""
    if name == "vgg16_bn":
        net = nn.Sequential(torchvision.models.vgg16_bn().features, nn.Flatten(), nn.Linear(512, 2))
    else:
        net = torchvision.models.get_model(name, weights=None)
    fast = accelerate(net, torch.rand(2, 3, 40, 40))
    assert len(fast.folded) == count
    assert fast.memory_format == torch.channels_last
    assert fast.difference < 1e-5


@pytest.mark.parametrize("bias", [False, True])
def test_folding_is_exact_up_to_rounding(bias) -> None:
    net = settle(nn.Sequential(*block(bias=bias), *block(bias=bias), nn.Flatten(), nn.Linear(360, 2))).double().eval()
    fast = accelerate(net, X[:2].double())
    assert fast.folded == ("1", "4")
    assert isinstance(fast.model[1], nn.Identity)
    with torch.no_grad():
        torch.testing.assert_close(fast.model(X.double()), net(X.double()), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient(fast.model, X.double()), gradient(net, X.double()), rtol=1e-10, atol=1e-12)


def test_the_copy_is_frozen_and_the_original_untouched() -> None:
    net = settle(nn.Sequential(*block(), nn.Dropout(), nn.Flatten(), nn.Linear(360, 2))).train()
    net[1].eval()
    state, modes = copy.deepcopy(net.state_dict()), [module.training for module in net.modules()]
    fast = accelerate(net, X)
    assert not any(module.training for module in fast.model.modules())
    assert not any(parameter.requires_grad for parameter in fast.model.parameters())
    assert [module.training for module in net.modules()] == modes
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert not any(m._forward_hooks for m in (*net.modules(), *fast.model.modules()))
    with frozen(net), torch.no_grad():
        torch.testing.assert_close(fast.model(X), net(X), rtol=1e-5, atol=1e-5)


def in_place_between(net, x):
    return net.norm(net.conv(x).relu_())


USED_TWICE = {
    "added later": lambda net, x: (lambda c: net.norm(c) + c)(net.conv(x)),
    "barely added": lambda net, x: (lambda c: net.norm(c) + 1e-7 * c)(net.conv(x)),  # no probe would show it
    "a gate without gradient": lambda net, x: (lambda c: net.norm(c) * c.detach().mean().sigmoid())(net.conv(x)),
    "changed in place": in_place_between,
    "viewed": lambda net, x: (lambda c: net.norm(c) + 1e-7 * c.flatten(1).mean())(net.conv(x)),
    "shared convolution": lambda net, x: net.norm(net.conv(x)) + net.conv(x.flip(-1)) * 1e-7,
    "shared norm": lambda net, x: net.norm(net.conv(x)) + net.norm(x) * 1e-7,
}


@pytest.mark.parametrize("way", list(USED_TWICE))
def test_a_convolution_whose_result_is_used_elsewhere_stays(way) -> None:
    """BatchNorm here is near the identity, so that a wrong fold would slip through the tolerance."""
    fast = accelerate(Net(USED_TWICE[way]).eval(), X)
    assert fast.folded == ()


def test_the_plain_way_folds() -> None:
    assert accelerate(Net(lambda net, x: net.norm(net.conv(x))).eval(), X).folded == ("norm",)


def test_a_convolution_under_two_names_stays() -> None:
    net = Net(lambda net, x: net.norm(net.other(x)))
    net.other = net.conv
    assert accelerate(net, X).folded == ()


@pytest.mark.parametrize("where", ["hook", "pre-hook", "backward hook", "parametrized", "subclass", "no statistics"])
def test_modules_that_are_more_than_they_seem_stay(where) -> None:
    net = Net(lambda net, x: net.norm(net.conv(x)))
    if where == "hook":
        net.norm.register_forward_hook(lambda module, inputs, output: output * 1.00001)
    elif where == "pre-hook":
        net.conv.register_forward_pre_hook(lambda module, inputs: None)
    elif where == "backward hook":
        net.norm.register_full_backward_hook(lambda module, given, wanted: None)
    elif where == "parametrized":
        nn.utils.parametrizations.weight_norm(net.conv)
    elif where == "subclass":
        net.conv = type("Own", (nn.Conv2d,), {})(3, 3, 3)
    else:
        net.norm = nn.BatchNorm2d(3, track_running_stats=False)
    assert accelerate(net, X).folded == ()


def test_layers_that_were_asked_for_keep_their_features() -> None:
    """The features of a convolution that HFC constrains are those before BatchNorm."""
    net = settle(nn.Sequential(*block(), nn.Flatten(), nn.Linear(360, 2))).eval()
    assert accelerate(net, X, layers=["2"]).folded == ("1",)
    fast = accelerate(net, X, layers=["0"])
    assert fast.folded == ()
    with torch.no_grad():
        got, wanted = Taps(fast.model, ["0"])(X).features["0"], Taps(net, ["0"])(X).features["0"]
    torch.testing.assert_close(got, wanted)


def test_a_network_that_cannot_be_copied_serves_itself() -> None:
    net = nn.Sequential(*block(), nn.Flatten(), nn.Linear(360, 2))
    net.kept = net[0](X)  # a tensor inside a graph refuses deepcopy
    fast = accelerate(net, X)
    assert fast.model is net
    assert fast.folded == ()
    assert fast.memory_format == torch.contiguous_format


class Viewing(nn.Module):
    """`.view` is impossible on channels-last activations."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Sequential(*block()), nn.Linear(360, 2)

    def forward(self, x):
        return self.head(self.body(x).view(len(x), -1))


def test_a_network_that_needs_plain_memory_gets_it() -> None:
    fast = accelerate(settle(Viewing()), X)
    assert fast.folded == ("body.1",)
    assert fast.memory_format == torch.contiguous_format


def test_a_network_that_reads_its_batchnorm_is_not_folded() -> None:
    fast = accelerate(Net(lambda net, x: net.norm(net.conv(x)) / net.norm.num_features).eval(), X)
    assert fast.folded == ()
    assert fast.memory_format == torch.channels_last


def test_volumes() -> None:
    net = nn.Sequential(
        nn.Conv3d(1, 4, 3), nn.BatchNorm3d(4), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    fast = accelerate(settle(net), torch.rand(2, 1, 5, 6, 7))
    assert fast.folded == ("1",)
    assert fast.memory_format == torch.channels_last_3d


def test_dense_networks_keep_the_plain_format() -> None:
    assert accelerate(nn.Sequential(nn.Flatten(), nn.Linear(360, 2)), X).memory_format == torch.contiguous_format


def test_the_probe_is_not_written_to() -> None:
    before = X.clone()
    accelerate(Net(lambda net, x: net.norm(net.conv(x.mul_(2)))).eval(), X)
    assert torch.equal(before, X)


def test_functional_parts_are_left_alone() -> None:
    def way(net, x):
        return functional.batch_norm(functional.conv2d(x, net.conv.weight), net.norm.running_mean, net.norm.running_var)

    fast = accelerate(Net(way).eval(), X)
    assert fast.folded == ()


def test_nan_logits_take_everything_back() -> None:
    fast = accelerate(Net(lambda net, x: net.norm(net.conv(x)) * torch.nan).eval(), X)
    assert fast.folded == ()
    assert fast.memory_format == torch.contiguous_format


def test_zoo_network_behind_its_normalisation() -> None:
    fast = accelerate(build_model("resnet18", classes=2).model, torch.rand(2, 3, 40, 40))
    assert len(fast.folded) == 20


def test_fast_format_is_taken_back_from_a_network_that_cannot_bear_it() -> None:
    class Viewing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.fc = nn.Linear(144, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.conv(x).view(len(x), -1))

    net, probe = Viewing(), torch.rand(1, 3, 8, 8)
    use_fast_format(net, probe)
    assert net.conv.weight.is_contiguous()
    assert net(probe).shape == (1, 2)


def test_fast_format_changes_no_logit() -> None:
    net, probe = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)), torch.rand(1, 3, 8, 8)
    before = net(probe)
    use_fast_format(net, probe)
    assert not net[0].weight.is_contiguous()
    torch.testing.assert_close(net(probe), before)


def wide_net() -> nn.Module:
    """A strided layer to 4 x 4 places, then two wide ones whose kernels cost more to rearrange than to apply."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        wide = [part for _ in range(2) for part in (nn.Conv2d(256, 256, 3, padding=1), nn.ReLU())]
        stem = nn.Conv2d(3, 256, 4, stride=4)
        net = nn.Sequential(stem, nn.ReLU(), *wide, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 2))
    return net.eval()


def test_wide_convolutions_on_few_places_run_in_the_plain_format_and_give_the_same_gradient() -> None:
    net, x = wide_net(), torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    fast = accelerate(net, x)
    formats = [fast.model.get_submodule(name).weight.is_contiguous(memory_format=torch.channels_last) for name in "024"]
    assert formats == [True, False, False]
    gradients = []
    for model, images in ((net, x), (fast.model, x.contiguous(memory_format=fast.memory_format))):
        leaf = images.detach().requires_grad_(True)
        gradients += torch.autograd.grad(model(leaf)[:, 1].sum(), leaf)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-8)


def test_large_activations_and_narrow_kernels_keep_channels_last() -> None:
    net, x = wide_net(), torch.rand(1, 3, 32, 32)
    assert plain_where_small(net, x) == ()
    assert plain_where_small(nn.Sequential(nn.Conv2d(128, 128, 3)), torch.rand(1, 128, 4, 4)) == ()
    assert not any(module._forward_pre_hooks for module in net.modules())


@pytest.mark.parametrize("stride", [1, 2])
def test_pointwise_convolutions_are_the_same_up_to_rounding(stride: int) -> None:
    net = nn.Sequential(nn.Conv2d(6, 8, 1, stride=stride), nn.ReLU(), nn.Conv2d(8, 3, 1, bias=False)).eval()
    fast = copy.deepcopy(net).to(memory_format=torch.channels_last)
    assert pointwise_by_onednn(fast) == ("0", "2")
    before, threads = torch.rand(3, 6, 5, 7), torch.get_num_threads()
    try:
        for count in (1, threads):
            torch.set_num_threads(count)
            x, z = (before.clone().requires_grad_() for _ in range(2))
            got, expected = fast(x.contiguous(memory_format=torch.channels_last)), net(z)
            torch.testing.assert_close(got, expected)
            (g,), (h,) = torch.autograd.grad(got.square().sum(), x), torch.autograd.grad(expected.square().sum(), z)
            torch.testing.assert_close(g, h)
    finally:
        torch.set_num_threads(threads)


def test_other_convolutions_stay() -> None:
    others = [nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 1, groups=2), nn.Conv2d(4, 4, 1, padding=1), nn.Conv3d(4, 4, 1)]
    assert pointwise_by_onednn(nn.Sequential(*others)) == ()
