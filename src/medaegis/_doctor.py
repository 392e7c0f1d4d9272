"""What `medaegis doctor` looks at."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

DATA_VARIABLE = "MEDAEGIS_DATA"
TORCH_RANGE = (2, 11)


class Finding(NamedTuple):
    """One line of the doctor: what was looked at, whether it is good, and what was found."""

    name: str
    good: bool
    text: str


def examine() -> Iterator[Finding]:
    """Look at the installation, one finding after the other; the self-test comes last and takes a few seconds.

    Example:
        >>> next(iter(examine())).name
        'medaegis'
    """
    import torch

    from medaegis._threads import usable_cores, use_sensible_threads
    from medaegis._version import __version__
    from medaegis.experiment._outputs import PACKAGES, package_versions

    yield Finding("medaegis", True, f"{__version__}, Python {platform.python_version()}, {platform.platform()}")
    major, minor = (int(part) for part in torch.__version__.split(".")[:2])
    versions = ", ".join(f"{name} {number}" for name, number in package_versions(PACKAGES).items())
    yield Finding("packages", (major, minor) >= TORCH_RANGE, f"{versions} (torch 2.11 or later is supported)")
    yield _device()
    cores, threads = usable_cores(), use_sensible_threads()
    yield Finding("threads", threads <= cores, f"torch uses {threads} threads on {cores} usable cores{_chosen()}")
    yield _precision()
    yield _dicom()
    yield _data()
    yield _recipes()
    yield _self_test()


def _chosen() -> str:
    return " (OMP_NUM_THREADS)" if os.environ.get("OMP_NUM_THREADS") else ""


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("device", True, f"cuda: {torch.cuda.get_device_name()}")
    return Finding("device", True, "cpu (no CUDA device; everything works, larger recipes take longer)")


def _precision() -> Finding:
    import torch

    from medaegis.models import ieee_float32

    with ieee_float32():
        convolutions = str(getattr(torch.backends.cudnn, "conv").fp32_precision)  # noqa: B009  # torch's stub lacks it
    good = convolutions == "ieee"
    return Finding("precision", good, f"attacks and training compute in {convolutions} float32 (TF32 would lose steps)")


def _dicom() -> Finding:
    from medaegis.data._dicom import readable_compressions

    known = readable_compressions()
    missing = "; ".join(name for name, good in known.items() if not good)
    more = f"; not {missing} (these need python-gdcm or pylibjpeg)" if missing else ""
    return Finding("dicom", True, f"uncompressed, {', '.join(name for name, good in known.items() if good)}{more}")


def _data() -> Finding:
    folder = Path(os.environ.get(DATA_VARIABLE, "../shared/data"))
    if not folder.is_dir():
        return Finding("data", True, f"no folder {folder} (set {DATA_VARIABLE}); phantoms need none")
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    return Finding("data", True, f"{folder.resolve()}: {', '.join(names)}")


def _recipes() -> Finding:
    from medaegis.experiment import find_recipes

    names = list(find_recipes())
    return Finding("recipes", bool(names), ", ".join(names) or "none: install the package (pip install .)")


def _self_test() -> Finding:
    """A linear model has a known best attack: x - eps sign(w)."""
    import torch

    import medaegis as ma

    head = torch.nn.Linear(64, 2)
    net = torch.nn.Sequential(torch.nn.Flatten(), head)
    x = torch.full((2, 1, 8, 8), 0.5)
    attack = ma.attack.bim(eps=4 / 256, steps=4)
    made = ma.run_attack(attack, net, x, torch.tensor([0, 0]), target=torch.tensor([1, 1]))
    weight = head.weight.detach()
    expected = x + 4 / 256 * (weight[1] - weight[0]).sign().reshape(1, 1, 8, 8)
    good = bool(torch.equal(made.x, expected))
    return Finding(
        "self-test", good, "BIM finds the known optimum of a linear model" if good else "BIM misses the optimum"
    )
