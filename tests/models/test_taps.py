"""Layers by name: counts, order, values, gradients, hooks."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from medaegis import InputError, Taps
from medaegis.models import build_model, channel_means, frozen
from medaegis.models._taps import pooled_maps


@pytest.fixture(autouse=True)
def _same_networks_every_time():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="module")
def resnet18() -> nn.Module:
    return torchvision.models.resnet18().eval()


@pytest.fixture
def net() -> nn.Sequential:
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 5, 3), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2)).double().eval()


def images(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "count", "first", "last"),
    [
        ("resnet18", 17, ["relu", "layer1.0.relu", "layer1.0.relu#2"], "layer4.1.relu#2"),
        ("resnet50", 49, ["relu", "layer1.0.relu", "layer1.0.relu#2", "layer1.0.relu#3"], "layer4.2.relu#3"),
        ("vgg16", 15, ["features.1", "features.3", "features.6"], "classifier.4"),
    ],
)
def test_layers_of_torchvision(name, count, first, last) -> None:
    """SPEC section 2: 3 in each of 16 bottlenecks and the stem; 13 convolutions and 2 dense layers."""
    network = torchvision.models.get_model(name, weights=None)
    layers = Taps(network).names(torch.rand(1, 3, 33, 33))
    assert len(layers) == len(set(layers)) == count
    assert list(layers[: len(first)]) == first
    assert layers[-1] == last


def test_each_call_of_a_reused_relu_is_a_layer(resnet18) -> None:
    """The means of a block, from a forward pass written by hand."""
    x = torch.rand(2, 3, 40, 40)
    block = resnet18.layer1[0]
    with torch.no_grad():
        stem = resnet18.maxpool(resnet18.relu(resnet18.bn1(resnet18.conv1(x))))
        inner = block.bn1(block.conv1(stem)).clamp(min=0)
        outer = (block.bn2(block.conv2(inner)) + stem).clamp(min=0)
        logits, features = Taps(resnet18)(x)
        torch.testing.assert_close(features["layer1.0.relu"], inner.mean(dim=(2, 3)), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(features["layer1.0.relu#2"], outer.mean(dim=(2, 3)), rtol=1e-5, atol=1e-6)
        assert torch.equal(logits, resnet18(x))


def test_penultimate_is_the_input_of_the_head(resnet18) -> None:
    x = torch.rand(2, 3, 40, 40)
    with torch.no_grad():
        logits, features = Taps(resnet18, ["penultimate", "layer4.1.relu#2"])(x)
        torch.testing.assert_close(resnet18.fc(features["penultimate"]), logits)
    assert list(features) == ["layer4.1.relu#2", "penultimate"]  # the order of calling
    torch.testing.assert_close(features["penultimate"], features["layer4.1.relu#2"])  # pooled after the last ReLU


def test_penultimate_of_a_chosen_head() -> None:
    """SqueezeNet ends in a convolution: its input's channel means stand for the penultimate vector."""
    network = torchvision.models.squeezenet1_1().eval()
    with pytest.raises(InputError, match="`head` of Taps must be the name of the last layer"):
        Taps(network, ["penultimate"])
    with torch.no_grad():
        features = Taps(network, ["penultimate"], head="classifier.1")(torch.rand(2, 3, 40, 40)).features
    assert features["penultimate"].shape == (2, 512)


def test_values_before_in_place_activations(net) -> None:
    """Each feature is what the module returned, although the next one writes into it; dense layers too."""
    x = images(2, 3, 6, 6)
    dense = nn.Sequential(nn.Flatten(), nn.Linear(108, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)).double()
    dense[1].bias.data[0] = -10
    with torch.no_grad():
        conv = net[0](x)
        assert torch.equal(Taps(net, ["0"])(x).features["0"], conv.mean(dim=(2, 3)))
        assert torch.equal(Taps(dense, ["1"])(x).features["1"], dense[1](x.flatten(1)))
        assert (dense[1](x.flatten(1)) < 0).any()


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 5), (2, 3, 5, 4), (2, 3, 5, 4, 2)])
def test_channel_means(shape) -> None:
    z = images(*shape).requires_grad_(True)
    means = channel_means(z)
    expected = z.flatten(2).mean(dim=2) if len(shape) > 2 else z
    torch.testing.assert_close(means, expected)
    weights = images(2, 3)
    (got,) = torch.autograd.grad((means * weights).sum(), z)
    (wanted,) = torch.autograd.grad((expected * weights).sum(), z)
    torch.testing.assert_close(got, wanted)


def test_gradient_of_all_features_equals_autograds_own(net) -> None:
    """Features at two depths and the logits at once: expanded gradients must add up, not overwrite."""
    x = images(2, 3, 6, 6).requires_grad_(True)
    logits, features = Taps(net)(x)
    (got,) = torch.autograd.grad(logits.square().sum() + sum(z.square().sum() for z in features.values()), x)
    first = net[0](x).relu()
    second = net[2](first).relu()
    plain = net[6](second.mean(dim=(2, 3))).square().sum()
    plain = plain + first.mean(dim=(2, 3)).square().sum() + second.mean(dim=(2, 3)).square().sum()
    (wanted,) = torch.autograd.grad(plain, x)
    torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-14)


def test_gradient_by_differences(net) -> None:
    x = images(1, 3, 6, 6).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: tuple(Taps(net)(x).features.values()), x)


def hooks(network: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())


def test_hooks_live_during_a_call_only(net) -> None:
    net[0].register_forward_hook(lambda module, inputs, output: None)
    taps = Taps(net, ["1", "3", "penultimate"])
    assert hooks(net) == 1
    taps(images(1, 3, 6, 6))
    assert hooks(net) == 1
    with pytest.raises(RuntimeError):
        taps(images(1, 2, 6, 6))
    assert hooks(net) == 1


def test_choices_of_layers(net) -> None:
    x = images(1, 3, 6, 6)
    assert list(Taps(net)(x).features) == ["1", "3"]
    assert Taps(net, "none")(x).features == {}
    assert Taps(net, [])(x).features == {}
    assert list(Taps(net, ("3", "0"))(x).features) == ["0", "3"]
    assert Taps(net).names(x) == ("1", "3")


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (["7"], r"unknown modules \['7'\].* has: 0, 1, 2"),
        (["1", "relu", "x#2"], r"unknown modules \['relu', 'x'\]"),
        ("Relu", '"relu", "none" or a list'),
    ],
)
def test_unknown_names(net, layers, words) -> None:
    with pytest.raises(InputError, match=words):
        Taps(net, layers)


def test_unknown_head(net) -> None:
    with pytest.raises(InputError, match=r"unknown modules \['fc'\]"):
        Taps(net, ["penultimate"], head="fc")


def test_a_call_that_did_not_happen(net) -> None:
    with pytest.raises(InputError, match=r"\['1#2'\], which the network did not call"):
        Taps(net, ["1", "1#2"])(images(1, 3, 6, 6))


def test_no_activation_modules() -> None:
    with pytest.raises(InputError, match="`layers` of Taps must be names of modules where"):
        Taps(nn.Linear(2, 2))


def test_a_layer_that_returns_no_tensor() -> None:
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair = Pair()

        def forward(self, x):
            return self.pair(x)[0]

    with pytest.raises(InputError, match=r"one \(b, c, \*space\) tensor; pair, got <class 'tuple'>"):
        Taps(Net(), ["pair"])(torch.rand(2, 2))


def test_names_leave_the_network_in_its_mode(net) -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten()).train()
    network[1].eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    Taps(network).names(torch.rand(2, 3, 4, 4))
    assert [module.training for module in network] == [True, False, True]
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_frozen_restores_what_the_network_changes_itself() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(2))
            self.register_buffer("spread", torch.zeros(1).expand(3))  # cannot be written to, need not be
            self.register_buffer("replaced", torch.zeros(1))

        def forward(self, x):
            self.calls += 1
            self.replaced = self.replaced + 1
            return x

    network = Counts()
    own = network.replaced
    with frozen(network):
        network(1)
        assert network.calls.tolist() == [1, 1]
    assert network.calls.tolist() == [0, 0]
    assert network.replaced is own
    assert dict(network.named_buffers()).keys() == {"calls", "spread", "replaced"}


@pytest.mark.parametrize("precision", ["tf32", "ieee", "none"])
def test_frozen_computes_in_ieee_float32(precision) -> None:
    operators = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
    original = [operator.fp32_precision for operator in operators]
    try:
        for operator in operators:
            operator.fp32_precision = precision
        before = [operator.fp32_precision for operator in operators]
        with frozen(nn.Identity()):
            assert {operator.fp32_precision for operator in operators} == {"ieee"}
        assert [operator.fp32_precision for operator in operators] == before
    finally:
        for operator, value in zip(operators, original, strict=True):
            operator.fp32_precision = value


def test_small_network_of_the_zoo() -> None:
    assert len(Taps(build_model("small-resnet", classes=2).model).names(torch.rand(1, 3, 32, 32))) == 9


# maps


@pytest.mark.parametrize("shape", [(2, 3, 6), (2, 3, 6, 9), (2, 3, 6, 9, 3)])
def test_pooled_maps_are_means_of_their_blocks(shape) -> None:
    z = images(*shape)
    pooled = pooled_maps(z, 3)
    blocks = z
    for dim in range(2, z.dim()):
        size = z.shape[dim] // 3
        blocks = blocks.unfold(dim, size, size)
    dims = tuple(range(z.dim(), blocks.dim()))
    torch.testing.assert_close(pooled, blocks.mean(dim=dims))
    torch.testing.assert_close(pooled.flatten(2).mean(dim=2), channel_means(z))
    assert torch.autograd.gradcheck(lambda x: pooled_maps(x, 3), (z.requires_grad_(),))


def test_maps_of_layers_and_a_vector_at_the_end(net) -> None:
    x = images(2, 3, 10, 10)
    names = ["1", "3", "5", "penultimate"]
    logits, features = Taps(net, names, grid=2)(x)
    means = Taps(net, names)(x)
    assert {name: tuple(z.shape) for name, z in features.items()} == {
        "1": (2, 4, 2, 2),
        "3": (2, 5, 2, 2),
        "5": (2, 5),
        "penultimate": (2, 5),
    }
    assert torch.equal(logits, means.logits)
    for name, z in means.features.items():
        found = features[name] if features[name].dim() == 2 else features[name].mean(dim=(2, 3))
        torch.testing.assert_close(found, z)


def test_vectors_are_copied_from_in_place_activations() -> None:
    dense = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)).double()
    x = images(3, 4)
    assert torch.equal(Taps(dense, ["0"], grid=2)(x).features["0"], dense[0](x))


def test_a_map_smaller_than_the_grid_repeats() -> None:
    assert pooled_maps(torch.tensor([[[[7.0]]]]), 4).tolist() == [[[[7.0] * 4] * 4]]


@pytest.mark.parametrize("grid", [0, -1, 2.0, True, "4"])
def test_the_grid_is_checked(net, grid) -> None:
    with pytest.raises(InputError, match=r"`grid` of Taps must be an int >= 1, .whole., or None"):
        Taps(net, grid=grid)


def test_whole_maps_are_the_activations_and_stay_when_the_network_writes_into_them() -> None:
    """`net[2]` works in place on what `net[1]` gave."""
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Hardtanh(0, 0.01, inplace=True), nn.Flatten(), nn.Linear(32, 2)
    )
    x, taps = torch.rand(3, 1, 6, 6), Taps(net, ["1", "penultimate"], grid="whole")
    with torch.inference_mode():
        inference = taps(x.clone()).features
    passes = []
    net.register_forward_hook(lambda *_: passes.append(1))
    for features in (inference, taps(x).features, taps(x).features):
        assert torch.equal(features["1"], net[0](x).relu())
        assert features["1"].max() > 0.01
        assert features["penultimate"].shape == (3, 32)
    assert len(passes) == 3  # the first one twice; then it is known which layer changes


def test_whole_maps_carry_gradients_and_pool_to_the_means(net) -> None:
    x = images(2, 3, 9, 9).requires_grad_()
    whole = Taps(net, ["3"], grid="whole")(x).features["3"]
    means = Taps(net, ["3"])(x).features["3"]
    torch.testing.assert_close(whole.mean((2, 3)), means)
    one, two = (torch.autograd.grad(z.sum(), x)[0] for z in (whole.mean((2, 3)), means))
    torch.testing.assert_close(one, two)


@pytest.mark.parametrize(("layers", "last"), [(["0", "1"], 1), (["3", "1"], 3), (["penultimate"], 5), ("relu", 6)])
@pytest.mark.parametrize("grid", [None, "whole"])
def test_features_stop_behind_the_last_layer_that_is_named(net, layers, last, grid) -> None:
    """Of all activations nobody knows the last one; the head's input is there before the head is called."""
    called = set[int]()
    for place, module in enumerate(net):
        module.register_forward_hook(lambda *_, place=place: called.add(place))
    x, taps = images(3, 3, 9, 9), Taps(net, layers, grid=grid)
    alone = taps.features(x)
    assert called == set(range(last + 1))
    whole = taps(x).features
    assert list(alone) == list(whole)
    assert all(torch.equal(alone[name], value) for name, value in whole.items())
    assert all(len(module._forward_hooks) == 1 and not module._forward_pre_hooks for module in net)


def test_an_unknown_grid() -> None:
    with pytest.raises(InputError, match='"whole"'):
        Taps(nn.Linear(2, 2), "none", grid="full")
