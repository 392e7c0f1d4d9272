"""BIM of the peers as functions that make some steps in one call; a peer that is not installed is left out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor, nn

Call = Callable[[], object]


def peer_calls(model: nn.Module, x: Tensor, target: Tensor, *, eps: float, steps: int) -> dict[str, Call]:
    """A call for each installed peer, on the untouched model, whose parameters are frozen already: a help to them."""
    makers = {"torchattacks": _torchattacks, "foolbox": _foolbox, "art": _art}
    found: dict[str, Call] = {}
    for name, make in makers.items():
        if find_spec(name) is None:
            print(f"{name} is not installed and is left out; `make bench-peers` has it.")
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found[name] = make(model, x, target, eps, 2 * eps / steps, steps)
    return found


def _torchattacks(model: nn.Module, x: Tensor, target: Tensor, eps: float, size: float, steps: int) -> Call:
    import torchattacks

    attack = torchattacks.BIM(model, eps=eps, alpha=size, steps=steps)
    attack.set_mode_targeted_by_label(quiet=True)
    return lambda: attack(x, target)


def _foolbox(model: nn.Module, x: Tensor, target: Tensor, eps: float, size: float, steps: int) -> Call:
    import foolbox

    attack = foolbox.attacks.LinfBasicIterativeAttack(abs_stepsize=size, steps=steps)
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device)
    return lambda: attack(wrapped, x, foolbox.criteria.TargetedMisclassification(target), epsilons=eps)


def _art(model: nn.Module, x: Tensor, target: Tensor, eps: float, size: float, steps: int) -> Call:
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    with torch.no_grad():
        classes = model(x[:1]).shape[1]
    known = {"clip_values": (0.0, 1.0), "device_type": "cpu", "nb_classes": classes}
    classifier = PyTorchClassifier(model, nn.CrossEntropyLoss(), input_shape=tuple(x.shape[1:]), **known)
    settings = {"eps": eps, "eps_step": size, "max_iter": steps, "batch_size": len(x), "verbose": False}
    attack = ProjectedGradientDescentPyTorch(classifier, targeted=True, **settings)
    images, labels = x.numpy(), target.numpy()
    return lambda: attack.generate(images, labels)
