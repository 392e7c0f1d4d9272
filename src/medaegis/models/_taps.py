"""One pass through a network gives its logits and the channel means, or maps, of the layers that were asked for.

A layer is one call of a module. torchvision's residual blocks call one ReLU module two or three times: the first call
keeps the module's name, the following ones get `#2`, `#3`: `layer1.0.relu`, `layer1.0.relu#2`, `layer1.0.relu#3`.
The name `penultimate` stands for the input of the last dense layer (the head).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d

from medaegis._errors import InputError, is_a, is_int, require
from medaegis._types import Images, Tapped
from medaegis.models._frozen import frozen

ACTIVATIONS: tuple[type[nn.Module], ...] = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.CELU, nn.SELU),
    *(nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Hardswish, nn.Tanh),
)
PENULTIMATE = "penultimate"

LayerChoice = Literal["relu", "none"] | Sequence[str]
Grid = int | Literal["whole"] | None


class _ChannelMean(torch.autograd.Function):
    """Mean over all dimensions after the second, with a backward pass that allocates nothing of the layer's size.

    Autograd's own mean expands the (b, c) gradient to the whole activation and divides it there; here the small
    gradient is divided and the expansion is a view, which the engine adds in place to the activation's gradient.
    """

    @staticmethod
    def forward(ctx: Any, activation: Tensor) -> Tensor:
        ctx.shape = activation.shape
        return activation.mean(dim=tuple(range(2, activation.dim())))

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        (gradient,) = grad_outputs
        count = ctx.shape[2:].numel()
        small = gradient / count
        return small.reshape(*small.shape, *(1,) * (len(ctx.shape) - 2)).expand(ctx.shape)


def channel_means(activation: Tensor) -> Tensor:
    """Spatial mean of each channel: (b, c, *space) -> (b, c); of a (b, c) activation, a copy.

    A copy, because networks write into their activations: `nn.ReLU(inplace=True)` after a dense layer.

    Source: HFC-21 section 5.1 ("we compute the mean value of each channel separately").

    Example:
        >>> channel_means(torch.ones(2, 3, 4, 4)).shape
        torch.Size([2, 3])
    """
    return activation.clone() if activation.dim() <= 2 else _ChannelMean.apply(activation)  # pyright: ignore[reportReturnType]  # apply is untyped


def pooled_maps(activation: Tensor, grid: int) -> Tensor:
    """Averages over a grid of `grid` places a dimension: (b, c, *space) -> (b, c, grid, …); of a (b, c), a copy.

    Where the side is no multiple of `grid`, neighbouring places overlap; where it is smaller, they repeat.

    Example:
        >>> pooled_maps(torch.arange(16.0).reshape(1, 1, 4, 4), 2)
        tensor([[[[ 2.5000,  4.5000],
                  [10.5000, 12.5000]]]])
    """
    if activation.dim() <= 2:
        return activation.clone()
    pool = {3: adaptive_avg_pool1d, 4: adaptive_avg_pool2d, 5: adaptive_avg_pool3d}[activation.dim()]
    return pool(activation, grid)


class _Enough(BaseException):  # it is no error, and no network's own `except Exception` may hold it
    """All layers that were asked for have been seen."""


class Taps:
    """A network seen as a function from images to logits and named features, all from one pass.

    Args:
        model: any module that maps images in [0, 1], (b, c, *space), to logits (b, k).
        layers: `"relu"` for every call of an activation module, in the order of calling; `"none"` for logits only; or
            the names of modules (any module), with `#2`, `#3` … for later calls, and `"penultimate"`.
        head: name of the module whose input is the penultimate feature; None takes the last `nn.Linear`.
        grid: None gives the channel means of each layer; g its maps, average-pooled to g places a spatial dimension,
            (b, C_l, g, g) in 2-D; `"whole"` the maps as they are, (b, C_l, *space). What has no spatial dimension, and
            the penultimate feature, stays a vector.

    Hooks live during a call only, also when the model raises. Activations called as functions (`F.relu`) are not
    modules and are not seen by `"relu"`: name the modules around them. Whole maps are the network's own tensors, for
    copies take as long as a Shield; where it has written into one afterwards, the pass is repeated with a copy of it.

    Raises:
        InputError: a name is unknown, `"relu"` finds no activation module, or there is no head.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        >>> logits, features = Taps(net, ["1", "penultimate"])(torch.rand(5, 3, 8, 8))
        >>> logits.shape, list(features), features["1"].shape
        (torch.Size([5, 2]), ['1', 'penultimate'], torch.Size([5, 4]))
    """

    def __init__(
        self, model: nn.Module, layers: LayerChoice = "relu", *, head: str | None = None, grid: Grid = None
    ) -> None:
        good = grid is None or grid == "whole" or (is_int(grid) and grid >= 1)
        require(good, "grid", "Taps", 'an int >= 1, "whole", or None for channel means', grid)
        self.model = model
        self.grid: Grid = grid
        self._versions: dict[str, int] = {}
        self._copied: set[str] = set()
        self.layers: LayerChoice = layers if isinstance(layers, str) else tuple(layers)
        self._wanted = None if layers == "relu" else frozenset(() if layers == "none" else layers)
        modules = dict(model.named_modules())
        self._tapped = _modules_to_hook(modules, layers)
        wants_head = self._wanted is not None and PENULTIMATE in self._wanted
        self._head = modules[head_name(modules, head)] if wants_head else None

    def __call__(self, x: Images) -> Tapped:
        """Run the network once.

        Args:
            x: images (b, c, *space) in [0, 1].

        Returns:
            Logits (b, k) and, by layer name in the order of calling, channel means (b, C_l), or maps; differentiable.

        Raises:
            InputError: a call that was asked for (`name#2`) did not happen, or a module gave no single tensor.
        """
        return Tapped(*self._whole(x))

    def features(self, x: Images) -> dict[str, Tensor]:
        """What a call gives of the layers, without the logits: the network stops behind the last layer that is named.

        Args:
            x: images (b, c, *space) in [0, 1].

        Raises:
            InputError: as a call does.

        Example:
            >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(999, 2))  # a wrong size
            >>> Taps(net, ["1"]).features(torch.rand(1, 1, 8, 8))["1"].shape
            torch.Size([1, 2])
        """
        return self._whole(x, stop=True)[1]

    def names(self, x: Images) -> tuple[str, ...]:
        """The layers' names in the order of calling, found with one pass over `x`; the network's mode is left alone."""
        with frozen(self.model), torch.no_grad():
            return tuple(self(x).features)

    def _whole(self, x: Images, *, stop: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits and all features, from a second pass where the network has written into the first one's."""
        logits, features = self._pass(x, stop)
        written = {name for name, version in self._versions.items() if features[name]._version != version}  # pyright: ignore[reportPrivateUsage]  # torch has no public name for it
        if written:
            self._copied |= written
            logits, features = self._pass(x, stop)
        if self._wanted is not None and len(features) < len(self._wanted):
            missing = sorted(self._wanted - set(features))
            raise InputError(f"`layers` of Taps names {missing}, which the network did not call in this pass.")
        return logits, features

    def _pass(self, x: Images, stop: bool) -> tuple[Tensor, dict[str, Tensor]]:
        features: dict[str, Tensor] = {}
        self._versions.clear()
        try:
            with self._hooks(features, stop):
                return self.model(x), features
        except _Enough:
            return x[:0], features  # nobody asked for logits

    @contextmanager
    def _hooks(self, features: dict[str, Tensor], stop: bool) -> Generator[None]:
        calls: Counter[str] = Counter()
        handles: list[Any] = []

        def enough(*_: Any) -> None:
            if self._wanted is not None and len(features) == len(self._wanted):
                raise _Enough

        try:
            for name, module in self._tapped.items():
                handles.append(module.register_forward_hook(self._recorder(name, calls, features)))
                handles += [module.register_forward_hook(enough)] if stop else []
            if self._head is not None:
                handles.append(self._head.register_forward_pre_hook(_head_recorder(features)))
                handles += [self._head.register_forward_pre_hook(enough)] if stop else []
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _recorder(self, name: str, calls: Counter[str], features: dict[str, Tensor]) -> Callable[..., None]:
        def record(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            calls[name] += 1
            layer = name if calls[name] == 1 else f"{name}#{calls[name]}"
            if self._wanted is None or layer in self._wanted:
                good = is_a(output, Tensor) and output.dim() >= 2
                require(good, "layers", "Taps", f"modules that return one (b, c, *space) tensor; {layer}", type(output))
                features[layer] = self._read(layer, output)

        return record

    def _read(self, layer: str, activation: Tensor) -> Tensor:
        """What is recorded of a layer. Whole maps are copied where it is known, or cannot be seen, that they change."""
        if self.grid is None:
            return channel_means(activation)
        if self.grid != "whole":
            return pooled_maps(activation, self.grid)
        if layer in self._copied or activation.dim() <= 2 or activation.is_inference():
            return activation.clone()
        self._versions[layer] = activation._version  # pyright: ignore[reportPrivateUsage]  # as above
        return activation


def _head_recorder(features: dict[str, Tensor]) -> Callable[..., None]:
    def record(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        features[PENULTIMATE] = channel_means(inputs[0])

    return record


def _modules_to_hook(modules: dict[str, nn.Module], layers: LayerChoice) -> dict[str, nn.Module]:
    if layers == "none":
        return {}
    if layers == "relu":
        found = {name: modules[name] for name in modules if isinstance(modules[name], ACTIVATIONS)}
        require(bool(found), "layers", "Taps", "names of modules where the network has no activation module", layers)
        return found
    require(not isinstance(layers, str), "layers", "Taps", '"relu", "none" or a list of module names', layers)
    bases = dict.fromkeys(name.split("#")[0] for name in layers if name != PENULTIMATE)
    _check_names(bases, modules)
    return {name: modules[name] for name in bases}


def _check_names(names: Iterable[str], modules: dict[str, nn.Module]) -> None:
    unknown = [name for name in names if name not in modules]
    if unknown:
        some = ", ".join(list(filter(None, modules))[:8])
        raise InputError(f"`layers` of Taps names unknown modules {unknown}. This network has: {some} …")


def head_name(modules: dict[str, nn.Module], head: str | None) -> str:
    """Name of the last dense layer among named modules, or `head` itself once it is found there.

    Raises:
        InputError: there is no such module, or no dense layer.

    Example:
        >>> head_name(dict(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).named_modules()), None)
        '2'
    """
    if head is not None:
        _check_names([head], modules)
        return head
    dense = [name for name, module in modules.items() if isinstance(module, nn.Linear)]
    require(bool(dense), "head", "Taps", "the name of the last layer, since the network has no nn.Linear", head)
    return dense[-1]
