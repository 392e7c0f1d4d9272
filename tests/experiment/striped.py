"""Images of lying and standing stripes as files, and a small network with activations that tells them apart.

The files are as large as the short side before the crop, so that reading them resamples nothing: what is written into
the middle comes out as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from medaegis import Dataset, load_dataset
from medaegis.detect import extract
from medaegis.models import load_factory

SIDE, SIZE = 35, 32  # 35 = round(32 * 280 / 256)
NET = '''
import torch
from torch import nn

def blank():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 2),
    )

def smooth():
    """No activation module, no dense layer."""
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

def three():
    net = blank()
    net[-1] = nn.Linear(8, 3)
    return net
'''


def stripes(n: int, seed: int) -> tuple[NDArray[np.uint8], list[int]]:
    """n images (n, 35, 35), lying and standing in turn, with their own strength, phase and noise."""
    random = np.random.default_rng(seed)
    found: list[NDArray[np.uint8]] = []
    for i in range(n):
        wave = np.sin(np.arange(SIDE) * 1.2 + random.uniform(0, 6)) * random.uniform(15, 25)
        whole = wave[:, None] if i % 2 == 0 else wave[None, :]
        found.append(np.rint(128 + whole + random.normal(0, 6, (SIDE, SIDE))).clip(0, 255).astype(np.uint8))
    return np.stack(found), [i % 2 for i in range(n)]


def write_folder(folder: Path, n: int, seed: int) -> Path:
    """n images in class folders."""
    for i, (image, label) in enumerate(zip(*stripes(n, seed), strict=True)):
        place = folder / ("lying", "standing")[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i:03d}.png")
    return folder


def write_images(folder: Path, images: torch.Tensor) -> Path:
    """Images (n, 3, 32, 32) in [0, 1], rounded to 8 bits, in the middle of files, without class folders."""
    folder.mkdir(parents=True)
    edge = (SIDE - SIZE) // 2
    for i, image in enumerate((images * 255).round().byte().permute(0, 2, 3, 1).numpy()):
        whole = np.full((SIDE, SIDE, 3), 128, dtype=np.uint8)
        whole[edge : edge + SIZE, edge : edge + SIZE] = image
        Image.fromarray(whole).save(folder / f"{i:03d}.png")
    return folder


def trained(network: nn.Module, folder: Path) -> nn.Module:
    """The network with random filters and a last layer fitted by least squares, in evaluation mode."""
    for name, parameter in network.named_parameters():
        with torch.no_grad():
            if name.endswith("bias"):
                parameter.zero_()
            elif parameter.dim() > 1:  # factors of what normalises keep their ones
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))) / 3)
    data = load_dataset(folder, size=SIZE)
    head = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    z = extract(network.eval(), data.tensor(), ["penultimate"]).features["penultimate"].double()
    with torch.no_grad():
        centre, spread = z.mean(dim=0), z.std(dim=0) + 1e-3
        sign = torch.as_tensor(data.labels).double() * 2 - 1
        found = torch.linalg.lstsq((z - centre) / spread, sign[:, None]).solution[:, 0] / spread
        head.weight.copy_(torch.stack([-found, found]) * 4)
        head.bias.copy_(torch.stack([found @ centre, -(found @ centre)]) * 4)
    return network


def save_weights(network: nn.Module, path: Path) -> Path:
    """The state dict as safetensors."""
    save_file(network.state_dict(), path)
    return path


def blank() -> nn.Module:
    """The network of `NET`, not trained."""
    space: dict[str, Any] = {}
    exec(NET, space)
    return space["blank"]()


class Start(NamedTuple):
    """What every test of a command starts from: the network `MODULE:blank`, trained, and images that it has not seen.

    Attributes:
        module: name of an importable module of networks, while the test's path has its folder.
        train: folder of the training images.
        network: trained on them.
        weights: its file.
        new: other images.
    """

    module: str
    train: Path
    network: nn.Module
    weights: Path
    new: Dataset


def write_module(root: Path, module: str) -> str:
    """Write the networks as an importable module; the path must have `root`."""
    (root / f"{module}.py").write_text(NET)
    return module


def start(root: Path, module: str, *, train: int, new: int) -> Start:
    """Write `train` and `new` images and the trained network's weights; the path must have `root`."""
    write_module(root, module)
    folder = write_folder(root / "train", train, 0)
    network = trained(load_factory(f"{module}:blank"), folder).eval()
    weights = save_weights(network, root / "striped.safetensors")
    return Start(module, folder, network, weights, load_dataset(write_folder(root / "new", new, 1), size=SIZE))
