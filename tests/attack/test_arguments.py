"""Bad arguments: each error names the thing, its owner, the rule, what came, and the usual fix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from contracts.attack_list import small_net, world
from medaegis import InputError
from medaegis.attack import Attack, Linf, SignStep, bim, cross_entropy, fgsm, hfc, matched_noise, noise, pgd, run_attack

nan = float("nan")


def good() -> dict[str, object]:
    w = world("gray", 2, True, torch.float32)
    return {"attack": bim(eps=0.01, steps=1), "model": w.net, "x": w.x, "y": w.y, "target": w.target}


def spoiled(x: torch.Tensor, value: float) -> torch.Tensor:
    return torch.where(torch.arange(x.numel()).reshape(x.shape) == 5, value, x)


class Returns(nn.Module):
    def __init__(self, make) -> None:
        super().__init__()
        self.make = make

    def forward(self, x):
        return self.make(x)


# name of the argument, how it is spoiled, words of the message
CASES = {
    "uint8 images": ("x", lambda x: (x * 255).byte(), ["floating-point", "torch.uint8", "255"]),
    "images to 255": ("x", lambda x: x * 255, [r"\[0, 1\]", "255.0", "normalisation inside the model"]),
    "negative images": ("x", lambda x: x - 0.1, [r"\[0, 1\]", "-0.1"]),
    "just above 1": ("x", lambda x: spoiled(x, 1 + 2**-20), [r"\[0, 1\]"]),
    "NaN images": ("x", lambda x: spoiled(x, nan), ["finite", "nan"]),
    "infinite images": ("x", lambda x: spoiled(x, float("inf")), ["finite", "inf"]),
    "no images": ("x", lambda x: x[:0], ["not empty", r"\(0, 1, 7, 7\)"]),
    "numpy images": ("x", lambda x: x.numpy(), ["torch tensor", "from_numpy"]),
    "short y": ("y", lambda y: y[:-1], [r"shape \(7,\)", r"\(6,\)"]),
    "one-hot y": ("y", lambda y: nn.functional.one_hot(y), [r"shape \(7,\)", r"\(7, 2\)"]),
    "float y": ("y", lambda y: y.float(), ["integers", "torch.float32"]),
    "bool y": ("y", lambda y: y.bool(), ["integers", "torch.bool"]),
    "numpy y": ("y", lambda y: y.numpy(), ["torch tensor", "as_tensor"]),
    "class k": ("y", lambda y: y + 1, ["from 0 to 1", "2 logits", "from 1 to 2", "Count classes from 0"]),
    "class -1": ("y", lambda y: -y, ["from 0 to 1", "from -1 to 0"]),
    "short target": ("target", lambda t: t[:3], [r"shape \(7,\)", r"\(3,\)"]),
    "target k": ("target", lambda t: t + 1, ["from 0 to 1", "from 1 to 2"]),
    "target -1": ("target", lambda t: t * 0 - 1, ["from 0 to 1", "from -1 to -1"]),
    "attack not called": ("attack", lambda a: bim, ["an Attack", "Call the preset"]),
    "function as model": ("model", lambda m: m.forward, ["torch.nn.Module"]),
    "one logit": ("model", lambda m: Returns(lambda x: x.flatten(1)[:, :1]), ["k >= 2", r"\(1, 1\)", "stack"]),
    "flat logits": ("model", lambda m: Returns(lambda x: x.flatten(1)[:, 0]), ["k >= 2", r"shape \(1,\)"]),
    "tuple of outputs": ("model", lambda m: Returns(lambda x: (x.flatten(1), 0)), ["logits", "tuple"]),
    "no gradient": ("model", lambda m: Returns(lambda x: m(x).detach()), ["no gradient", "no_grad", "BIM"]),
    "batch size 0": ("batch_size", lambda _: 0, ["int >= 1", "got 0"]),
    "batch size 2.0": ("batch_size", lambda _: 2.0, ["int >= 1", "got 2.0"]),
    "batch size True": ("batch_size", lambda _: True, ["int >= 1", "got True"]),
    "seed as generator": ("generator", lambda _: 3, ["torch.Generator", "got 3", "manual_seed"]),
}


@pytest.mark.parametrize("case", list(CASES))
def test_run_attack_refuses(case) -> None:
    name, spoil, words = CASES[case]
    arguments = good()
    arguments[name] = spoil(arguments.get(name))
    with pytest.raises(InputError) as caught:
        run_attack(arguments.pop("attack"), arguments.pop("model"), arguments.pop("x"), arguments.pop("y"), **arguments)
    if case != "no gradient":
        assert f"`{name}` of run_attack must be" in str(caught.value)
    for word in words:
        assert caught.match(word)


def test_labels_of_any_integer_type_are_taken() -> None:
    w = world("gray", 2, True, torch.float32)
    attack = bim(eps=0.01, steps=1)
    for kind in (torch.uint8, torch.int16, torch.int32):
        targeted = run_attack(attack, w.net, w.x, w.y.to(kind), target=w.target.to(kind))
        untargeted = run_attack(attack.plus(hfc(w.bank)), w.net, w.x, w.y.to(kind))
        assert targeted.prediction.dtype == untargeted.prediction.dtype == torch.int64


PRESETS = {
    "eps 8": (lambda: bim(eps=8), "eps` of bim", r"\[0, 1\)", "did you mean 8/256"),
    "eps 1.0": (lambda: pgd(eps=1.0), "eps` of pgd", "got 1.0", "did you mean 1/256"),
    "eps negative": (lambda: fgsm(eps=-0.1), "eps` of fgsm", "got -0.1", "as in 1/256"),
    "eps NaN": (lambda: noise(eps=nan), "eps` of noise", "got nan", "as in 1/256"),
    "eps text": (lambda: bim(eps="1/256"), "eps` of bim", "got '1/256'", "a number"),
    "eps True": (lambda: Linf(True), "eps` of Linf", "got True", "a number"),
    "steps 0": (lambda: bim(eps=0.1, steps=0), "steps` of bim", "int >= 1", "got 0"),
    "steps 2.0": (lambda: pgd(eps=0.1, steps=2.0), "steps` of pgd", "int >= 1", "got 2.0"),
    "steps True": (lambda: pgd(eps=0.1, steps=True), "steps` of pgd", "int >= 1", "got True"),
    "step size 0": (lambda: bim(eps=0.1, step_size=0), "step_size` of bim", r"\(0, 1\)", "got 0"),
    "step size 1": (lambda: bim(eps=0.1, step_size=1), "step_size` of bim", "0.02/256", "got 1"),
    "step size NaN": (lambda: bim(eps=0.1, step_size=nan), "step_size` of bim", "0.02/256", "got nan"),
    "SignStep": (lambda: SignStep(-1), "step_size` of SignStep", r"\[0, 2\)", "got -1"),
    "noise kind": (lambda: noise(eps=0.1, kind="salt"), "kind` of noise", "uniform, gaussian or sign", "got 'salt'"),
    "keep": (lambda: bim(eps=0.1).keeping("all"), "keep` of BIM", '"last", "best" or "first"', "got 'all'"),
    "objective": (lambda: bim(eps=0.1, objective=hfc), "objective` of BIM", "an Objective", r"hfc\(bank\)"),
    "plus": (lambda: bim(eps=0.1).plus(hfc), "objective` of BIM.plus", "an Objective", r"hfc\(bank\)"),
    "Attack steps": (
        lambda: Attack("X", cross_entropy, Linf(0.1), SignStep(0.1), -1),
        "steps` of X",
        "int >= 0",
        "got -1",
    ),
    "hfc bank": (lambda: hfc({}), "bank` of hfc", "MixtureBank", "fit_bank"),
    "hfc weight": (lambda: hfc(world("gray", 2, True).bank, weight=-1), "weight` of hfc", ">= 0", "got -1"),
    "noise shapes": (
        lambda: matched_noise(torch.zeros(2, 1, 3, 3), torch.zeros(1, 1, 3, 3), generator=torch.Generator()),
        "adversarial` of matched_noise",
        r"\(2, 1, 3, 3\)",
        r"got \(1, 1, 3, 3\)",
    ),
}


@pytest.mark.parametrize("case", list(PRESETS))
def test_presets_refuse(case) -> None:
    make, *words = PRESETS[case]
    with pytest.raises(InputError) as caught:
        make()
    for word in words:
        assert caught.match(word)


def test_large_budgets_in_one_step_are_taken() -> None:
    w = world("gray", 2, True)
    for eps in (0.6, np.float64(0.99)):
        assert (run_attack(bim(eps=eps, steps=1), w.net, w.x, w.y).x - w.x).abs().max() > 0.5


def test_hfc_refuses_a_class_without_mixture() -> None:
    w = world("gray", 2, True)
    net = small_net(1, 3).double()
    attack = bim(eps=0.01, steps=2).plus(hfc(w.bank))
    with pytest.raises(InputError, match=r"`bank` of hfc .*none for \[2\].*classes \[0, 1\]"):
        run_attack(attack, net, w.x, w.y, target=torch.full((7,), 2))


def test_hfc_refuses_a_network_without_the_banks_layers() -> None:
    w = world("gray", 2, True)
    net = nn.Sequential(nn.Flatten(), nn.Linear(49, 2)).double()
    with pytest.raises(InputError, match=r"unknown modules \['2', '5'\]"):
        run_attack(bim(eps=0.01).plus(hfc(w.bank)), net, w.x, w.y)
