"""A private copy of a network for many passes to its input: frozen, BatchNorm folded, channels last.

Each change is exact up to the rounding of float32, and is verified: the copy's logits and features on a probe batch
must equal the untouched model's, or the change is taken back. See docs/decisions/004-accelerated-copy.md.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from medaegis._types import Images, Tapped
from medaegis.models._frozen import frozen
from medaegis.models._layout import plain_where_small
from medaegis.models._pointwise import pointwise_by_onednn
from medaegis.models._taps import LayerChoice, Taps

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


class Accelerated(NamedTuple):
    """A network for many passes and what was done to it.

    Attributes:
        model: a copy in evaluation mode whose parameters want no gradient; the untouched model itself where it cannot
            be copied: use it inside `frozen`.
        folded: names of the BatchNorm modules that were folded into the convolution before them.
        memory_format: the memory format that images should have before they enter.
        difference: largest |difference| of logits and features from the untouched model's on the probe, over
            1 + max |value|.
    """

    model: nn.Module
    folded: tuple[str, ...]
    memory_format: torch.memory_format
    difference: float


def accelerate(
    model: nn.Module, probe: Images, *, layers: LayerChoice = "none", tolerance: float = 1e-4
) -> Accelerated:
    """Copy a network and make the copy fast where that changes nothing.

    Args:
        model: any module that maps images to logits; left exactly as it is.
        probe: a few images (b, c, *space) of the kind that will follow; used for finding and verifying.
        layers: layers whose features must stay as they are, as `Taps` takes them.
        tolerance: largest accepted difference of logits and features, relative to 1 + max |value|.

    Returns:
        The copy; with nothing folded and the plain memory format where verification fails.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> accelerate(net, torch.rand(2, 3, 8, 8)).folded
        ('1',)
    """
    with frozen(model), torch.no_grad():
        expected = Taps(model, layers)(probe.clone())
        fast = _fast_format(model, probe)
        for fold, layout in ((True, fast), (True, torch.contiguous_format), (False, fast)):
            duplicate = _copied(model)
            if duplicate is None:
                return Accelerated(model, (), torch.contiguous_format, 0.0)
            candidate = _attempt(duplicate, probe, fold, layout)
            difference = _difference(candidate, probe, layers, expected) if candidate else torch.inf
            if candidate and difference <= tolerance:
                return candidate._replace(difference=difference)
        return Accelerated(copy.deepcopy(model), (), torch.contiguous_format, 0.0)


def _copied(model: nn.Module) -> nn.Module | None:
    try:
        return copy.deepcopy(model)
    except Exception:  # noqa: BLE001  # user's modules may refuse in any way, and the original still serves
        return None


def _fast_format(model: nn.Module, probe: Tensor) -> torch.memory_format:
    convolves = any(isinstance(module, _CONVOLUTIONS) for module in model.modules())
    return _FORMATS.get(probe.dim(), torch.contiguous_format) if convolves else torch.contiguous_format


def use_fast_format(model: nn.Module, probe: Images) -> None:
    """On a CPU, put a network's own parameters into channels-last format, where it can run with them.

    Training takes about 3/4 of the time then; values change by rounding only, and shapes not at all.

    Args:
        model: changed in place.
        probe: one image (1, c, *space).

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2))
        >>> use_fast_format(net, torch.rand(1, 3, 8, 8))
        >>> net[0].weight.is_contiguous(memory_format=torch.channels_last)
        True
    """
    layout = _fast_format(model, probe)
    if probe.device.type != "cpu" or layout is torch.contiguous_format:
        return
    model.to(memory_format=layout)  # pyright: ignore[reportCallIssue]  # torch's stub lacks this overload
    try:
        with frozen(model), torch.no_grad():
            model(probe.clone())
    except Exception:  # noqa: BLE001  # `.view` on activations raises in this format; the plain one still serves
        model.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]  # as above


def _attempt(duplicate: nn.Module, probe: Tensor, fold: bool, layout: torch.memory_format) -> Accelerated | None:
    try:
        folded = _fold(duplicate, probe) if fold else ()
        duplicate.to(memory_format=layout)  # pyright: ignore[reportCallIssue]  # torch's stub lacks this overload
        if layout is not torch.contiguous_format:
            plain_where_small(duplicate, probe)
            pointwise_by_onednn(duplicate)
    except Exception:  # noqa: BLE001  # whatever a user's module cannot bear is a change not to make
        return None
    return Accelerated(duplicate, folded, layout, 0.0)


def _difference(candidate: Accelerated, probe: Tensor, layers: LayerChoice, expected: Tapped) -> float:
    """Largest relative difference; infinite where the copy raises, as `.view` does on channels-last activations."""
    x = probe.clone(memory_format=candidate.memory_format)
    try:
        got = Taps(candidate.model, layers)(x)
    except Exception:  # noqa: BLE001  # as above
        return torch.inf
    pairs = [(got.logits, expected.logits), *((got.features[name], z) for name, z in expected.features.items())]
    worst = [((a - b).abs().max() / (1 + b.abs().max())).item() for a, b in pairs]
    return max((d if d == d else torch.inf for d in worst), default=0.0)


def _fold(model: nn.Module, probe: Tensor) -> tuple[str, ...]:
    """Fold every BatchNorm that alone uses the result of a convolution; each of both must be called once."""
    pairs = _convolutions_before_norms(model, probe)
    for conv_name, norm_name in pairs.items():
        conv, norm = model.get_submodule(conv_name), model.get_submodule(norm_name)
        fused = fuse_conv_bn_eval(conv, norm)  # pyright: ignore[reportArgumentType]  # types are checked in the probe
        model.set_submodule(conv_name, fused)
        model.set_submodule(norm_name, nn.Identity().eval())
    return tuple(pairs.values())


def _convolutions_before_norms(model: nn.Module, probe: Tensor) -> dict[str, str]:
    calls: Counter[str] = Counter()
    made_by: dict[int, tuple[str, Tensor]] = {}
    pairs: dict[str, str] = {}
    uses = _Uses()

    def record(name: str, module: nn.Module, given: Tensor, output: Tensor) -> None:
        calls[name] += 1
        if isinstance(module, _CONVOLUTIONS):
            made_by[id(output)] = (name, output)  # the tensor is kept alive so that its id stays its own
            uses.count[id(output)] = 0  # an earlier tensor, freed since, may have had this id
        elif id(given) in made_by:
            pairs[made_by[id(given)][0]] = name

    with _watch(model, record), uses:
        model(probe.clone())
    used_once = {name for key, (name, _) in made_by.items() if uses.count[key] == 1}
    return {conv: norm for conv, norm in pairs.items() if conv in used_once and calls[conv] == calls[norm] == 1}


class _Uses(TorchDispatchMode):
    """Counts the operations that take each tensor: a convolution's result that also goes elsewhere must stay."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[int] = Counter()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.count.update(id(value) for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor))
        return func(*args, **(kwargs or {}))


@contextmanager
def _watch(model: nn.Module, record: Any) -> Generator[None]:
    handles: list[Any] = []
    shared = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
    try:
        for name, module in model.named_modules():
            if _foldable(module) and shared[id(module)] == 1:

                def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, name: str = name) -> None:
                    record(name, module, inputs[0], output)

                handles.append(module.register_forward_hook(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _foldable(module: nn.Module) -> bool:
    """Whether it is exactly torch's own convolution or BatchNorm, without hooks, which folding would lose."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    if any(getattr(module, name) for name in hooks):
        return False
    norm = type(module) in _BATCH_NORMS and getattr(module, "running_mean", None) is not None
    return norm or type(module) in _CONVOLUTIONS
