"""The stress test: how far an attack within a budget can lower and raise the mean activation of each layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from medaegis._errors import is_a, require
from medaegis._types import Images, PerCase
from medaegis.attack import Attack, AttackResult, bim, mean_activation, run_attack
from medaegis.measure._estimate import DRAWS, Estimate, bootstrap
from medaegis.measure._passes import clean_pass
from medaegis.models import Taps


class LayerStress(NamedTuple):
    """What the stress test did to one layer, case by case.

    Attributes:
        layer: its name.
        before: (n,) mean activation of the clean images.
        down: (n,) after it was lowered; not below 0 where the activation is a ReLU.
        up: (n,) after it was raised.
        zero_down: (n,) steps at which the whole gradient was zero on the way down; a ReLU layer that is silent
            already has none.
        zero_up: (n,) likewise on the way up: a sign of a too weak attack.
    """

    layer: str
    before: PerCase
    down: PerCase
    up: PerCase
    zero_down: Tensor
    zero_up: Tensor

    @property
    def lowered(self) -> PerCase:
        """(n,) before - down: "Difference (down)" of HFC-21 Table 1."""
        return self.before - self.down

    @property
    def raised(self) -> PerCase:
        """(n,) up - before: "Difference (up)" of HFC-21 Table 1."""
        return self.up - self.before


def stress_test(
    model: nn.Module,
    x: Images,
    attack: Attack | None = None,
    *,
    layers: Sequence[str] | None = None,
    eps: float = 1 / 256,
    steps: int = 10,
    batch_size: int = 32,
    progress: bool = False,
) -> tuple[LayerStress, ...]:
    """Lower and raise the mean activation of each layer in turn, as far as a budget allows.

    Each layer has attacks of its own, two for each image: BIM with J_down = mean(f) and with J_up = -mean(f) in
    place of its loss. Every value is judged on the last image by the untouched network.

    Args:
        model: maps images in [0, 1] to logits; left as it came.
        x: clean images (n, c, *space) in [0, 1].
        attack: whose objective is replaced; None takes `bim(eps, steps=steps)`. It runs once and returns its last
            image, whatever its `keep`, `restarts` and `guard` say: to fool the classifier is no aim here. A Cushion
            belongs into the model, `Preprocessed(BPDA(jpeg), net)`; what an attacker only guesses, into
            `bim(...).through(BPDA(jpeg))`.
        layers: names of layers; None takes `block_layers(model, x)`.
        eps: Linf budget in pixel units, where no attack is given: HFC-21's preprint and HFC-23 have 1/256, HFC-21
            as published 8/256.
        steps: of BIM, each of 2 eps / steps.
        batch_size: images that go through the network together; changes speed and memory only.
        progress: show bars.

    Returns:
        One `LayerStress` a layer, in the order of `layers`, on the device of `x`.

    Raises:
        InputError: an argument is out of range, or a layer is unknown.

    Source: HFC-21 section 3 and Table 1; HFC-23 section III-B and Fig. 4; Aegis Table 1.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 2))
        >>> (found,) = stress_test(net, torch.rand(4, 1, 8, 8), eps=8 / 256)
        >>> found.layer, bool((found.down <= found.before).all() and (found.before <= found.up).all())
        ('1', True)
    """
    good = attack is None or is_a(attack, Attack)
    require(good, "attack", "stress_test", "an Attack that runs in the loop, as bim", attack)
    names = block_layers(model, x) if layers is None else tuple(layers)
    require(len(set(names)) == len(names) > 0, "layers", "stress_test", "different names of layers", names)
    plain = replace(attack or bim(eps, steps=steps), keep="last", restarts=1, guard=None)
    shared: dict[str, Any] = {"batch_size": batch_size, "progress": progress}
    before = clean_pass(model, x, names, batch_size=batch_size).features
    return tuple(_stressed(model, x, plain, name, before[name].mean(dim=1), shared) for name in names)


def _stressed(
    model: nn.Module, x: Images, attack: Attack, layer: str, before: Tensor, shared: dict[str, Any]
) -> LayerStress:
    nobody = torch.zeros(len(x), dtype=torch.int64, device=x.device)

    def run(way: Any) -> AttackResult:
        aimed = replace(attack, objective=mean_activation(layer, way), name=f"{attack.name} {way} {layer}")
        return run_attack(aimed, model, x, nobody, **shared)

    down, up = run("down"), run("up")
    return LayerStress(layer, before, down.objective, -up.objective, down.zero_gradient, up.zero_gradient)


def block_layers(model: nn.Module, x: Images) -> tuple[str, ...]:
    """The last activation of each block of a network, in the order of calling; the stem's counts as a block.

    A block is a module that holds activation modules and is no `nn.Sequential`: the residual blocks of a ResNet.
    In a plain sequence (VGG) every activation stands for itself.

    Args:
        model: maps images in [0, 1] to logits.
        x: images (n, c, *space), of which the first is passed through the network.

    Raises:
        InputError: the network has no activation module.

    Example:
        >>> from medaegis.models import build_model
        >>> block_layers(build_model("small-resnet", classes=2).model, torch.rand(1, 3, 32, 32))
        ('relu', 'stages.0.relu#2', 'stages.1.relu#2', 'stages.2.relu#2', 'stages.3.relu#2')
    """
    device = next((parameter.device for parameter in model.parameters()), x.device)
    names, modules = Taps(model).names(x[:1].to(device)), dict(model.named_modules())
    last = {_block_of(name, modules): name for name in names}
    return tuple(sorted(last.values(), key=names.index))


def _block_of(layer: str, modules: dict[str, nn.Module]) -> str:
    parent = layer.split("#")[0].rpartition(".")[0]
    return layer if isinstance(modules[parent], nn.Sequential) else parent


def change_ratio(
    before: ArrayLike,
    after: ArrayLike,
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
    draws: int = DRAWS,
) -> Estimate:
    """Relative change of the mean: mean(after) / mean(before) - 1.

    Args:
        before: (n,) a value a case, such as `LayerStress.before`.
        after: (n,) the same cases.
        groups: patient of each case; drawn together. None draws cases.
        seed: of the bootstrap.
        draws: bootstrap resamples.

    Returns:
        1.0 stands for +100 %; NaN where the mean before is not above 0.

    Raises:
        InputError: shapes differ, or a value is not finite.

    Source: relative changes in parentheses of Aegis Table 1; "changed ratios" of HFC-23 Fig. 4.

    Example:
        >>> change_ratio([1.0, 3.0], [2.0, 3.0]).value
        0.25
    """
    first, second = (np.asarray(values, dtype=np.float64) for values in (before, after))
    good = first.ndim == 1 and first.shape == second.shape
    require(good, "after", "change_ratio", "one value for each of `before`", (first.shape, second.shape))
    finite = bool(np.isfinite(first).all() and np.isfinite(second).all())
    require(finite, "before", "change_ratio", "finite, as `after`", "NaN or infinity")

    def figure(counts: Any) -> Any:
        top, bottom = counts @ second, counts @ first
        return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0) - 1

    return bootstrap(figure, len(first), groups=groups, seed=seed, draws=draws)
