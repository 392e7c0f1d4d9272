"""Arguments of `run_attack`, looked at before any work."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medaegis._errors import is_a, is_int, require
from medaegis._types import PIXEL_RANGE
from medaegis.attack._attack import Attacker


def check_cases(x: Tensor, y: Tensor, target: Tensor | None, batch_size: int, *, owner: str = "run_attack") -> None:
    """Raise `InputError` unless images, labels and target fit each other; see `run_attack`.

    Example:
        >>> check_cases(torch.zeros(1, 1, 2, 2), torch.tensor([0]), None, 8)
    """
    require(is_a(x, Tensor), "x", owner, "a torch tensor", type(x), "Use torch.from_numpy for arrays.")
    require(x.is_floating_point(), "x", owner, "a floating-point tensor", x.dtype, "Divide uint8 images by 255.")
    require(x.dim() >= 2 and x.numel() > 0, "x", owner, "(n, c, *space), not empty", tuple(x.shape))
    low, high = x.min().item(), x.max().item()
    inside = PIXEL_RANGE[0] <= low and high <= PIXEL_RANGE[1]
    fix = "Put mean/std normalisation inside the model and divide 8-bit images by 255."
    require(inside, "x", owner, "finite, with pixels in [0, 1]", (low, high), fix)
    for name, labels in (("y", y), ("target", target)):
        if labels is not None:
            _check_labels(labels, len(x), name, owner)
    require(is_int(batch_size) and batch_size >= 1, "batch_size", owner, "an int >= 1", batch_size)


def _check_labels(labels: Tensor, n: int, name: str, owner: str) -> None:
    require(is_a(labels, Tensor), name, owner, "a torch tensor", type(labels), "Use torch.as_tensor.")
    whole = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
    got = f"{labels.dtype} of shape {tuple(labels.shape)}"
    require(whole and labels.shape == (n,), name, owner, f"integers of shape ({n},), one class a case", got)


def check_parts(attack: Attacker, model: nn.Module, generator: torch.Generator | None) -> None:
    """Raise `InputError` unless attack, model and generator are what their names say.

    Example:
        >>> from medaegis.attack import bim
        >>> check_parts(bim(eps=1 / 256), nn.Linear(2, 2), None)
    """
    owner = "run_attack"
    require(is_a(attack, Attacker), "attack", owner, "an Attack", attack, "Call the preset, as in bim(eps=1/256).")
    require(is_a(model, nn.Module), "model", owner, "a torch.nn.Module", type(model), "Wrap functions in a Module.")
    good = generator is None or is_a(generator, torch.Generator)
    require(good, "generator", owner, "a torch.Generator", generator, "Use torch.Generator().manual_seed(seed).")


def check_classes(model: nn.Module, one: Tensor, y: Tensor, target: Tensor | None) -> None:
    """Raise `InputError` unless the network gives logits (n, k) and every label is one of the k classes.

    Example:
        >>> check_classes(nn.Linear(4, 2), torch.zeros(1, 4), torch.tensor([1]), None)
    """
    with torch.no_grad():
        logits = model(one.clone())
    owner, fix = "run_attack", "For one output, stack (-logit, logit) / 2; of several outputs, return the logits only."
    shaped = is_a(logits, Tensor) and logits.dim() == 2 and len(logits) == 1 and logits.shape[1] >= 2
    got = f"{type(logits).__name__} of shape {tuple(logits.shape)}" if is_a(logits, Tensor) else type(logits)
    require(shaped, "model", owner, "a network from (n, c, *space) to logits (n, k) with k >= 2", got, fix)
    rule = f"classes from 0 to {logits.shape[1] - 1}, since the model has {logits.shape[1]} logits"
    for name, labels in (("y", y), ("target", target)):
        if labels is not None:
            ends = (int(labels.min()), int(labels.max()))
            inside = ends[0] >= 0 and ends[1] < logits.shape[1]
            require(inside, name, owner, rule, f"labels from {ends[0]} to {ends[1]}", "Count classes from 0.")


def check_substitute(substitute: nn.Module, one: Tensor, model: nn.Module) -> None:
    """Raise `InputError` unless a transfer attack's substitute lies on the model's device and has its classes.

    Example:
        >>> check_substitute(nn.Linear(4, 2), torch.zeros(1, 4), nn.Linear(4, 2))
    """
    owner, place = "transfer", next((p.device for p in substitute.parameters()), one.device)
    require(
        place == one.device, "substitute", owner, f"on {one.device}, as the model", place, "Move it there with .to()."
    )
    with torch.no_grad():
        got, wanted = (tuple(net(one.clone()).shape) for net in (substitute, model))
    require(got == wanted, "substitute", owner, f"a network whose logits have the model's shape {wanted}", got)
