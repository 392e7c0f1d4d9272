"""A folder of images and networks of their mean brightness, whose every answer can be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

NETS = '''
import torch
from torch import nn

class Mean(nn.Module):
    """Class 1 where an image is brighter than `cut`; `slope` says how steeply, and 1e6 leaves no gradient."""

    def __init__(self, slope=100.0, cut=0.5):
        super().__init__()
        self.slope, self.cut = nn.Parameter(torch.tensor(slope)), nn.Parameter(torch.tensor(cut))

    def forward(self, x):
        bright = torch.tanh(self.slope * (x.flatten(1).mean(dim=1) - self.cut))
        return torch.stack([-bright, bright], dim=1)

def plain():
    return Mean(slope=10.0)

def shifted():
    return Mean(slope=10.0, cut=0.505)

def masked():
    return Mean(slope=1e6)

def blind():
    return Mean(slope=10.0, cut=2.0)

def three():
    return nn.Sequential(nn.Flatten(), nn.Linear(768, 3))
'''
GREY = 128  # / 255 = 0.502


def write_images(folder: Path, n: int = 6, side: int = 16) -> Path:
    """n images a class: `dark` three levels below middle grey, `light` two above."""
    random = np.random.default_rng(0)
    for name, level in (("dark", GREY - 3), ("light", GREY + 2)):
        (folder / name).mkdir(parents=True)
        for i in range(n):
            pixels = level + random.integers(-1, 2, size=(side, side))
            pixels[0, 0] = i  # no two images are alike
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{name}{i}.png")
    return folder
