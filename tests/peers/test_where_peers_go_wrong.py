"""What PITFALLS of attacks the installed toolboxes have, each beside what medaegis does; and which they have not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from medaegis import run_attack
from medaegis._types import Tapped
from medaegis.attack import DiverseInput, Goal, Margin, bim, mim, pgd_l2, tim
from peers.toolboxes import art, art_classifier, foolbox, torchattacks
from peers.worlds import World, world

EPS = 4 / 256


class Plateau(nn.Module):
    """Two classes of one number, the mean pixel m: slope to 0.51, nothing to 0.53, slope again."""

    def forward(self, x: Tensor) -> Tensor:
        m = x.mean(dim=(1, 2, 3))
        height = m.clamp(max=0.51) + (m - 0.53).clamp(min=0)
        return torch.stack([0 * height, 10 * (height - 0.52)], dim=1)


def gray(value: float, net: nn.Module, cases: int = 1) -> World:
    zeros = torch.zeros(cases, dtype=torch.int64)
    return World("gray", net, torch.full((cases, 1, 4, 4), value), zeros, None)


def linear(shift: float, size: int = 16) -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(size, 2))
    with torch.no_grad():
        net[1].weight.copy_(torch.stack([torch.ones(size), -torch.ones(size)]) / size)
        net[1].bias.copy_(torch.tensor([0.0, 0.99]) + shift)
    return net.eval()


def run(attack: Any, where: World) -> Tensor:
    return run_attack(attack, where.net, where.x, where.y, target=where.target).x


@pytest.mark.parametrize("name", ["MIFGSM", "DIFGSM"])
def test_torchattacks_momentum_freezes_a_case_for_good_after_one_zero_gradient(name: str) -> None:
    where = gray(0.5, Plateau())
    off = {"diversity_prob": 0.0} if name == "DIFGSM" else {}
    frozen = torchattacks(name, eps=0.1, alpha=0.02, steps=5, decay=1.0, **off)(where)
    torch.testing.assert_close(frozen, torch.full_like(frozen, 0.52))  # one step, then NaN, whose sign is 0
    torch.testing.assert_close(run(mim(0.1, steps=5, step_size=0.02), where), torch.full_like(frozen, 0.6))


def test_torchattacks_tim_cannot_take_gray_images() -> None:
    where = world("small", 1, 2, targeted=False)
    with pytest.raises(RuntimeError, match="groups"):
        torchattacks("TIFGSM", eps=EPS, diversity_prob=0.0)(where)
    assert run(tim(EPS, steps=3), where).shape == where.x.shape


def test_torchattacks_pgd_l2_cannot_take_volumes() -> None:
    x = torch.rand(3, 1, 4, 4, 4)
    where = World("volume", nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), x, torch.zeros(3, dtype=torch.int64), None)
    with pytest.raises(RuntimeError):
        torchattacks("PGDL2", random_start=False)(where)
    assert run(pgd_l2(0.5, steps=3, norm="l2"), where).shape == x.shape


def test_torchattacks_margin_changes_with_a_constant_added_to_all_logits() -> None:
    import torchattacks as box

    margin = box.CW(linear(0.0)).f
    found = [margin(torch.tensor([[3.0, 1.0]]) + shift, torch.tensor([0])).item() for shift in (-50.0, 0.0, 50.0)]
    assert found == [0.0, 2.0, 2.0]
    goal = Goal(torch.tensor([0]), None)
    ours = [Margin()(Tapped(torch.tensor([[3.0, 1.0]]) + shift, {}), goal).item() for shift in (-50.0, 0.0, 50.0)]
    assert ours == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("shift", [-50.0, 0.0, 50.0])
def test_torchattacks_cw_succeeds_or_not_by_a_constant_added_to_all_logits(shift: float) -> None:
    where = gray(0.5, linear(shift))
    where = where._replace(y=where.net(where.x).argmax(dim=1))
    reached = bool(where.fooled(torchattacks("CW", c=10, steps=50, lr=0.01)(where)).all())
    assert reached == (shift >= 0)
    assert bool(where.fooled(run(bim(0.1, steps=10, objective=Margin()), where)).all())


def test_torchattacks_cw_never_moves_a_pixel_at_0_or_1() -> None:
    where = world("small", 1, 2, targeted=False)
    ends = (where.x == 0) | (where.x == 1)
    moved = (torchattacks("CW", c=100, steps=50, lr=0.1)(where) - where.x).abs()
    assert ends.any()
    assert moved[~ends].max() > 0.01
    assert moved[ends].max() == 0
    assert (run(bim(EPS, steps=5), where) - where.x).abs()[ends].max() > 0


def test_foolbox_cw_hardly_moves_a_pixel_at_0_or_1() -> None:
    """Pixels enter at 0.999999 of the range, where tanh is flat: they move, but by nothing to speak of."""
    where = world("small", 1, 2, targeted=False)
    ends = (where.x == 0) | (where.x == 1)
    settings = {"steps": 50, "binary_search_steps": 3, "initial_const": 1000.0, "stepsize": 0.01}
    moved = (foolbox("L2CarliniWagnerAttack", None, **settings)(where) - where.x).abs()
    assert moved[~ends].max() > 0.001
    assert moved[ends].max() < 1e-4


def test_torchattacks_dim_draws_once_for_a_whole_batch() -> None:
    where = world("small", 3, 5, targeted=False)
    twins = where._replace(x=where.x[:1].repeat(8, 1, 1, 1), y=where.y[:1].repeat(8))
    same = torchattacks("DIFGSM", eps=EPS, steps=3, diversity_prob=1.0)(twins)
    assert all(torch.equal(case, same[0]) for case in same)
    ours = run(bim(EPS, steps=3).through(DiverseInput(0.5, 1.0)), twins)
    assert not any(torch.equal(case, ours[0]) for case in ours[1:])


def test_torchattacks_normalisation_flag_is_wrong_after_an_exception() -> None:
    import torchattacks as box

    where = world("small", 1, 2, targeted=False)
    attack = box.FGSM(where.net, eps=EPS)
    attack.set_normalization_used(mean=[0.5], std=[0.5])
    with pytest.raises(RuntimeError):
        attack(torch.rand(2, 7, 5, 5), where.y[:2])
    assert attack._normalization_applied is False


def test_torchattacks_unfreezes_a_batch_norm_that_its_owner_froze() -> None:
    from contracts.attack_list import small_net

    for use, frozen_after in (("peer", False), ("ours", True)):
        net = small_net(1, 2).train()
        net[1].eval()
        where = world("small", 1, 2, targeted=False)._replace(net=net)
        _ = torchattacks("FGSM", eps=EPS)(where) if use == "peer" else run(bim(EPS, steps=1), where)
        assert (not net[1].training) is frozen_after
        assert net[0].training


def test_art_leaves_a_network_in_evaluation_mode_and_its_gradients_wiped() -> None:
    from art.attacks.evasion import FastGradientMethod

    from contracts.attack_list import small_net

    net = small_net(1, 2).train()
    where = world("small", 1, 2, targeted=False)._replace(net=net)
    for parameter in net.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    run(bim(EPS, steps=1), where)
    assert net.training
    assert all(bool((parameter.grad == 7).all()) for parameter in net.parameters())
    FastGradientMethod(art_classifier(where), eps=EPS).generate(where.x.numpy(), where.y.numpy())
    assert not net.training
    assert not any(bool((parameter.grad == 7).all()) for parameter in net.parameters())


def test_foolbox_adds_to_the_gradients_of_the_parameters() -> None:
    from contracts.attack_list import small_net

    where = world("small", 1, 2, targeted=False)._replace(net=small_net(1, 2))
    foolbox("LinfBasicIterativeAttack", EPS, steps=2)(where)
    assert any(parameter.grad is not None for parameter in where.net.parameters())


def test_art_leaves_a_hook_at_each_look_at_activations() -> None:
    where = world("small", 1, 2, targeted=False)
    classifier = art_classifier(where)
    before = _hooks(classifier.model)
    for _ in range(3):
        classifier.get_activations(where.x, 0, batch_size=8, framework=True)
    after = _hooks(classifier.model)
    for module in classifier.model.modules():
        module._forward_hooks.clear()
    assert after - before == 3


def _hooks(net: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in net.modules())


def test_torchattacks_apgd_sets_the_global_seed() -> None:
    where = world("small", 1, 5, targeted=False)
    torch.manual_seed(1234)
    torchattacks("APGD", eps=EPS, steps=2)(where)
    assert torch.initial_seed() == 0


def test_torchattacks_apgd_with_dlr_has_no_answer_for_two_classes() -> None:
    with pytest.raises(IndexError):
        torchattacks("APGD", eps=EPS, steps=2, loss="dlr")(world("small", 1, 2, targeted=False))


def test_torchattacks_apgd_gives_a_case_that_is_not_fooled_back_unchanged() -> None:
    where = world("small", 1, 2, targeted=False)
    kept = torchattacks("APGD", eps=1e-4, steps=5)(where)
    assert torch.equal(kept[~where.fooled(kept)], where.x[~where.fooled(kept)])
    assert not bool(where.fooled(kept).all())


def test_torchattacks_pgd_l2_starts_near_the_centre_of_the_ball() -> None:
    """A radius uniform in [0, eps] is not a point uniform in a ball of 144 dimensions, where most lies at the rim."""
    where = world("small", 1, 2, targeted=False)
    inner = where._replace(x=torch.full((200, 1, 12, 12), 0.5), y=torch.zeros(200, dtype=torch.int64))
    radius = (torchattacks("PGDL2", eps=1.0, steps=0)(inner) - inner.x).flatten(1).norm(dim=1)
    ours = (run(pgd_l2(1.0, steps=1, step_size=1e-9, norm="l2"), inner) - inner.x).flatten(1).norm(dim=1)
    assert radius.median() < 0.7
    assert ours.median() > 0.98


def test_linf_starts_of_the_installed_peers_are_two_sided() -> None:
    """No pitfall in these versions: torchattacks, foolbox and ART draw from [-eps, eps]."""
    from art.utils import random_sphere

    where = world("small", 3, 2, targeted=False)
    inner = where._replace(x=torch.full_like(where.x, 0.5))
    starts = [torchattacks("PGD", eps=EPS, steps=0)(inner) - 0.5, foolbox("LinfPGD", EPS, steps=0)(inner) - 0.5]
    starts.append(torch.from_numpy(random_sphere(8, 100, EPS, "inf")))
    assert all(start.min() < -0.9 * EPS and start.max() > 0.9 * EPS for start in starts)


def test_budgets_of_the_installed_peers_are_in_pixels_when_they_are_told_of_the_normalisation() -> None:
    """No pitfall in these versions, as long as mean and std are declared."""
    import foolbox as box
    from art.attacks.evasion import FastGradientMethod

    where = world("small", 3, 2, targeted=False)
    model = box.PyTorchModel(where.net, bounds=(0, 1), preprocessing={"mean": [0.5] * 3, "std": [0.2] * 3, "axis": -3})
    made = box.attacks.LinfFastGradientAttack()(model, where.x, where.y, epsilons=EPS)[1]
    assert (made - where.x).abs().max() <= EPS + 1e-6
    classifier = art_classifier(where, preprocessing=(0.5, 0.2))
    made = FastGradientMethod(classifier, eps=EPS).generate(where.x.numpy(), where.y.numpy())
    assert abs(made - where.x.numpy()).max() <= EPS + 1e-6


def test_peers_leave_the_ball_by_rounding_and_ours_does_not() -> None:
    where = world("small", 3, 5, targeted=False)
    eps = 8 / 255
    peers = [torchattacks("PGD", eps=eps, steps=8), foolbox("LinfPGD", eps, steps=8)]
    peers.append(art("BasicIterativeMethod", eps=eps, eps_step=eps / 4, max_iter=8))
    worst = [(made(where).double() - where.x.double()).abs().max().item() for made in peers]
    assert all(eps < size < eps + 1e-6 for size in worst)
    assert (run(bim(eps, steps=8), where).double() - where.x.double()).abs().max() <= eps


def test_torchattacks_saved_as_integers_is_cut_not_rounded() -> None:
    import torchattacks as box

    kept = box.attack.Attack.to_type(torch.tensor([100 / 256, 101 / 256, 0.999]), "int")
    assert kept.tolist() == [99, 100, 254]
