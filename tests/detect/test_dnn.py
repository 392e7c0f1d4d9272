from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from medaegis._errors import InputError, NumericsError
from medaegis.detect import DNN, Examples, _small_net, make_detector
from medaegis.detect._hold_out import hold_out
from medaegis.detect._small_net import Schedule, SmallNet, train_small_net
from medaegis.detect._stacked import stack_examples


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def quick(**options: Any) -> DNN:
    return DNN(8, **{"epochs": 60, "learning_rate": 0.01, **options})


def fitted(detector: DNN, low: Any, high: Any, **groups: Any) -> DNN:
    known = {name: z[:4] for name, z in low.items()} if isinstance(low, dict) else low[:4]
    return detector.fit(known, torch.zeros(4).long(), examples=Examples(low, high, **groups))


# scores


def test_a_net_is_torch_s_own_layers():
    dnn = fitted(quick(), normal(20, 5), normal(20, 5, seed=1) + 1)
    net = dnn.nets_[""]
    layers = [nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 1)]
    for layer, (weight, bias) in zip(layers, (net[2:4], net[4:6], net[6:8]), strict=True):
        layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
    first, second, third = layers
    whole = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)
    query = normal(9, 5, seed=2)
    expected = whole((query - net.mean) / net.scale)[:, 0].detach()
    torch.testing.assert_close(dnn.score(query), expected, rtol=1e-12, atol=1e-12)


def test_by_hand():
    one, zero = torch.ones(1, 1), torch.zeros(1)
    net = SmallNet(torch.tensor([1.0]), torch.tensor([2.0]), 3 * one, zero - 1, -one, zero + 7, 2 * one, zero + 0.5)
    # z = 4: x = 1.5, relu(3.5), relu(3.5), 7.5; z = 0: x = -0.5, relu(-2.5) = 0, 7, 14.5
    assert net(torch.tensor([[4.0], [0.0]])).tolist() == [7.5, 14.5]


def test_learns_what_no_line_separates():
    z = normal(400, 2)
    high = z.prod(dim=1) > 0  # opposite quadrants
    dnn = fitted(DNN(32, learning_rate=0.01), z[~high], z[high])
    query = normal(200, 2, seed=1)
    assert ((dnn.score(query) > 0) == (query.prod(dim=1) > 0)).float().mean() > 0.9


def test_layers_learn_alone_and_are_summed():
    low, high = normal(20, 3), normal(20, 3, seed=1) + 1
    dnn = fitted(quick(), {"a": low, "b": 9 * low[:, :2]}, {"a": high, "b": 9 * high[:, :2]})
    query = {"a": normal(5, 3, seed=2), "b": normal(5, 2, seed=3)}
    scores = dnn.layer_scores(query)
    torch.testing.assert_close(dnn.score(query), scores["a"] + scores["b"], rtol=0, atol=0)
    assert torch.equal(fitted(quick(), low, high).score(query["a"]), scores["a"])


# training


def test_the_seed_decides():
    low, high, query = normal(30, 3), normal(30, 3, seed=1) + 0.5, normal(5, 3, seed=2)
    first, again, other = (fitted(quick(seed=seed), low, high).score(query) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_training_works_inside_no_grad():
    low, high = normal(12, 3), normal(12, 3, seed=1)
    outside = fitted(quick(), low, high).score(low)
    with torch.no_grad():
        assert torch.equal(fitted(quick(), low, high).score(low), outside)


def test_the_fit_part_alone_standardises():
    low, high = normal(20, 3), normal(20, 3, seed=1) + 1
    examples = Examples(low, high)
    positive = torch.arange(40) >= 20
    held = hold_out(examples, positive, "DNN", generator=generator())
    net, rest = fitted(quick(), low, high).nets_[""], torch.cat([low, high])[~held]
    torch.testing.assert_close(net.mean, rest.mean(dim=0))
    torch.testing.assert_close(net.scale, rest.std(dim=0, correction=0))


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6])
def test_a_constant_feature_has_scale_one(constant: float):
    low, high = normal(20, 3), normal(20, 3, seed=1) + 1
    low[:, 1] = high[:, 1] = constant
    dnn = fitted(quick(), low.float(), high.float())
    assert dnn.nets_[""].scale[1] == 1
    assert dnn.score(low).isfinite().all()
    assert dnn.score(low).abs().max() < 100  # float64's 0.1 is not float32's: the difference must not blow up


def test_all_features_equal():
    same = torch.full((8, 2), 0.1)
    assert fitted(quick(), same, same).score(same).abs().max() < 1


def test_the_best_validation_weights_are_kept():
    # pure noise is learned by heart: the last epochs are worse on the held-out part than the best one
    z, positive = normal(60, 10), torch.arange(60) % 2 == 0
    held = torch.arange(60) % 4 < 2

    def loss(patience: int, epochs: int) -> float:
        schedule = Schedule(16, epochs, patience, 0.02, 16)
        net = train_small_net(z, positive, held, schedule, generator=generator())
        return float(nn.functional.binary_cross_entropy_with_logits(net(z[held]), positive[held].double()))

    losses = [loss(1000, epochs) for epochs in (1, 5, 20, 80)]
    assert losses == sorted(losses, reverse=True)  # more epochs can only find a better one
    assert losses[-1] < 1  # 80 epochs of overfitting alone would be far above ln 2
    assert loss(3, 80) >= losses[-1]  # stopping early sees fewer


def test_training_stops_after_patience(monkeypatch: pytest.MonkeyPatch):
    losses: list[float] = []
    measure = _small_net._loss

    def recorded(*parts: Any) -> float:
        losses.append(measure(*parts))
        return losses[-1]

    monkeypatch.setattr(_small_net, "_loss", recorded)
    fitted(quick(epochs=200, patience=7), normal(30, 10), normal(30, 10, seed=1))  # nothing to learn
    assert len(losses) < 200
    assert losses.index(min(losses)) == len(losses) - 1 - 7


def test_training_that_diverges_says_so():
    with pytest.raises(NumericsError, match=r"no finite validation loss.*Lower the learning rate"):
        fitted(quick(learning_rate=1e200), normal(30, 3), normal(30, 3, seed=1))


def test_sides_weigh_alike():
    # the same cases on both sides, nine times as many negatives: chance is a logit of 0, not of -ln 9
    z = normal(40, 2)
    scores = fitted(quick(), z.repeat(9, 1), z).score(z)
    assert scores.mean().abs() < 0.5


# what is held out


def held_out(low: int, high: int, seed: int = 0, **groups: Any) -> tuple[Tensor, Tensor]:
    examples = Examples(torch.zeros(low, 1), torch.zeros(high, 1), **groups)
    held = hold_out(examples, torch.arange(low + high) >= low, "DNN", generator=generator(seed))
    return held[:low], held[low:]


@pytest.mark.parametrize("seed", range(5))
def test_patients_are_held_out_whole(seed: int):
    low = [f"p{i // 3}" for i in range(60)]  # 20 patients of three clean cases
    high = [f"p{i}" for i in range(1, 20)]  # and one adversarial case of nineteen
    first, second = held_out(60, 19, seed, negative_groups=low, positive_groups=high)
    held = {g for g, h in zip(low + high, [*first, *second], strict=True) if h}
    kept = {g for g, h in zip(low + high, [*first, *second], strict=True) if not h}
    assert not held & kept
    assert 10 <= int(first.sum()) <= 18
    assert 3 <= int(second.sum()) <= 6


def test_twins_are_held_out_together():
    for n in (4, 5, 40):
        first, second = held_out(n, n)
        assert torch.equal(first, second)
        assert int(first.sum()) == n // 4


def test_cases_are_held_out_by_side():
    first, second = held_out(40, 9)
    assert (int(first.sum()), int(second.sum())) == (10, 2)


@pytest.mark.parametrize("seed", range(5))
def test_one_big_patient_stays(seed: int):
    low, high = ["big"] * 20 + ["a", "b"], ["big"] * 20 + ["a", "c"]
    first, second = held_out(22, 22, seed, negative_groups=low, positive_groups=high)
    assert not first[:20].any()
    assert first.any()
    assert second.any()


def test_no_two_patients_a_side_cannot_be_held_out():
    one = {"negative_groups": ["p"] * 5, "positive_groups": ["p"] * 5}
    with pytest.raises(InputError, match=r"at least two groups a side.*got 1 groups"):
        held_out(5, 5, **one)
    two = {"negative_groups": ["p"] * 5, "positive_groups": ["p"] * 4 + ["q"]}
    with pytest.raises(InputError, match="Give cases of more patients"):
        held_out(5, 5, **two)


def test_errors_say_what_to_do():
    low, high = normal(9, 3), normal(9, 3)
    z, labels = normal(4, 3), torch.zeros(4).long()
    bad = {
        r"DNN learns from attacks: fit\(features, labels, examples=": None,
        r"at least 4 negative and 4 positive cases, got \(3, 9\)": Examples(low[:3], high),
        "groups of both sides or of none": Examples(low, high, negative_groups=["p"] * 9),
        "`positive_groups` of DNN must be one group a case, 9, got 2": Examples(
            low, high, negative_groups=["p"] * 9, positive_groups=["p", "q"]
        ),
        "DNN's positive examples must be finite": Examples(low, high * torch.inf),
    }
    for message, given in bad.items():
        with pytest.raises(InputError, match=message):
            DNN().fit(z, labels, examples=given)
    for name in ("hidden", "epochs", "patience", "batch_size", "learning_rate"):
        with pytest.raises(InputError, match=f"`{name}` of DNN"):
            make_detector("DNN", **{name: 0})
    with pytest.raises(InputError, match="`seed` of DNN"):
        make_detector("DNN", seed=0.5)


def test_stacked_examples_keep_no_graph():
    examples = Examples(normal(4, 2).requires_grad_(), normal(4, 2))
    stacked = stack_examples(examples, {"": normal(4, 2)}, "DNN", least=4)
    assert not stacked.layers[""].requires_grad


def test_the_images_door_hands_patients_on(monkeypatch: pytest.MonkeyPatch):
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)).eval()
    seen = list[Examples]()
    monkeypatch.setattr(DNN, "fit", lambda self, known, labels, *, examples: seen.append(examples))
    x, names = torch.rand(6, 1, 8, 8, generator=generator()), list("aabbcc")
    DNN().fit_images(
        net, x, torch.arange(6) % 2, negative=x, positive=x + 0.1, negative_groups=names, positive_groups=names[::-1]
    )
    assert (seen[0].negative_groups, seen[0].positive_groups) == (names, names[::-1])
