"""Structure of the Shields: shapes, statistics, shared look, gradients, independence of cases."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import medaegis as ma
from defend.toy import network
from medaegis import InputError, NumericsError, Taps
from medaegis.defend import Shielded, Shields, TapPlan, shield_logit, tap_plan

PLAN = TapPlan(("a", "b", "c"), ((3, 9, 12), (5, 4, 6), (6, 4, 6)), "")


def maps(n: int = 4, seed: int = 0, plan: TapPlan = PLAN) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand((n, *size), generator=generator) for name, size in zip(plan.names, plan.sizes, strict=True)
    }


@pytest.mark.parametrize("sizes", [((3, 9), (4, 5)), PLAN.sizes, ((2, 4, 6, 6), (3, 2, 3, 3))])
def test_one_logit_a_class_in_one_to_three_dimensions(sizes) -> None:
    plan = TapPlan(tuple("abc"[: len(sizes)]), sizes, "")
    shields = Shields(plan, 3, width=4)
    assert shields(maps(5, plan=plan)).shape == (5, 3)


def test_logits_and_scores_have_opposite_signs() -> None:
    shields = Shields(PLAN, 2, width=4)
    assert torch.equal(shields.logits(maps()), shields(maps()))
    assert torch.equal(shields.scores(maps()), -shields(maps()))


def test_the_shared_look_equals_each_class_alone() -> None:
    """Standardise the map by hand, then run the entry convolution of one class as torch's own module."""
    shields, seen = Shields(PLAN, 2, width=4).double(), {name: z.double() for name, z in maps().items()}
    shields.standardise([seen])
    for c, net in enumerate(shields.nets):
        entered = []
        for i, z in enumerate(seen.values()):
            mean, scale = z.mean((0, 2, 3), keepdim=True), z.std((0, 2, 3), keepdim=True, correction=0)
            entered.append(net.entries[i]((z - mean) / scale))
        torch.testing.assert_close(shields(seen)[:, c], net(entered), rtol=1e-4, atol=1e-5)


def test_every_tap_of_every_class_counts() -> None:
    shields = Shields(PLAN, 2, width=4)
    before = shields(maps())
    for name in PLAN.names:
        moved = shields(maps() | {name: maps(seed=1)[name]})
        assert (moved != before).all()


def test_a_dead_channel_is_scaled_by_its_layer() -> None:
    """Variances 4 and 0: the floor is (1/20)^2 of their mean, sqrt(2)/20."""
    plan = TapPlan(("a",), ((2, 1, 2),), "")
    shields = Shields(plan, 2)
    shields.standardise([{"a": torch.tensor([[[[1.0, 5.0]], [[3.0, 3.0]]]])}])
    assert shields.scale0.tolist() == pytest.approx([2.0, 2**0.5 / 20])
    assert shields.mean0.tolist() == [3.0, 3.0]


def test_a_case_does_not_depend_on_its_neighbours() -> None:
    shields, seen = Shields(PLAN, 2, width=4), maps(6)
    alone = torch.cat([shields({name: z[i : i + 1] for name, z in seen.items()}) for i in range(6)])
    torch.testing.assert_close(shields(seen), alone, rtol=0, atol=1e-6)


def test_weights_come_from_the_seed_and_leave_the_global_state() -> None:
    before = torch.get_rng_state()
    one, two, other = (Shields(PLAN, 2, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(value, two[key]) for key, value in one.items())
    assert any(not torch.equal(value, other[key]) for key, value in one.items())


def test_classes_begin_with_weights_of_their_own() -> None:
    one, two = Shields(PLAN, 2).nets
    assert not torch.equal(one.head.weight, two.head.weight)


def test_gradients_reach_the_pixels_through_a_step_before_the_network() -> None:
    """Of -S_1, by central differences in float64."""
    net = network().double()
    x = torch.rand(2, 1, 16, 16, dtype=torch.float64)
    system = Shielded(net, Shields(tap_plan(net, x), 2, width=4).double(), preprocess=lambda z: 0.5 * z)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(-system.both(x).shields[:, 1].sum(), x)
    assert (gradient.flatten(1).abs().amax(1) > 0).all()
    way = torch.sign(gradient) * 1e-6
    with torch.no_grad():
        up, down = (-system.both(x + s * way).shields[:, 1].sum() for s in (1, -1))
    assert ((up - down) / 2).item() == pytest.approx((gradient * way).sum().item(), rel=1e-3)


def test_attacks_follow_the_shield_as_a_layer() -> None:
    """More budget must raise the logit more, and the reported objective is minus that logit on the images returned."""
    net = network()
    x, y = torch.rand(6, 1, 16, 16), torch.arange(6) % 2
    system = Shielded(net, Shields(tap_plan(net, x), 2, width=4))
    small, large = (
        ma.run_attack(ma.attack.bim(eps, steps=8, objective=shield_logit), system, x, y, target=1 - y)
        for eps in (1 / 256, 16 / 256)
    )
    assert (large.objective < small.objective).all()
    with torch.no_grad():
        own = system.both(large.x).shields.gather(1, (1 - y)[:, None])[:, 0]
    torch.testing.assert_close(-own, large.objective, rtol=1e-4, atol=1e-5)


def test_the_head_of_the_system_is_the_classifiers() -> None:
    net = network()
    system = Shielded(net, Shields(tap_plan(net, torch.rand(1, 1, 16, 16)), 2, width=4))
    x = torch.rand(3, 1, 16, 16)
    torch.testing.assert_close(
        Taps(system, ["penultimate"])(x).features["penultimate"], Taps(net, ["penultimate"])(x).features["penultimate"]
    )
    assert Taps(system).names(x) == ("classifier.2", "classifier.4", "classifier.6")


def test_errors() -> None:
    shields = Shields(PLAN, 2)
    with pytest.raises(InputError, match="must hold the layer 'b'"):
        shields({"a": maps()["a"]})
    with pytest.raises(InputError, match="with c = 3 at a"):
        shields(maps() | {"a": torch.rand(4, 2, 9, 12)})
    with pytest.raises(InputError, match="with c = 3 at a"):
        shields(maps() | {"a": torch.rand(4, 3)})
    with pytest.raises(InputError, match="`classes` of Shields"):
        Shields(PLAN, 1)
    with pytest.raises(InputError, match="`width` of ShieldNet"):
        Shields(PLAN, 2, width=1)
    with pytest.raises(InputError, match="one number of spatial dimensions"):
        Shields(TapPlan(("a", "b"), ((3, 4, 4), (3, 4)), ""), 2)
    with pytest.raises(NumericsError, match="'b' are not finite"):
        shields.standardise([maps() | {"b": torch.full((4, 5, 4, 6), torch.nan)}])


def test_the_shields_have_no_batch_statistics() -> None:
    norms = (nn.modules.batchnorm._BatchNorm, nn.Dropout)
    assert not [module for module in Shields(PLAN, 2).modules() if isinstance(module, norms)]
