"""The ONE list of attacks and the settings under which every law is checked. A new attack is added here, once."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from medaegis import Tapped
from medaegis.attack import (
    BPDA,
    AdamStep,
    Attacker,
    DiverseInput,
    LowResolution,
    Tanh,
    TranslationSmoothing,
    apgd,
    bim,
    cw_l2,
    cw_linf,
    deepfool,
    dim,
    feature_attack,
    fgsm,
    guide_closest,
    guide_random,
    hfc,
    kde_aware,
    lid_aware,
    mim,
    noise,
    pgd,
    pgd_l2,
    tim,
    transfer,
)
from medaegis.density import KernelDensity, LocalDimensionality, MixtureBank, fit_bank
from medaegis.models import Taps, frozen

STEPS = 5


class World(NamedTuple):
    """A network with things to attack."""

    net: nn.Module
    x: Tensor
    y: Tensor
    target: Tensor | None
    bank: MixtureBank
    substitute: nn.Module
    features: dict[str, Tensor]
    labels: Tensor
    head: Tensor

    def within(self, prefix: str) -> World:
        """The same, for a network that holds this one: its layers have longer names."""
        features = {f"{prefix}{name}": z for name, z in self.features.items()}
        bank = MixtureBank({f"{prefix}{name}": mixtures for name, mixtures in self.bank.mixtures.items()})
        return self._replace(bank=bank, features=features)


Make = Callable[[float, World], Attacker]


def _round(x: Tensor) -> Tensor:
    return (x * 255).round() / 255


def _densities(w: World) -> dict[int, KernelDensity]:
    return {int(c): KernelDensity(w.head[w.labels == c], 0.3) for c in w.labels.unique()}


def _normal(w: World) -> dict[str, LocalDimensionality]:
    return {name: LocalDimensionality(z, 20) for name, z in w.features.items()}


_BASE: dict[str, Make] = {
    "fgsm": lambda eps, w: fgsm(eps=eps),
    "bim": lambda eps, w: bim(eps=eps, steps=STEPS),
    "pgd": lambda eps, w: pgd(eps=eps, steps=STEPS),
    "mim": lambda eps, w: mim(eps=eps, steps=STEPS),
    "mim-released": lambda eps, w: mim(eps=eps, steps=STEPS, decay=0.5, norm="l2"),
    "mim+hfc": lambda eps, w: mim(eps=eps, steps=STEPS).plus(hfc(w.bank)),
    "noise-uniform": lambda eps, w: noise(eps=eps, kind="uniform"),
    "noise-gaussian": lambda eps, w: noise(eps=eps, kind="gaussian"),
    "noise-sign": lambda eps, w: noise(eps=eps, kind="sign"),
    "bim+hfc": lambda eps, w: bim(eps=eps, steps=STEPS).plus(hfc(w.bank)),
    "pgd+hfc": lambda eps, w: pgd(eps=eps, steps=STEPS).plus(hfc(w.bank)),
    "bim+guide_random": lambda eps, w: bim(eps=eps, steps=STEPS).plus(guide_random(w.features, w.labels)),
    "bim+lid": lambda eps, w: bim(eps=eps, steps=STEPS).plus(lid_aware(_normal(w))),
    "cw_linf": lambda eps, w: cw_linf(eps=eps, steps=STEPS),
    "pgd_l2": lambda eps, w: pgd_l2(eps=eps, steps=STEPS),
}
_MORE: dict[str, Make] = {
    "tim": lambda eps, w: tim(eps=eps, steps=STEPS, kernel=3),
    "dim": lambda eps, w: dim(eps=eps, steps=STEPS, smallest=0.6),
    "ti-di-mim+hfc": lambda eps, w: (
        mim(eps=eps, steps=STEPS).through(TranslationSmoothing(3)).through(DiverseInput(0.6)).plus(hfc(w.bank))
    ),
    "cw_linf-kappa": lambda eps, w: cw_linf(eps=eps, steps=STEPS, kappa=0.1),
    "pgd_l2-plain": lambda eps, w: pgd_l2(eps=eps * w.x[0].numel() ** 0.5, steps=STEPS, norm="l2"),
    "pgd_l2-momentum+hfc": lambda eps, w: pgd_l2(eps=eps, steps=STEPS).with_momentum().plus(hfc(w.bank)),
    "apgd": lambda eps, w: apgd(eps=eps, steps=12),
    "apgd-ce": lambda eps, w: apgd(eps=eps, steps=12, loss="ce"),
    "apgd-rms": lambda eps, w: apgd(eps=eps, steps=12, norm="rms", restarts=2),
    "apgd+hfc": lambda eps, w: apgd(eps=eps, steps=12).plus(hfc(w.bank)),
    "apgd+hfc-objective": lambda eps, w: apgd(eps=eps, steps=12, judge="objective").plus(hfc(w.bank)),
    "bim+hfc-selective": lambda eps, w: bim(eps=eps, steps=STEPS).plus(hfc(w.bank)).projecting("selective"),
    "pgd+hfc-orthogonal": lambda eps, w: pgd(eps=eps, steps=STEPS).plus(hfc(w.bank)).projecting("orthogonal"),
    "eot+hfc-orthogonal": lambda eps, w: (
        bim(eps=eps, steps=STEPS).through(DiverseInput(0.6), draws=2).plus(hfc(w.bank)).projecting("orthogonal")
    ),
    "bim+guide_closest": lambda eps, w: bim(eps=eps, steps=STEPS).plus(guide_closest(w.features, w.labels)),
    "bim+kde": lambda eps, w: bim(eps=eps, steps=STEPS).plus(kde_aware(_densities(w))),
    "feature-random": lambda eps, w: feature_attack(eps, guide_random(w.features, w.labels), steps=STEPS),
    "feature-closest": lambda eps, w: feature_attack(eps, guide_closest(w.features, w.labels), steps=STEPS),
    "pgd-drop": lambda eps, w: pgd(eps=eps, steps=STEPS).decaying(after=3),
    "bim-cosine": lambda eps, w: bim(eps=eps, steps=STEPS).decaying("cosine"),
    "pgd-restarts": lambda eps, w: pgd(eps=eps, steps=STEPS).restarting(2),
    "pgd-first": lambda eps, w: pgd(eps=eps, steps=STEPS).restarting(2).keeping("first"),
    "bim-tanh": lambda eps, w: bim(eps=eps, steps=STEPS).over(Tanh(), AdamStep(1.0)),
    "pgd_l2-tanh": lambda eps, w: pgd_l2(eps=eps, steps=STEPS).over(Tanh(), AdamStep(1.0)),
    "bim-low": lambda eps, w: bim(eps=eps, steps=STEPS).over(LowResolution(2)),
    "pgd_l2-low": lambda eps, w: pgd_l2(eps=eps, steps=STEPS).over(LowResolution(2)),
    "bim-bpda": lambda eps, w: bim(eps=eps, steps=STEPS).through(BPDA(_round)),
    "dim-eot": lambda eps, w: bim(eps=eps, steps=STEPS).through(DiverseInput(0.6), draws=3),
    "pgd-guard": lambda eps, w: pgd(eps=eps, steps=STEPS).against(EvenFeatures()),
    "deepfool_l2": lambda eps, w: deepfool(eps=eps),
    "deepfool_linf": lambda eps, w: deepfool(eps=eps, norm="linf"),
    "cw_l2": lambda eps, w: cw_l2(eps=eps, steps=10, searches=2),
    "cw_l2-kappa": lambda eps, w: cw_l2(eps=eps, steps=10, searches=2, kappa=0.1),
    "cw_l2+hfc": lambda eps, w: cw_l2(eps=eps, steps=10, searches=2).plus(hfc(w.bank)),
    "cw_l2+guide_random": lambda eps, w: cw_l2(eps=eps, steps=10, searches=2).plus(
        guide_random(w.features, w.labels, weight=0.01)
    ),
    "transfer": lambda eps, w: transfer(w.substitute, bim(eps=eps, steps=STEPS)),
    "transfer-pgd_l2": lambda eps, w: transfer(w.substitute, pgd_l2(eps=eps, steps=STEPS)),
}


class EvenFeatures:
    """A guard that lets pass what the first logit's sign likes: any rule will do for laws."""

    layers = ()

    def __call__(self, tapped: Tapped) -> Tensor:
        return tapped.logits[:, 0] > tapped.logits.mean(dim=1)


def _best(make: Make) -> Make:
    return lambda eps, w: make(eps, w).keeping("best")


ATTACKS: dict[str, Make] = _BASE | {f"{name}-best": _best(make) for name, make in _BASE.items()} | _MORE
GRADIENT = [name for name in ATTACKS if not name.startswith("noise")]
_DRAWING = ("noise", "pgd", "cw_linf", "apgd", "dim", "ti-di", "eot", "transfer-pgd", "feature")
RANDOM = [name for name in ATTACKS if name.startswith(_DRAWING) or "guide_random" in name]
READING = [name for name in ATTACKS if any(part in name for part in ("hfc", "guide", "kde", "lid", "feature"))]
"""Attacks whose objective reads features of the world's network."""
L2_BALL = [name for name in ATTACKS if "_l2" in name or "rms" in name]
TRANSFER = [name for name in ATTACKS if name.startswith("transfer")]
_DIRECT = ("fgsm", "bim", "pgd", "mim", "mim-released", "cw_linf", "apgd", "apgd-ce", "pgd-restarts", "bim-cosine")
EXACT = [*_DIRECT, *(f"{name}-best" for name in _DIRECT[:6]), "pgd-guard", "bim-bpda"]
"""Attacks that follow each pixel's own gradient to the wall of an Linf ball."""
EXACT_L2 = ["pgd_l2", "pgd_l2-best", "pgd_l2-plain", "apgd-rms"]
FAINT = [name for name in ATTACKS if any(part in name for part in ("gaussian", "tanh", "low", "kappa", "first"))]
"""Attacks that need not use most of their budget."""
MINIMAL = [name for name in ATTACKS if name.startswith(("deepfool", "cw_l2"))]
"""Searches of the smallest success, which use a budget only where they must and end before their last step."""

SHAPES = {"gray": (1, 7, 7), "rgb": (3, 5, 8), "volume": (1, 4, 5, 6)}
SETTINGS = [(shape, k, targeted) for shape in SHAPES for k in (2, 5) for targeted in (True, False)]
SETTING_IDS = [f"{shape}-{k}-{'targeted' if targeted else 'untargeted'}" for shape, k, targeted in SETTINGS]
SPECIAL_PIXELS = (0.0, 1.0, 1e-40, 1e-10, 1 - 2**-24, 2**-149, 0.03)


def small_net(channels: int, classes: int, dimensions: int = 2, seed: int = 0) -> nn.Sequential:
    """conv, BatchNorm with statistics far from (0, 1), re-used ReLU, conv, BatchNorm, ReLU, pool, dense."""
    conv, norm, pool = (
        (nn.Conv2d, nn.BatchNorm2d, nn.AdaptiveAvgPool2d),
        (nn.Conv3d, nn.BatchNorm3d, nn.AdaptiveAvgPool3d),
    )[dimensions - 2]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            *(conv(channels, 4, 3, padding=1, bias=False), norm(4), nn.ReLU(inplace=True)),
            *(conv(4, 6, 3, padding=1), norm(6), nn.ReLU(inplace=True)),
            *(pool(1), nn.Flatten(), nn.Linear(6, classes)),
        )
        for module in net:
            if isinstance(module, norm):
                module.running_mean.normal_(std=0.3)
                module.running_var.uniform_(0.3, 2)
        net[8].weight.data *= 6
    return net.eval()


@lru_cache(maxsize=64)
def world(shape: str, classes: int, targeted: bool, dtype: torch.dtype = torch.float64) -> World:
    """Seven cases; the first two carry the pixels that arithmetic likes least."""
    size = SHAPES[shape]
    generator = torch.Generator().manual_seed(len(shape) + classes)
    x = torch.rand(7, *size, generator=generator, dtype=torch.float64).to(dtype)
    x[:2].view(2, -1)[:, : len(SPECIAL_PIXELS)] = torch.tensor(SPECIAL_PIXELS, dtype=torch.float64).to(dtype)
    x[1].view(-1)[-20:] = (torch.arange(20) % 2).to(dtype)
    net = small_net(size[0], classes, len(size) - 1).to(dtype)
    y = torch.arange(7) % classes
    with frozen(net), torch.no_grad():
        normal = torch.rand(60, *size, generator=generator, dtype=torch.float64).to(dtype)
        features, head = Taps(net)(normal).features, Taps(net, ["penultimate"])(normal).features["penultimate"]
    labels = torch.arange(60) % classes
    bank = fit_bank(features, labels, components=2, strength=0.1, generator=generator)
    substitute = small_net(size[0], classes, len(size) - 1, seed=1).to(dtype)
    target = (y + 1) % classes if targeted else None
    return World(net, x, y, target, bank, substitute, features, labels, head)


def steerable(shape: str) -> World:
    """A world of two classes whose linear network a budget of 0.1 can turn everywhere, and none of 0.002 can."""
    w = world(shape, 2, True)
    sign = torch.rand(w.x[0].numel(), generator=torch.Generator().manual_seed(4)).sub(0.5).sign().double()
    net = nn.Sequential(nn.Flatten(), nn.Linear(len(sign), 2)).double()
    net[1].weight.data = torch.stack([sign, -sign]) / 4
    x = w.x.clone()
    far = (x.flatten(1) - 0.5) @ sign
    x += ((far.sign() - far) / len(sign))[:, None].mul(sign).reshape(x.shape)  # every case at distance 1
    net[1].bias.data = torch.tensor([-1.0, 1.0]).double() * sign.sum() / 8
    y = net(x.clamp(0, 1)).argmax(dim=1)
    return w._replace(net=net, x=x.clamp(0, 1), y=y, target=1 - y)
