"""Adversarial training of the classifier: it gives up what an attacker can turn, and the rest of training stands."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from medaegis import InputError, run_attack, train_classifier
from medaegis.attack import pgd
from medaegis.experiment._adversarial_training import pgd_adversary
from medaegis.experiment._cost import cost_of
from medaegis.experiment._named_substitute import named_substitute
from medaegis.experiment._network_settings import NetworkSettings, classifier_stage
from medaegis.models import Cases, TrainSettings

EPS = 0.05
SETTINGS = TrainSettings(epochs=30, batch_size=16, learning_rate=0.05, flip=False, shift=0.0, stop_after=30)


def cases(n: int, seed: int) -> Cases:
    """Many faint pixels, which together always tell the class, and one bright pixel, which tells it in 85 %."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 2
    sign = (2.0 * y - 1)[:, None]
    x = 0.5 + 0.02 * sign + 0.02 * torch.randn(n, 16, generator=generator)
    wrong = torch.rand(n, generator=generator) < 0.15
    x[:, 0] = torch.where(wrong, 0.5 - 0.4 * sign[:, 0], 0.5 + 0.4 * sign[:, 0])
    x = x.clamp(0, 1).reshape(n, 1, 4, 4)
    return Cases(lambda index: x[index], y)


def linear() -> nn.Sequential:
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16, affine=False), nn.Linear(16, 2))
    nn.init.zeros_(net[-1].weight)
    nn.init.zeros_(net[-1].bias)
    return net


def trained(eps: float, **more: object) -> tuple[nn.Sequential, tuple[dict[str, float], ...]]:
    net = linear()
    adversary = pgd_adversary(eps, 5) if eps else None
    done = train_classifier(net, cases(160, 0), cases(80, 1), settings=SETTINGS, seed=0, adversary=adversary, **more)
    net.load_state_dict(done.state)
    return net.eval(), done.history


def right(net: nn.Module, eps: float) -> float:
    """Share of new cases that stay right under PGD."""
    x, y = cases(200, 2)
    every: Tensor = x(torch.arange(200))
    return 1 - run_attack(pgd(eps, steps=10), net, every, y).fooled.float().mean().item()


def test_it_trades_clean_accuracy_for_robustness() -> None:
    """Faint pixels are worth more on clean images, the bright one under attack: by hand, 85 % of cases stay right."""
    plain, _ = trained(0.0)
    robust, history = trained(EPS)
    assert right(plain, 0.0) > 0.97
    assert right(plain, EPS) < 0.6
    assert 0.75 < right(robust, EPS) <= 0.9
    best = min(history, key=lambda epoch: epoch["validation_loss"])
    assert best["validation_accuracy"] < 0.95  # of attacked cases


def test_a_stopped_training_goes_on_to_the_same_network(tmp_path: Path) -> None:
    whole, history = trained(EPS)

    class StoppedError(Exception):
        pass

    calls = [0]
    adversary = pgd_adversary(EPS, 5)

    def stopping(*given: object) -> Tensor:
        calls[0] += 1
        if calls[0] > 50:
            raise StoppedError
        return adversary(*given)  # type: ignore[arg-type]  # what it was given

    with pytest.raises(StoppedError):
        train_classifier(
            linear(), cases(160, 0), cases(80, 1), settings=SETTINGS, seed=0, adversary=stopping, checkpoint=tmp_path
        )
    resumed, again = trained(EPS, checkpoint=tmp_path)
    assert again == history
    assert torch.equal(resumed[-1].weight, whole[-1].weight)


def test_settings_reach_the_stage_and_its_cost() -> None:
    given = {"source": "phantom-chest", "model": "small-resnet", "weights": None, "size": 32}
    plain = classifier_stage(NetworkSettings(**given))
    robust = classifier_stage(NetworkSettings(**given, train_eps="2/256", train_steps=3))
    assert (robust.train_eps, robust.train_steps) == (2 / 256, 3)
    assert robust.key != plain.key
    assert classifier_stage(NetworkSettings(**given, train_steps=3)).key == plain.key  # nothing is attacked
    passes = [sum(cost_of([stage], "cpu").passes.values()) for stage in (plain, robust)]
    assert passes[1] == pytest.approx(4 * passes[0], rel=0.01)


def test_a_substitute_learns_from_plain_images() -> None:
    settings = NetworkSettings(
        source="phantom-chest", model="small-resnet", weights=None, size=32, train_eps="2/256", train_steps=3
    )
    attacked, substitute = classifier_stage(settings), named_substitute("same")
    assert substitute is not None
    assert (attacked.train_eps, substitute.stage(settings, attacked).train_eps) == (2 / 256, 0.0)


def test_nothing_to_train() -> None:
    given = {"source": "phantom-chest", "model": "small-resnet", "weights": None, "size": 32, "epochs": 0}
    with pytest.raises(InputError, match=r"`train_eps` of recipe must be none where nothing is trained"):
        classifier_stage(NetworkSettings(**given, train_eps="2/256"))
