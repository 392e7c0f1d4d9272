"""Networks by name, with the user's or ImageNet's weights, and with their normalisation inside."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from medaegis._errors import DataError, InputError, MedaegisError, is_a, is_int, require
from medaegis._types import Images
from medaegis.models._frozen import seeded
from medaegis.models._volumes import KINETICS, RESNET, SMALL, SmallResNet3d, for_channels, kinetics_scale, resnet18_3d

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
OWN = ("small-resnet", SMALL, RESNET)  # names that torchvision does not have


class Normalised(nn.Module):
    """A network behind a mean/std normalisation, so that it takes images in [0, 1].

    Args:
        network: takes normalised images.
        mean: per channel.
        std: per channel.

    Example:
        >>> Normalised(nn.Identity(), mean=(0.5,), std=(0.5,))(torch.ones(1, 1, 1, 1)).item()
        1.0
    """

    def __init__(
        self, network: nn.Module, mean: tuple[float, ...] = IMAGENET_MEAN, std: tuple[float, ...] = IMAGENET_STD
    ) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("std", torch.tensor(std), persistent=False)

    def forward(self, x: Images) -> Tensor:
        """Logits (n, k) of images in [0, 1]."""
        shape = (1, -1, *(1,) * (x.dim() - 2))
        return self.network((x - self.mean.reshape(shape)) / self.std.reshape(shape))  # pyright: ignore[reportCallIssue]  # buffers are typed Tensor | Module


class LoadReport(NamedTuple):
    """What happened to a state dict.

    Attributes:
        loaded: names of the tensors that were loaded.
        missing: names that the model has and the file lacks.
        unexpected: names that the file has and the model lacks.
        reshaped: names that both have, with different shapes; not loaded.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[str, ...]

    def summary(self) -> str:
        """One line for logs and manifests."""
        parts = [f"{len(self.loaded)} tensors loaded"]
        for name, keys in (("missing", self.missing), ("unexpected", self.unexpected), ("other shape", self.reshaped)):
            if keys:
                parts.append(f"{len(keys)} {name}: {', '.join(keys[:6])}{' …' if len(keys) > 6 else ''}")
        return "; ".join(parts)


class Built(NamedTuple):
    """A network, and what was loaded into it (None where nothing was)."""

    model: nn.Module
    report: LoadReport | None


def build_model(
    name: str, *, classes: int, weights: str | Path | None = None, seed: int = 0, channels: int | None = None
) -> Built:
    """A classifier by name.

    Args:
        name: a torchvision classifier (`resnet18`, `resnet50`, `vgg16` …), `small-resnet`, for volumes `resnet18-3d`
            (torchvision's `r3d_18`) or `small-resnet-3d`, or `package.module:factory`, a function without required
            arguments that returns the user's module (images in [0, 1] to logits).
        classes: number of classes k; the last dense layer of a torchvision network is replaced to match.
        weights: None for random initialisation, `"imagenet"` for torchvision's own (downloaded once), for `resnet18-3d`
            `"kinetics"` (its own, of videos; the first layer's kernels are summed for one channel), or the path of a
            state dict (`.pth` or `.safetensors`); it may be partial, what is missing and unexpected is reported. A
            file trained for `classes` classes brings its own last layer.
        seed: seed of the initialisation, also of what a factory draws from torch's global generator.
        channels: channels of the images, for `small-resnet` (3 by default) and the networks for volumes (1).

    Returns:
        The network in evaluation mode and the report on its weights.

    Raises:
        InputError: the name is unknown, or the factory cannot be used.
        DataError: weights cannot be read or downloaded, or none of their names fits.

    Example:
        >>> build_model("small-resnet", classes=2).model(torch.rand(1, 3, 32, 32)).shape
        torch.Size([1, 2])
    """
    require(is_int(classes) and classes >= 2, "classes", "build_model", "an int >= 2", classes)
    with seeded(seed, torch.device("cpu")):
        if ":" in name:
            return _with_weights(load_factory(name), weights)
        if name == "small-resnet":
            from medaegis.models._small_resnet import SmallResNet

            return _with_weights(SmallResNet(classes, channels=channels or 3), weights)
        if name == SMALL:
            return _with_weights(SmallResNet3d(classes, channels=channels or 1), weights)
        if name == RESNET:
            return _resnet18_3d(classes, weights, channels or 1)
        return _torchvision(name, classes, weights)


def load_factory(reference: str) -> nn.Module:
    """The user's own network, from `package.module:factory`; modules in the current directory are found too.

    Torch's global random state is as before afterwards, whatever the factory draws.

    Raises:
        InputError: it cannot be imported, is not callable, raises, or does not return an `nn.Module`.

    Example:
        >>> load_factory("torch.nn:Identity")
        Identity()
    """
    module_name, _, attribute = reference.partition(":")
    try:
        with _current_directory_importable(), torch.random.fork_rng(devices=[]):
            factory: Callable[[], Any] = getattr(importlib.import_module(module_name), attribute)
            model = factory()
    except MedaegisError:
        raise
    except Exception as error:  # the user's code may raise anything, and the text must say so
        raise InputError(
            f"`model` {reference!r} could not be made: {type(error).__name__}: {error}. "
            "Give package.module:factory, importable from here, callable without arguments."
        ) from error
    require(isinstance(model, nn.Module), "model", reference, "a factory of a torch.nn.Module", type(model))
    return model.eval()


@contextmanager
def _current_directory_importable() -> Generator[None]:
    """What `python -m` does and a console script does not: look for modules in the current directory first."""
    here = os.getcwd()
    sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)


def _torchvision(name: str, classes: int, weights: str | Path | None) -> Built:
    from torchvision import models as zoo

    known = list(zoo.list_models(module=zoo))
    close = difflib.get_close_matches(name.lower(), [*known, *OWN], n=3)
    fix = f"Did you mean {' or '.join(close)}?" if close else "See torchvision.models.list_models()."
    rule = f"a torchvision classifier, {', '.join(OWN)} or package.module:factory"
    require(name in known, "model", "build_model", rule, name, fix)
    require(weights != KINETICS, "weights", "build_model", f'a path, "imagenet" or None for {name}', weights)
    state: dict[str, Tensor] | None = None
    if weights == "imagenet":
        state = _download(name)
    elif weights is not None:
        state = read_state(weights)
    network = zoo.get_model(name, weights=None, num_classes=1000)
    report = _headed(network, classes, state, str(weights))
    return Built(Normalised(network).eval(), report)


def _resnet18_3d(classes: int, weights: str | Path | None, channels: int) -> Built:
    rule = f'a path, "{KINETICS}" or None for {RESNET}'
    require(weights != "imagenet", "weights", "build_model", rule, weights, "ImageNet's kernels are flat.")
    state: dict[str, Tensor] | None = None
    if weights is not None:
        state = for_channels(_download("r3d_18") if weights == KINETICS else read_state(weights), channels)
    network = resnet18_3d(channels)
    report = _headed(network, classes, state, str(weights))
    return Built(Normalised(network, *kinetics_scale(channels)).eval(), report)


def _headed(network: nn.Module, classes: int, state: dict[str, Tensor] | None, source: str) -> LoadReport | None:
    """Give a network a head for `classes` classes and load what fits; a file of such a network brings its own head."""
    report = load_partial(network, state, source=source) if state is not None else None
    replace_head(network, classes)
    if state is not None and report is not None and report.reshaped:
        again = load_partial(network, state, source=source)  # the head of a network trained for these classes
        report = again if len(again.reshaped) < len(report.reshaped) else report
    return report


def _download(name: str) -> dict[str, Tensor]:
    from torchvision import models as zoo

    try:
        return dict(zoo.get_model_weights(name)["DEFAULT"].get_state_dict(progress=True, check_hash=True))
    except (OSError, RuntimeError) as error:  # no connection; a download whose hash is wrong
        raise DataError(
            f"The pretrained weights of {name} could not be downloaded ({error}). Without internet, give a file: "
            "weights=PATH, or put torchvision's file into torch's hub cache (torch.hub.get_dir() + '/checkpoints')."
        ) from error


def read_state(path: str | Path) -> dict[str, Tensor]:
    """A state dict from `.safetensors` or `.pth`/`.pt` (tensors only: nothing in the file is executed).

    Raises:
        DataError: the file is missing, unreadable or holds something else.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError(f"The weights file {file} does not exist. Give the path of a .pth or .safetensors state dict.")
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        state = torch.load(file, weights_only=True, map_location="cpu")
    except Exception as error:  # torch.load and safetensors raise many kinds; all mean the same here
        raise DataError(
            f"The weights file {file} cannot be read as a state dict ({type(error).__name__}). "
            "Save torch.save(model.state_dict(), PATH), not the whole model."
        ) from error
    return _state_of(state, file)


def _state_of(content: object, file: Path) -> dict[str, Tensor]:
    state: Any = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict):
        raise DataError(f"The weights file {file} holds {type(state).__name__}, not a state dict of tensors.")
    other = [str(key) for key, value in state.items() if not isinstance(value, Tensor)]
    if other:
        raise DataError(
            f"The weights file {file} holds more than tensors ({', '.join(other[:4])}), so it is no state dict. "
            "Save the inner state dict alone, or under the key state_dict."
        )
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def load_partial(model: nn.Module, state: dict[str, Tensor], *, source: str) -> LoadReport:
    """Load what fits, as the model's own dtype, and report the rest.

    Raises:
        DataError: not one name of `state` fits the model.

    Example:
        >>> load_partial(nn.Linear(1, 1), {"weight": torch.ones(1, 1)}, source="example").missing
        ('bias',)
    """
    own = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    fits = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    if not fits:
        raise DataError(
            f"None of the {len(state)} names in {source} fits the network; it expects names like {list(own)[:3]}."
        )
    model.load_state_dict(fits, strict=False)
    reshaped = tuple(key for key in state if key in own and key not in fits)
    missing = tuple(key for key in own if key not in state)
    unexpected = tuple(key for key in state if key not in own and not key.endswith("num_batches_tracked"))
    return LoadReport(tuple(fits), missing, unexpected, reshaped)


def _with_weights(model: nn.Module, weights: str | Path | None) -> Built:
    rule = "a path, or None, for a network outside torchvision"
    require(weights not in ("imagenet", KINETICS), "weights", "build_model", rule, weights)
    report = None if weights is None else load_partial(model, read_state(weights), source=str(weights))
    return Built(model.eval(), report)


def replace_head(network: nn.Module, classes: int) -> None:
    """Replace the last dense layer, or the 1x1 convolution that some networks have instead, for `classes` classes.

    Raises:
        InputError: the network has neither.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 1000))
        >>> replace_head(net, 2); net[0].out_features
        2
    """
    for name, module in reversed(list(network.named_modules())):
        if isinstance(module, nn.Linear):
            network.set_submodule(name, nn.Linear(module.in_features, classes, bias=is_a(module.bias, Tensor)))
            return
        if isinstance(module, nn.Conv2d) and module.out_channels == 1000:
            network.set_submodule(name, nn.Conv2d(module.in_channels, classes, module.kernel_size))  # pyright: ignore[reportArgumentType]  # kernel_size is typed loosely
            return
    raise InputError("`model` has no dense layer whose replacement could give the wanted number of classes.")
