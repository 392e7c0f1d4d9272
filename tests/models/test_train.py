"""Training: it learns, it resumes bit for bit, it says what went wrong."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from medaegis import InputError, NumericsError, train_classifier
from medaegis.models import Cases, Trained, TrainSettings
from medaegis.models._train import augment

FAST = TrainSettings(epochs=4, batch_size=5, learning_rate=0.02)


def toy(n: int, seed: int, k: int = 2) -> Cases:
    """Class by the brightness of the image's lower half."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % k
    x = torch.rand((n, 1, 8, 8), generator=generator) * 0.4
    x[:, :, 4:] += 0.5 * y.reshape(-1, 1, 1, 1) / (k - 1)
    return Cases(lambda index: x[index], y)


def network(k: int = 2, seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(144, k)]
        return nn.Sequential(*layers)


def train(
    net: nn.Module | None = None, settings: TrainSettings = FAST, n: int = 21, seed: int = 3, **options
) -> Trained:
    net = net or network()
    return train_classifier(net, toy(n, 0), toy(12, 1), settings=settings, seed=seed, **options)


def assert_equal(one: Trained, two: Trained) -> None:
    assert one.history == two.history
    assert one.state.keys() == two.state.keys()
    assert all(torch.equal(value, two.state[key]) for key, value in one.state.items())


def test_learns_a_separable_problem() -> None:
    net = network()
    trained = train(net, TrainSettings(epochs=10, learning_rate=0.01), n=64)
    net.load_state_dict(trained.state)
    x, y = toy(200, 2)
    with torch.no_grad():
        assert (net.eval()(x(torch.arange(200))).argmax(dim=1) == y).all()
    assert trained.history[-1]["train_loss"] < 0.3 * trained.history[0]["train_loss"]


def test_history_and_best_state() -> None:
    trained = train(n=20)
    assert [epoch["epoch"] for epoch in trained.history] == [1, 2, 3, 4]
    assert set(trained.history[0]) == {"epoch", "train_loss", "learning_rate", "validation_loss", "validation_accuracy"}
    net = network()
    net.load_state_dict(trained.state)
    x, y = toy(12, 1)
    with torch.no_grad():
        loss = nn.functional.cross_entropy(net.eval()(x(torch.arange(12))), y).item()  # balanced, so weights are 1
    assert loss == pytest.approx(min(epoch["validation_loss"] for epoch in trained.history), abs=1e-6)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("kill_at", [1, 6, 8, 12, 20])
def test_resumes_bit_for_bit_after_a_kill(tmp_path, kill_at) -> None:
    """Dropout draws from the global generator and BatchNorm counts: both must come back. 21 cases are 4 batches."""
    whole = train()
    net, calls = network(), [0]

    def count(module, inputs):
        calls[0] += module.training
        if calls[0] == kill_at:
            raise Killed

    handle = net.register_forward_pre_hook(count)
    if kill_at < 16:
        with pytest.raises(Killed):
            train(net, checkpoint=tmp_path)
    else:
        train(net, checkpoint=tmp_path)
    handle.remove()
    torch.manual_seed(kill_at)  # whatever another process starts with
    other_start = network(
        seed=9 if kill_at > 4 else 0
    )  # before the first checkpoint there is nothing else to start from
    assert_equal(train(other_start, checkpoint=tmp_path), whole)
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("change", ["seed", "settings"])
def test_another_trainings_checkpoint_is_not_resumed(tmp_path, change) -> None:
    train(checkpoint=tmp_path)
    options = {"seed": 4} if change == "seed" else {"settings": TrainSettings(epochs=2, batch_size=5)}
    assert_equal(train(checkpoint=tmp_path, **options), train(**options))


def test_seed_decides_everything() -> None:
    assert_equal(train(), train())
    assert train(seed=4).history != train().history


def test_global_random_state_is_left_alone() -> None:
    torch_state, python_state = torch.get_rng_state(), random.getstate()
    numpy_state = np.random.get_state()[1].tobytes()  # noqa: NPY002  # it must stay as it is
    train()
    with pytest.raises(NumericsError):
        train(nn.Sequential(network(), Poison(after=2)))
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert random.getstate() == python_state
    assert np.random.get_state()[1].tobytes() == numpy_state  # noqa: NPY002  # as above


class Poison(nn.Module):
    """NaN from a number of training passes on, or in evaluation."""

    def __init__(self, after: int = 10**9, *, evaluation: bool = False) -> None:
        super().__init__()
        self.left, self.evaluation = after, evaluation

    def forward(self, x):
        self.left -= self.training
        poisoned = self.left < 0 or (self.evaluation and not self.training)
        return x * torch.nan if poisoned else x


def test_nan_training_loss_is_an_error() -> None:
    with pytest.raises(NumericsError, match=r"training loss became nan in epoch 2\. Lower the learning rate or check"):
        train(nn.Sequential(network(), Poison(after=5)))


def test_nan_validation_loss_is_an_error() -> None:
    """It is smaller than nothing, so no state would ever be the best."""
    with pytest.raises(NumericsError, match="validation loss became nan in epoch 1"):
        train(nn.Sequential(network(), Poison(evaluation=True)))


class Stuck(nn.Module):
    """Logits that no training changes."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return torch.zeros(len(x), 2) + 0 * self.unused


def test_stops_early_and_lowers_the_rate() -> None:
    settings = TrainSettings(epochs=30, batch_size=5, patience=2, stop_after=6, learning_rate=1.0)
    history = train(Stuck(), settings).history
    assert len(history) == 1 + 6  # the first epoch is the best
    assert [epoch["learning_rate"] for epoch in history] == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01])


class Bias(nn.Module):
    """Two logits that ignore the image: the best are the logs of the (weighted) class shares."""

    def __init__(self, k: int = 2) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(k))

    def forward(self, x):
        return self.logits.expand(len(x), -1)


@pytest.mark.parametrize(("weighted", "expected"), [(True, 0.5), (False, 0.25)])
def test_class_weights(weighted, expected) -> None:
    x, y = torch.zeros(16, 1, 4, 4), (torch.arange(16) % 4 == 0).long()
    cases = Cases(lambda index: x[index], y)
    settings = TrainSettings(epochs=200, batch_size=16, learning_rate=0.05, stop_after=200, class_weights=weighted)
    trained = train_classifier(Bias(), cases, cases, settings=settings, seed=0)
    assert trained.state["logits"].softmax(dim=0)[1].item() == pytest.approx(expected, abs=0.01)


def test_a_class_without_training_cases() -> None:
    x, y = toy(12, 0)
    trained = train_classifier(network(k=3), Cases(x, y), Cases(x, y), settings=FAST, seed=0)
    assert len(trained.history) == 4


def test_float64_networks_train() -> None:
    x, y = toy(12, 0)
    cases = Cases(lambda index: x(index).double(), y)
    assert len(train_classifier(network().double(), cases, cases, settings=FAST, seed=0).history) == 4


def test_frozen_parameters_stay() -> None:
    net = network()
    net[0].weight.requires_grad_(False)
    before = net[0].weight.clone()
    train(net)
    assert torch.equal(net[0].weight, before)
    assert not net[0].weight.requires_grad


def test_a_last_batch_of_one_case_joins_the_one_before() -> None:
    assert len(train(n=21).history) == 4  # 5 + 5 + 5 + 6; BatchNorm after a dense layer would refuse a single case
    sizes: list[int] = []
    net = network()
    net.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])) if module.training else None)
    train(net, TrainSettings(epochs=1, batch_size=5))
    assert sizes == [5, 5, 5, 6]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epochs": 0}, "`epochs` of TrainSettings must be an int >= 1, got 0"),
        ({"epochs": 2.5}, "`epochs` .* got 2.5"),
        ({"batch_size": 1}, "`batch_size` of TrainSettings must be an int >= 2, got 1"),
        ({"stop_after": 0}, "`stop_after` .* got 0"),
        ({"patience": -1}, "`patience` .* got -1"),
        ({"learning_rate": 0}, "`learning_rate` of TrainSettings must be a number > 0, got 0"),
        ({"learning_rate": float("nan")}, "`learning_rate` .* got nan"),
        ({"shift": 1}, r"`shift` .* \[0, 1\), got 1"),
        ({"weight_decay": -1}, "`weight_decay` .* got -1"),
    ],
)
def test_settings_are_checked(settings, words) -> None:
    with pytest.raises(InputError, match=words):
        TrainSettings(**settings)


def test_cases_are_checked() -> None:
    x, y = toy(12, 0)
    good, empty, high = Cases(x, y), Cases(x, y[:0]), Cases(x, y + 1)
    for sets, words in (
        ((empty, good), "`train` of train_classifier must be at least one case"),
        ((good, empty), "`validation` of train_classifier must be at least one case"),
        ((high, good), "`train` .* labelled from 0 to 1, since the model has 2 logits, got 'labels from 1 to 2'"),
        ((good, high), "`validation` .* labelled from 0 to 1"),
    ):
        with pytest.raises(InputError, match=words):
            train_classifier(network(), *sets, settings=FAST, seed=0)
    with pytest.raises(InputError, match=r"`model` .* logits \(n, k\), k >= 2, got \(1, 1\)"):
        train_classifier(network(k=1), good, good, settings=FAST, seed=0)


def test_every_epoch_has_an_order_of_its_own() -> None:
    seen: list[tuple[int, ...]] = []
    x, y = toy(20, 0)
    spying = Cases(lambda index: (seen.append(tuple(index.tolist())), x(index))[1], y)
    train_classifier(network(), spying, toy(12, 1), settings=FAST, seed=3)
    epochs = [
        sum(seen[start : start + 4], ()) for start in range(1, 17, 4)
    ]  # the first call asks for the logits' shape
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert len(set(epochs)) == 4


def test_the_schedule_resumes(tmp_path) -> None:
    settings = TrainSettings(epochs=6, batch_size=12, patience=1, stop_after=9, learning_rate=1.0)
    whole = train(Stuck(), settings, n=12)
    net, calls = Stuck(), [0]

    def kill(module, inputs):
        calls[0] += module.training
        if calls[0] == 3:
            raise Killed

    net.register_forward_pre_hook(kill)
    with pytest.raises(Killed):
        train(net, settings, n=12, checkpoint=tmp_path)
    assert train(Stuck(), settings, n=12, checkpoint=tmp_path).history == whole.history
    assert [epoch["learning_rate"] for epoch in whole.history] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


# --- augmentation


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_shift_moves_and_repeats_the_edge() -> None:
    x = torch.arange(10.0).expand(64, 1, 10, 10)
    moved = augment(x, flip=False, shift=0.2, generator=generator())
    allowed = {tuple((torch.arange(10) + by).clamp(0, 9).tolist()) for by in range(-2, 3)}
    assert {tuple(row.tolist()) for row in moved[:, 0, 5]} == allowed
    assert all((case[0] == case[0, 0]).all() for case in moved)


def test_flip_mirrors_left_and_right_only() -> None:
    x = torch.rand(64, 2, 4, 5)
    moved = augment(x, flip=True, shift=0, generator=generator())
    mirrored = [torch.equal(a, b.flip(-1)) for a, b in zip(moved, x, strict=True)]
    same = [torch.equal(a, b) for a, b in zip(moved, x, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert 16 < sum(mirrored) < 48


def test_no_augmentation_gives_the_images() -> None:
    x = torch.rand(3, 1, 4, 5, 6)
    assert augment(x, flip=False, shift=0, generator=generator()) is x
    assert augment(x, flip=True, shift=0.5, generator=generator()).shape == x.shape
