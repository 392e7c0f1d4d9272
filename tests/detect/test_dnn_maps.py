"""DNN on pooled activation maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from medaegis._errors import InputError
from medaegis.detect import DNN, MAHA, Combined, Examples, evading, extract, guard, make_detector
from medaegis.detect._hold_out import hold_out
from medaegis.detect._small_net import SmallNet, _start

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def quick(**options: Any) -> DNN:
    return DNN(8, **{"maps": 4, "epochs": 40, "learning_rate": 0.01, **options})


def fitted(detector: DNN, low: Any, high: Any, **groups: Any) -> DNN:
    known = {name: z[:4] for name, z in low.items()} if isinstance(low, dict) else low[:4]
    return detector.fit(known, torch.zeros(4).long(), examples=Examples(low, high, **groups))


@pytest.mark.parametrize("spaces", [1, 2, 3])
def test_a_net_is_torch_s_own_layers(spaces: int):
    side = (3,) * spaces
    dnn = fitted(quick(maps=3, epochs=5), normal(20, 5, *side), normal(20, 5, *side, seed=1) + 1)
    net, convolution = dnn.nets_[""], CONVOLUTIONS[spaces]
    layers = [convolution(5, 8, 3, padding=1), convolution(8, 8, 3, padding=1), nn.Linear(8, 1)]
    for layer, (weight, bias) in zip(layers, (net[2:4], net[4:6], net[6:8]), strict=True):
        layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
    whole = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU())
    query = normal(9, 5, *side, seed=2)
    x = (query - net.mean.reshape(5, *[1] * spaces)) / net.scale.reshape(5, *[1] * spaces)
    expected = layers[2](whole(x).flatten(2).mean(dim=2))[:, 0].detach()
    torch.testing.assert_close(dnn.score(query), expected, rtol=1e-12, atol=1e-12)


def test_by_hand():
    # one channel and a kernel that takes each place and its right neighbour: maps (1, -2), (0, 3), mean 0, scale 1
    kernel, none = torch.zeros(1, 1, 3, 3), torch.zeros(1)
    kernel[0, 0, 1, 1] = kernel[0, 0, 1, 2] = 1
    centre = torch.zeros(1, 1, 3, 3)
    centre[0, 0, 1, 1] = -1
    net = SmallNet(none, none + 1, kernel, none, centre, none + 4, torch.ones(1, 1), none + 0.5)
    # sums: (-1, -2), (3, 3); relu (0, 0), (3, 3); 4 - those: (4, 4), (1, 1); mean 2.5
    assert net(torch.tensor([[[[1.0, -2.0], [0.0, 3.0]]]])).tolist() == [3.0]


@pytest.mark.parametrize("side", [(), (4,), (4, 4)])
def test_first_weights_are_as_wide_as_torch_s_own(side: tuple[int, ...]):
    net = _start(normal(9, 50, *side), 40, torch.Generator().manual_seed(0))
    for part, inputs in zip(net[2:], (50, 50, 40, 40, 40, 40), strict=True):
        places = 3 ** len(side) if part is not net.weight3 and part is not net.bias3 else 1
        bound = 1 / (inputs * places) ** 0.5
        assert part.abs().max() <= bound
        assert part.numel() == 1 or part.abs().max() > 0.9 * bound


def test_learns_what_channel_means_do_not_show():
    """Both sides have a bright column and the same means; only where it lies differs from place to place."""
    noise = 0.3 * normal(2, 60, 2, 4, 4)
    apart, beside = noise[0].clone(), noise[1].clone()
    apart[:, 0, :, 0], apart[:, 1, :, 3] = apart[:, 0, :, 0] + 2, apart[:, 1, :, 3] + 2
    beside[:, 0, :, 0], beside[:, 1, :, 0] = beside[:, 0, :, 0] + 2, beside[:, 1, :, 0] + 2
    train, held = slice(0, 40), slice(40, 60)
    dnn = fitted(quick(), apart[train], beside[train])
    right = torch.cat([dnn.score(apart[held]) < 0, dnn.score(beside[held]) > 0]).double().mean()
    assert right > 0.9
    low, high = (z[train].mean(dim=(2, 3)) for z in (apart, beside))
    means = fitted(quick(maps=None), low, high)
    low, high = (z[held].mean(dim=(2, 3)) for z in (apart, beside))
    assert torch.cat([means.score(low) < 0, means.score(high) > 0]).double().mean() < 0.75


def test_what_tells_the_sides_apart_is_not_linear():
    """Without a non-linearity between convolutions the mean over places is linear in the maps' own sums."""
    low, high = normal(60, 1, 4, 4), normal(60, 1, 4, 4, seed=1)
    high[:, :, ::2] *= 3  # the same mean, 0, and stripes of a larger spread
    dnn = fitted(quick(), low[:40], high[:40])
    assert torch.cat([dnn.score(low[40:]) < 0, dnn.score(high[40:]) > 0]).double().mean() > 0.85


def test_the_fit_part_alone_standardises_by_channel():
    low, high = normal(20, 3, 4, 4), normal(20, 3, 4, 4, seed=1) + 1
    low[:, 2] = high[:, 2] = 0.1
    generator = torch.Generator().manual_seed(0)
    held = hold_out(Examples(low, high), torch.arange(40) >= 20, "DNN", generator=generator)
    net, rest = fitted(quick(epochs=2), low, high).nets_[""], torch.cat([low, high])[~held].transpose(0, 1).flatten(1)
    torch.testing.assert_close(net.mean, rest.mean(dim=1))
    torch.testing.assert_close(net.scale[:2], rest.std(dim=1, correction=0)[:2])
    assert net.scale[2] == 1


def test_the_seed_decides_and_training_leaves_torch_alone():
    low, high, query = normal(12, 3, 4, 4), normal(12, 3, 4, 4, seed=1) + 0.5, normal(5, 3, 4, 4, seed=2)
    before = torch.backends.cudnn.deterministic
    first, again, other = (fitted(quick(seed=seed, epochs=3), low, high).score(query) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.backends.cudnn.deterministic == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_seed_decides_on_a_gpu():
    low, high = normal(64, 32, 4, 4).cuda(), normal(64, 32, 4, 4, seed=1).cuda() + 0.2
    here = fitted(quick(epochs=3), low.cpu(), high.cpu()).score(low.cpu())
    first, again = (fitted(quick(epochs=3), low, high).score(low) for _ in range(2))
    assert torch.equal(first, again)
    torch.testing.assert_close(first.cpu(), here, rtol=1e-6, atol=1e-6)


def test_maps_and_vectors_side_by_side(tmp_path: Path):
    low = {"a": normal(20, 3, 4, 4), "b": normal(20, 6)}
    high = {"a": normal(20, 3, 4, 4, seed=1) + 1, "b": normal(20, 6, seed=1) + 1}
    dnn = fitted(quick(), low, high)
    query = {"a": normal(5, 3, 4, 4, seed=2), "b": normal(5, 6, seed=3)}
    scores = dnn.layer_scores(query)
    assert torch.equal(fitted(quick(maps=None), low["b"], high["b"]).score(query["b"]), scores["b"])
    dnn.save(tmp_path / "dnn")
    back = DNN.load(tmp_path / "dnn")
    assert torch.equal(back.score(query), scores["a"] + scores["b"])
    assert (back.maps, back.map_side) == (4, 4)


def network(spaces: int) -> nn.Module:
    convolution, pool = CONVOLUTIONS[spaces], {2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}[spaces]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(convolution(1, 3, 3), nn.ReLU(), pool(1), nn.Flatten(), nn.Linear(3, 2)).eval()


@pytest.mark.parametrize("spaces", [2, 3])
def test_the_images_door_reads_maps(spaces: int):
    net = network(spaces)
    draw = torch.Generator().manual_seed(0)
    x, low, high = (torch.rand(8, 1, *(10,) * spaces, generator=draw) ** p for p in (1, 1, 2))
    dnn = quick(maps=2, epochs=3).fit_images(net, x, torch.arange(8) % 2, negative=low, positive=high)
    assert dnn.needs_images
    assert dnn.nets_["1"].weight1.shape == (8, 3, *(3,) * spaces)
    tapped = extract(net, x, "relu", batch_size=3, grid=2)
    assert tapped.features["1"].shape == (8, 3, *(2,) * spaces)
    torch.testing.assert_close(dnn.score_images(net, x), dnn.score(tapped.features), rtol=1e-5, atol=1e-6)
    flagged = dnn.calibrate_images(net, low, tnr=0.75).score_images(net, low) > dnn.threshold_
    assert int(flagged.sum()) == 2


def test_errors_say_what_to_do():
    maps, vectors = normal(9, 3, 4, 4), normal(9, 3)
    dnn = fitted(quick(epochs=1), maps, maps + 1)
    bad = {
        r"`features` of MAHA must be \(n, d\), or layer names": lambda: MAHA().fit(maps, torch.zeros(9)),
        r"maps \(n, c, 4, \.\.\.\).*got \(9, 3, 2, 2\)": lambda: dnn.score(normal(9, 3, 2, 2)),
        r"\(n, d\), or layer names with such tensors, got": lambda: fitted(quick(maps=None), maps, maps),
        "as many channels as in fit": lambda: dnn.score(normal(9, 5, 4, 4)),
        r"of as many dimensions as in fit, \[4\], got \{'': \(9, 3\)\}": lambda: dnn.score(vectors),
        "DNN's positive examples must be of as many dimensions": lambda: fitted(quick(), maps, vectors),
        "finite": lambda: dnn.score(maps * torch.nan),
    }
    for message, call in bad.items():
        with pytest.raises(InputError, match=message):
            call()
    for maps_of in (0, 2.0, True, "4"):
        with pytest.raises(InputError, match="`maps` of DNN must be an int >= 1, or None"):
            make_detector("DNN", maps=maps_of)


def test_those_who_see_channel_means_alone_refuse_it():
    maps = normal(9, 3, 4, 4)
    for detector in (fitted(quick(epochs=1), maps, maps + 1), Combined(quick())):
        for use in (evading, guard):
            with pytest.raises(InputError, match="detectors that score channel means"):
                use(detector)
