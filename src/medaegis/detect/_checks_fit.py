"""Conformance checks of parameters, `fit`, and what must not work before it."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor, nn

from medaegis._errors import MedaegisError, NotFittedError
from medaegis.detect._bench import Bench, Change, demand, demand_error, one_layer, tensors_of
from medaegis.detect._detector import Detector
from medaegis.detect._examples import AnyFeatures, Examples


def parameters_are_kept(bench: Bench) -> None:
    """`get_params` gives what the constructor got; `clone` gives an unfitted detector with the same."""
    detector = bench.fitted(one_layer)
    copy = cast(Detector, clone(detector))
    demand(type(copy) is type(detector) and copy is not detector, "`clone` must give a new detector of the same class.")
    was, now = detector.get_params(), copy.get_params()
    demand(was.keys() == now.keys(), f"`clone` must keep the parameters {list(was)}, got {list(now)}.")
    changed = [name for name in was if repr(was[name]) != repr(now[name])]
    demand(not changed, f"`clone` must keep the parameters' values, changed {changed}.")
    demand_error(copy.state, NotFittedError, "`state` of a clone")


def fit_returns_self(bench: Bench) -> None:
    """`fit` returns the detector itself."""
    detector = bench.new()
    demand(bench.fit(detector, one_layer) is detector, "`fit` must return the detector itself.")


def fit_leaves_inputs_alone(bench: Bench) -> None:
    """Features, labels and examples are as they were."""
    for wrap in (one_layer, bench.by_name()):
        given: list[tuple[Tensor, Tensor]] = []
        cases = bench.near()
        bench.fit(bench.new(), _remembering(wrap, given), cases)
        same = all(torch.equal(now, before) for now, before in given)
        demand(same, "`fit` must not change the features that it is given.")
        demand(torch.equal(cases.labels, bench.near().labels), "`fit` must not change the labels.")


def fit_keeps_copies(bench: Bench) -> None:
    """A fitted detector does not change when the features that it saw are overwritten."""
    given: list[tuple[Tensor, Tensor]] = []
    detector, query = bench.new(), bench.near(5, seed=1)
    bench.fit(detector, _remembering(one_layer, given))
    before = detector.score(*query).clone()
    for z, _ in given:
        z.fill_(1e3)
    demand(torch.equal(detector.score(*query), before), "A fitted detector must not change with the features it saw.")


def fit_keeps_no_graph(bench: Bench) -> None:
    """Scores and state of a detector that was fitted on features with a gradient have none."""
    (z, labels), text = bench.near(5, seed=1), "`fit` must detach what it keeps of the features."
    for wrap in (one_layer, bench.by_name()):
        detector = bench.fitted(lambda given, wrap=wrap: wrap(given.clone().requires_grad_()))
        demand(not detector.score(wrap(z), labels).requires_grad, text)
        demand(not any(part.requires_grad for part in detector.state()[0].values()), text)


def fit_twice_is_fit_anew(bench: Bench) -> None:
    """What an earlier `fit` learned is forgotten."""
    z, labels = bench.near(8, seed=1)
    for wrap in (one_layer, bench.by_name()):
        detector = bench.new()
        bench.fit(detector, lambda given: 2 * given - 1, bench.near(40, seed=5))
        bench.fit(detector, wrap)
        same = torch.equal(detector.score(wrap(z), labels), bench.fitted(wrap).score(wrap(z), labels))
        demand(same, "A second `fit` must give the same scores as a first one on the same features.")


def unfitted_raises(bench: Bench) -> None:
    """Nothing works before `fit`, and no flags before `calibrate`."""
    detector, query = bench.new(), bench.near(8)
    calls = {
        "score": lambda: detector.score(*query),
        "layer_scores": lambda: detector.layer_scores(*query),
        "calibrate": lambda: detector.calibrate(*query),
        "flags": lambda: detector.flags(*query),
        "state": detector.state,
        "fitted_layers": detector.fitted_layers,
    }
    for name, call in calls.items():
        demand_error(call, NotFittedError, f"`{name}` before `fit`")
    with tempfile.TemporaryDirectory() as folder:
        demand_error(lambda: detector.save(Path(folder) / "detector"), NotFittedError, "`save` before `fit`")
    demand_error(lambda: bench.fitted(one_layer).flags(*query), NotFittedError, "`flags` before `calibrate`")


def global_random_state(bench: Bench) -> None:
    """`fit` and `score` neither change nor read the random state of torch, numpy and Python."""
    query, scores = bench.near(8, seed=1), list[Tensor]()
    for seed in (1, 2):
        with _seeded(seed):
            before = _states()
            scores.append(bench.fitted(one_layer).score(*query))
            after = _states()
        changed = [name for name in before if before[name] != after[name]]
        demand(not changed, f"`fit` and `score` must leave the global random state alone, changed: {changed}.")
    demand(torch.equal(*scores), "`fit` and `score` must not depend on the global random state.")


def examples_where_needed(bench: Bench) -> None:
    """A detector that learns attacks refuses to fit without examples and reads them; another leaves them alone."""
    (z, labels), query = bench.near(), bench.near(8, seed=1)

    def scores(examples: Examples | None) -> Tensor:
        detector = bench.new()
        detector.fit(z.clone(), labels.clone(), examples=examples)
        return detector.score(*query)

    given, swapped = bench.examples(one_layer), bench.examples(one_layer, swapped=True)
    if not bench.new().learns_attacks:
        same = torch.equal(scores(None), scores(given))
        demand(same, "A detector with learns_attacks = False must leave examples alone.")
        return
    demand_error(lambda: scores(None), MedaegisError, "`fit` without `examples`, with learns_attacks,")
    same = torch.equal(scores(given), scores(swapped))
    demand(not same, "A detector with learns_attacks = True must learn from its examples.")


def model_is_left_alone(bench: Bench) -> None:
    """`prepare`, `fit` and `score` leave the network's parameters, gradients and mode as they were."""
    if bench.model is None:
        return
    before, query = _snapshot(bench.model), bench.near(5, seed=1)
    bench.fitted(one_layer).score(query.z.requires_grad_(), query.labels)
    changed = [name for name, value in _snapshot(bench.model).items() if not _equal(value, before.get(name))]
    demand(not changed, f"The network must stay as it is; changed: {changed}.")


def _snapshot(model: nn.Module) -> dict[str, Tensor | bool | None]:
    """Copies of all that a network holds, by name: values, gradients, whether they are asked for, and modes."""
    found: dict[str, Tensor | bool | None] = {f"{name} (mode)": m.training for name, m in model.named_modules()}
    found |= {name: value.clone() for name, value in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        found[f"{name} (gradient)"] = None if parameter.grad is None else parameter.grad.clone()
        found[f"{name} (requires_grad)"] = parameter.requires_grad
    return found


def _equal(first: Tensor | bool | None, second: Tensor | bool | None) -> bool:
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return torch.equal(first, second)
    return first is second


def _remembering(wrap: Change, given: list[tuple[Tensor, Tensor]]) -> Change:
    """`wrap`, which also notes each tensor that it gives, beside a copy."""

    def remember(z: Tensor) -> AnyFeatures:
        features = wrap(z.clone())
        given.extend((part, part.clone()) for part in tensors_of(features))
        return features

    return remember


def _states() -> dict[str, Any]:
    numbers: Any = np.random.get_state()  # noqa: NPY002  # the global state is what is looked at
    return {
        "torch": torch.random.get_rng_state().tolist(),
        "numpy": [value.tolist() if isinstance(value, np.ndarray) else value for value in numbers],
        "random": random.getstate(),
    }


@contextmanager
def _seeded(seed: int) -> Generator[None]:
    """The global random states of the processor at this seed, and afterwards as they were."""
    was = torch.random.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002  # to put it back
    try:
        torch.random.set_rng_state(torch.Generator().manual_seed(seed).get_state())
        np.random.seed(seed)  # noqa: NPY002  # what a detector must not read
        random.seed(seed)
        yield
    finally:
        torch.random.set_rng_state(was[0])
        np.random.set_state(was[1])  # noqa: NPY002  # to put it back
        random.setstate(was[2])
