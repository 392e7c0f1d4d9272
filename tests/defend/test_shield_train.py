"""Training: it learns to reject, it resumes bit for bit, the classifier stays, it says what went wrong."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import medaegis as ma
from defend.toy import fooled_network, network, toy_cases, toy_images
from medaegis import DataError, InputError, NumericsError
from medaegis.attack import BPDA
from medaegis.defend import (
    DefenceWarning,
    Shielded,
    Shields,
    ShieldSettings,
    TrainedShields,
    TrainingAttack,
    _shield_epoch,
    shield_logit,
    shield_logits,
    train_shields,
)
from medaegis.models import Cases

QUICK = ShieldSettings(
    attacks=(TrainingAttack(steps=2, smallest=0.5), TrainingAttack(steps=2, move="adam")),
    epochs=3,
    growing=2,
    batch_size=8,
    width=4,
    stuck_after=99,
    probe_cases=0,
)


def train(net: nn.Module | None = None, settings: ShieldSettings = QUICK, n: int = 20, **options) -> TrainedShields:
    return train_shields(net or network(), toy_cases(n, 1), settings=settings, **({"seed": 3} | options))


def assert_equal(one: TrainedShields, two: TrainedShields) -> None:
    assert one.history == two.history
    other = two.shields.state_dict()
    assert all(torch.equal(value, other[key]) for key, value in one.shields.state_dict().items())


@pytest.fixture(scope="module")
def fooled() -> nn.Sequential:
    return fooled_network()


@pytest.fixture(scope="module")
def learned(fooled) -> TrainedShields:
    eps = 8 / 256
    rest = {"last_eps": eps, "batch_size": 16, "learning_rate": 0.01, "width": 8}
    settings = ShieldSettings((TrainingAttack(steps=5),), epochs=6, growing=3, **rest)
    return train_shields(fooled, toy_cases(96, 1), settings=settings, seed=0)


def test_it_rejects_attacks_that_an_untrained_one_lets_pass(fooled, learned) -> None:
    """PGD on cross-entropy at the training budget, which the Shields have never seen: AUC over fooled images."""
    x, y = toy_images(64, 99)
    made = ma.run_attack(ma.attack.pgd(8 / 256, steps=20), fooled, x, y, target=1 - y)
    assert made.fooled.float().mean() > 0.3
    areas = []
    for shields in (learned.shields, Shields(learned.shields.plan, 2, width=8)):
        system = Shielded(fooled, shields)
        scores = []
        for images in (x, made.x[made.fooled]):
            logits, own = shield_logits(system, images)
            scores.append(-own.gather(1, logits.argmax(1)[:, None])[:, 0].numpy())
        areas.append(ma.auc(*scores).value)
    assert areas[0] > 0.95
    assert areas[1] < 0.8


def test_it_resists_the_attack_that_it_learned_from_with_more_steps(fooled, learned) -> None:
    x, y = toy_images(32, 98)
    system = Shielded(fooled, learned.shields)
    attack = replace(TrainingAttack(steps=40)).at(8 / 256)
    made = ma.run_attack(attack, system, x, y, target=1 - y)
    clean = shield_logits(system, x).shields.gather(1, y[:, None])[:, 0]
    assert ma.auc((-clean).numpy(), made.objective.numpy()).value > 0.95


def test_the_white_box_attack_wins_where_an_image_can_become_one_of_the_other_class(fooled, learned) -> None:
    """The classes are 0.38 apart in every pixel of the blob: at a budget of 0.4 an attack that fails is a weak one."""
    system, (x, y) = Shielded(fooled, learned.shields), toy_images(32, 97)
    attack = ma.attack.cw_linf(0.4, steps=60, kappa=1.0).plus(shield_logit)
    made = ma.run_attack(attack, system, x, y, target=1 - y)
    clean, attacked = (shield_logits(system, images).shields for images in (x, made.x))
    scores = -clean.gather(1, y[:, None])[:, 0], -attacked.gather(1, (1 - y)[:, None])[:, 0]
    assert made.fooled.all()
    assert ma.auc(*(score.numpy() for score in scores)).value < 0.5


def test_history(learned) -> None:
    budgets = [round(256 * entry["eps"], 6) for entry in learned.history]
    assert budgets == [1, 4.5, 8, 8, 8, 8]
    assert [entry["epoch"] for entry in learned.history] == [1, 2, 3, 4, 5, 6]
    losses = {"clean_loss", "adversarial_loss", "validation_loss", "loss_0", "loss_1"}
    assert set(learned.history[0]) == losses | {"epoch", "eps", "attack_success", "validation_auc"}
    assert learned.history[-1]["adversarial_loss"] < 0.2
    assert learned.history[-1]["validation_auc"] > 0.95


def test_the_classifier_stays_as_it_is() -> None:
    """Also its mode, its hooks and who wants gradients, and a BatchNorm in training mode must not count."""
    net = network().train()
    net[3].weight.requires_grad_(False)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    modes, wanted = [m.training for m in net.modules()], [p.requires_grad for p in net.parameters()]
    train(net)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert [m.training for m in net.modules()] == modes
    assert [p.requires_grad for p in net.parameters()] == wanted
    assert all(p.grad is None for p in net.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_equal_seeds_give_equal_shields_and_leave_the_global_state() -> None:
    before = torch.get_rng_state()
    one, two = train(), train()
    assert torch.equal(before, torch.get_rng_state())
    assert_equal(one, two)
    assert train(seed=4).history != one.history


class Killed(BaseException):
    pass


@pytest.mark.parametrize("kill_at", [3, 9, 14])
def test_resumes_bit_for_bit_after_a_kill(tmp_path, kill_at) -> None:
    """Of 20 cases 16 are learned from: 3 reads before the first epoch, then 2 to learn and 2 to validate in each."""
    settings = replace(QUICK, flip=True, shift=0.1, average=0.9)
    whole, (x, y), calls = train(settings=settings), toy_images(20, 1), [0]

    def images(index: Tensor) -> Tensor:
        calls[0] += 1
        if calls[0] == kill_at:
            raise Killed
        return x[index]

    with pytest.raises(Killed):
        train_shields(network(), Cases(images, y), settings=settings, seed=3, checkpoint=tmp_path)
    assert (tmp_path / "checkpoint.pt").is_file() == (kill_at > 7)
    assert_equal(train(settings=settings, checkpoint=tmp_path), whole)
    assert_equal(train(settings=settings, checkpoint=tmp_path), whole)  # nothing left to do


LONGER = replace(QUICK, attacks=(TrainingAttack(steps=3),), epochs=2, growing=1, average=0.5)


def test_a_second_training_goes_on_from_the_first() -> None:
    """Both at once, or one after the other with `start`, which stays as it is."""
    first = train()
    before = {key: value.clone() for key, value in first.shields.state_dict().items()}
    second = train(settings=LONGER, start=first.shields)
    assert all(torch.equal(before[key], value) for key, value in first.shields.state_dict().items())
    both = train(settings=replace(QUICK, then=LONGER))
    assert [epoch["epoch"] for epoch in both.history] == [1, 2, 3, 4, 5]
    assert_equal(both, second._replace(history=both.history))
    assert both.history[:3] == first.history
    anew = train(settings=LONGER)
    assert anew.history != second.history


@pytest.mark.parametrize("kill_at", [9, 22])  # in the first, in the second
def test_a_second_training_resumes(tmp_path, kill_at) -> None:
    settings = replace(QUICK, then=LONGER)
    cases, n = toy_cases(20, 1), 0

    def images(index: Tensor) -> Tensor:
        nonlocal n
        n += 1
        if n == kill_at:
            raise KeyboardInterrupt
        return cases.images(index)

    with pytest.raises(KeyboardInterrupt):
        train_shields(network(), Cases(images, cases.labels), settings=settings, seed=3, checkpoint=tmp_path)
    assert (tmp_path / "then").exists() == (kill_at > 20)
    assert_equal(train(settings=settings, checkpoint=tmp_path), train(settings=settings))


def test_shields_to_go_on_from_must_fit() -> None:
    first = train(settings=replace(QUICK, epochs=1, growing=1))
    with pytest.raises(InputError, match="`start` of train_shields"):
        train(settings=replace(LONGER, width=6), start=first.shields)


def test_the_running_mean_is_kept_in_place_of_the_weights() -> None:
    """A mean that forgets at once is the weights themselves; one that remembers stays nearer to the start."""
    at_once, plain = train(settings=replace(QUICK, average=1e-9)), train()
    one, other = at_once.shields.state_dict(), plain.shields.state_dict()
    assert all(torch.allclose(value, other[key], atol=1e-6) for key, value in one.items())
    start = Shields(plain.shields.plan, 2, width=QUICK.width, seed=3).state_dict()
    slow = train(settings=replace(QUICK, average=0.99)).shields.state_dict()
    names = [key for key in start if key.endswith("weight")]
    far = [sum(float((kept[key] - start[key]).square().sum()) for key in names) for kept in (other, slow)]
    assert far[1] < 0.5 * far[0]


def test_training_images_are_moved_and_validation_is_not() -> None:
    moved = train(settings=replace(QUICK, flip=True, shift=0.2, epochs=1))
    plain = train(settings=replace(QUICK, epochs=1))
    assert moved.history != plain.history
    assert torch.equal(moved.validation, plain.validation)


def test_few_validation_cases_come_from_the_classes_in_turn() -> None:
    labels = toy_images(60, 1)[1]
    few = train(settings=replace(QUICK, epochs=1, validation_cases=6), n=60)
    assert labels[few.validation].tolist().count(0) == 3
    assert len(few.validation) == 6
    every = train(settings=replace(QUICK, epochs=1), n=60)
    assert set(few.validation.tolist()) <= set(every.validation.tolist())
    assert torch.equal(few.train, every.train)


def test_another_classifier_or_seed_starts_anew(tmp_path) -> None:
    train(checkpoint=tmp_path)
    assert_equal(train(checkpoint=tmp_path, seed=4), train(seed=4))
    train(checkpoint=tmp_path)
    assert_equal(train(network(seed=1), checkpoint=tmp_path), train(network(seed=1)))


def test_no_patient_is_divided() -> None:
    groups = [f"p{i // 4}" for i in range(24)]
    found = train(n=24, groups=groups)
    sides = [{groups[i] for i in part.tolist()} for part in (found.train, found.validation)]
    assert not sides[0] & sides[1]
    assert sorted([*found.train.tolist(), *found.validation.tolist()]) == list(range(24))


def test_a_step_before_the_network_is_part_of_the_system() -> None:
    """Eq. 4: the same Shields as for a classifier that begins with that step."""

    class Half(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 0.5 * x

    inside = train(nn.Sequential(Half(), network()))
    before = train(preprocess=Half())
    ours, theirs = before.shields.state_dict(), inside.shields.state_dict()
    assert all(torch.allclose(value, theirs[key], atol=1e-5) for key, value in ours.items())
    assert inside.history[-1]["validation_loss"] == pytest.approx(before.history[-1]["validation_loss"], abs=1e-4)
    assert train().history != before.history


def test_a_step_without_gradient_by_bpda() -> None:
    history = train(preprocess=BPDA(lambda x: (x * 15).round() / 15)).history
    assert all(entry["adversarial_loss"] > 0 for entry in history)


def test_three_classes_of_which_one_is_attacked_towards() -> None:
    x, y = torch.rand(24, 1, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 3
    found = train_shields(network(3), Cases(lambda index: x[index], y), settings=QUICK, seed=0)
    assert found.shields.classes == 3
    assert {"loss_0", "loss_1", "loss_2"} <= set(found.history[0])


def test_it_stops_early_at_the_full_budget_and_warns_when_nothing_is_learned() -> None:
    """A step of 1e-30 changes no weight: the first epoch is the best; the budget is full from the second of three."""
    settings = replace(QUICK, epochs=9, learning_rate=1e-30, stop_after=2, stuck_after=3, attacks=(TrainingAttack(2),))
    with pytest.warns(DefenceWarning, match="has not learned for 3 epochs") as caught:
        found = train(settings=settings)
    assert len(found.history) == 3
    assert 1 <= len(caught) <= 2


def test_no_warning_where_it_learns(fooled) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(fooled, replace(QUICK, learning_rate=0.01, stuck_after=2))


def test_a_shield_that_only_hides_gradients_is_told_of() -> None:
    """It learns from steps that hardly move an image, rejects none of them wrongly, and falls to any real attack."""
    net = fooled_network()
    hardly = TrainingAttack(steps=1, path=0.01, random_start=False)
    settings = replace(QUICK, attacks=(hardly,), epochs=4, growing=1, last_eps=40 / 256, learning_rate=0.01)
    quiet = train(net, settings, n=64)
    assert quiet.history[-1]["validation_auc"] > 0.9
    assert quiet.probe_auc != quiet.probe_auc
    with pytest.warns(DefenceWarning, match=r"worst AUC (0\.9|1\.0).* only hid gradients"):
        told = train(net, replace(settings, probe_cases=12), n=64)
    assert told.probe_auc < 0.6
    assert told.history == quiet.history


def test_a_shield_that_holds_is_not_told_of(learned) -> None:
    assert learned.probe_auc > 0.9


def test_errors() -> None:
    x, _ = toy_images(8, 0)

    def attempt(labels: Tensor, images: Tensor = x, **options) -> None:
        cases = Cases(lambda index: images[index], labels)
        train_shields(network(), cases, settings=QUICK, seed=0, **options)

    with pytest.raises(DataError, match="Class 1 has 1 cases"):
        attempt(torch.tensor([0, 0, 0, 0, 0, 0, 0, 1]))
    with pytest.raises(DataError, match="every class"):
        attempt(torch.arange(8) % 2, groups=["one"] * 8)
    with pytest.raises(InputError, match="from 0 to 1"):
        attempt(torch.arange(8) % 3)
    with pytest.raises(InputError, match="at least one case"):
        attempt(torch.zeros(0, dtype=torch.int64))
    with pytest.raises(InputError, match="`groups`"):
        attempt(torch.arange(8) % 2, groups=["a"])
    with pytest.raises(NumericsError, match="not finite"):
        attempt(torch.arange(8) % 2, images=torch.full_like(x, torch.nan))
    with pytest.raises(InputError, match="pixels in"):
        attempt(torch.arange(8) % 2, images=255 * x)


def test_layers_behind_the_taps_change_nothing_and_are_not_computed(fooled, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    class Counted(nn.Flatten):
        def forward(self, x: Tensor) -> Tensor:
            calls.append(len(x))
            return super().forward(x)

    net = nn.Sequential(*(Counted() if isinstance(module, nn.Flatten) else module for module in fooled)).eval()
    alone, before = train(net), len(calls)
    monkeypatch.setattr(Shielded, "maps", lambda self, x: self.tapped(x).features)
    monkeypatch.setattr(_shield_epoch, "ShieldsAlone", lambda system: system)
    assert_equal(train(net), alone)
    assert before < 10  # the choice of taps and of the fast copy
    assert len(calls) - before > 50
