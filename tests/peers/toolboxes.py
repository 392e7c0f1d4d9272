"""The three toolboxes called in one way: an attack of theirs and a world in, adversarial images out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from peers.worlds import World

Run = Callable[[World], Tensor]


def torchattacks(name: str, **settings: Any) -> Run:
    """An attack of torchattacks by the name of its class."""

    def run(world: World) -> Tensor:
        import torchattacks as box

        attack = getattr(box, name)(world.net, **settings)
        if world.target is None:
            return attack(world.x, world.y)
        attack.set_mode_targeted_by_label(quiet=True)
        return attack(world.x, world.target)

    return run


def foolbox(name: str, eps: float | None, **settings: Any) -> Run:
    """An attack of foolbox by the name of its class; `eps` None for those that look for the smallest."""

    def run(world: World, start: Tensor | None = None) -> Tensor:
        import foolbox as box

        attack = getattr(box.attacks, name)(**settings)
        if start is not None:
            attack.get_random_start = lambda x0, epsilon: type(x0)(start)
        model = box.PyTorchModel(world.net, bounds=(0, 1), device=world.x.device)
        found = box.criteria.Misclassification(world.y)
        if world.target is not None:
            found = box.criteria.TargetedMisclassification(world.target)
        return attack(model, world.x, found, epsilons=eps)[1]

    return run


def art(name: str, **settings: Any) -> Run:
    """An attack of the Adversarial Robustness Toolbox by the name of its class; float32 only."""

    def run(world: World) -> Tensor:
        from art.attacks import evasion

        kind = getattr(evasion, name)
        known = {"targeted": world.target is not None, "verbose": False}
        known = {key: value for key, value in known.items() if key in kind.attack_params}
        attack = kind(art_classifier(world), **known, **settings)
        labels = world.y if world.target is None else world.target
        return torch.from_numpy(attack.generate(world.x.numpy(), labels.numpy()))

    return run


def art_classifier(world: World, **settings: Any) -> Any:
    """ART's view of a network."""
    from art.estimators.classification import PyTorchClassifier

    classes = world.net(world.x[:1]).shape[1]
    shape = tuple(world.x.shape[1:])
    known = {"input_shape": shape, "nb_classes": classes, "clip_values": (0.0, 1.0), "device_type": "cpu"}
    return PyTorchClassifier(world.net, nn.CrossEntropyLoss(), **(known | settings))


def from_start(run: Run, world: World, start: Tensor) -> Tensor:
    """A peer's attack from the given start, put in the place of its own random draw."""
    if run.__qualname__.startswith("foolbox"):
        return run(world, start)  # pyright: ignore[reportCallIssue]  # foolbox's runs alone take a start
    moved = start - world.x
    if run.__qualname__.startswith("torchattacks"):
        with patch.object(torch.Tensor, "uniform_", lambda empty, low, high: empty.copy_(moved)):
            return run(world)
    module = "art.attacks.evasion.projected_gradient_descent.projected_gradient_descent_pytorch"
    with patch(f"{module}.random_sphere", lambda n, m, eps, norm: moved.numpy().reshape(n, m)):
        return run(world)
