"""What a guard is fitted on: images, classes and patients, and the parts that share no patient."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medaegis._errors import DataError, is_a, is_number, require
from medaegis._types import Images, Labels
from medaegis.data import Dataset, split_adversarial
from medaegis.defend._cushion import Cushion, check_images
from medaegis.models import Cases, frozen

CALIBRATION_SHARE = 0.25
Given = Dataset | tuple[Images, Labels, Sequence[str] | None]


class AegisParts(NamedTuple):
    """Positions of the cases that the classifier gets right behind the Cushion.

    Attributes:
        learn: trains the Shields and chooses their epoch.
        calibration: sets the thresholds, and nothing else.
    """

    learn: Tensor
    calibration: Tensor


@dataclass(frozen=True, eq=False)
class AegisData:
    """Cases in one form; made by `aegis_data`.

    Args:
        images: float32 images (m, c, *space) in [0, 1] of positions (m,).
        labels: (n,) classes.
        groups: (n,) patients.
        class_names: one name a class.
        content: hash of all images.
    """

    images: Callable[[Tensor], Images]
    labels: Tensor
    groups: tuple[str, ...]
    class_names: tuple[str, ...]
    content: str

    def __len__(self) -> int:
        """The number of cases."""
        return len(self.labels)

    def some(self, places: Tensor) -> Cases:
        """The cases of these positions, for a training."""

        def images(index: Tensor) -> Images:
            return self.images(places[index.cpu()])

        return Cases(images, self.labels[places])

    def counts(self, index: Tensor) -> dict[str, int]:
        """By class name, how many of these positions."""
        found = self.labels[index].bincount(minlength=len(self.class_names)).tolist()
        return dict(zip(self.class_names, found, strict=True))


def aegis_data(given: Given) -> AegisData:
    """A `Dataset`, or images (n, c, *space) in [0, 1] with classes (n,) and patients (n,), in one form.

    Raises:
        InputError: it is neither, empty, or its parts do not fit together.

    Example:
        >>> aegis_data((torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 0, 1]), None)).class_names
        ('0', '1')
    """
    owner = "Aegis.fit"
    if isinstance(given, Dataset):
        require(len(given) > 0, "data", owner, "at least one case", 0)
        content = _hash_of([given.images])
        return AegisData(
            lambda index: given.tensor(index.numpy()),
            torch.as_tensor(given.labels),
            given.groups,
            given.class_names,
            content,
        )
    good = is_a(given, tuple) and len(given) == 3 and is_a(given[0], Tensor) and is_a(given[1], Tensor)
    require(good, "data", owner, "a Dataset, or (images, labels, groups)", type(given))
    x, y, groups = given[0], given[1].detach().cpu(), given[2]
    n = len(x) if x.dim() else 0
    require(n > 0, "data", owner, "at least one case", n)
    check_images(x, owner)
    whole = y.shape == (n,) and not y.is_floating_point() and int(y.min()) >= 0
    require(whole, "data", owner, f"labelled by classes ({n},) from 0", (y.dtype, tuple(y.shape)))
    names = tuple(str(i) for i in range(n)) if groups is None else tuple(groups)
    require(len(names) == n, "data", owner, f"of {n} groups, one a case", len(names))
    classes = tuple(str(c) for c in range(int(y.max()) + 1))
    content = _hash_of([x.detach().cpu().float().contiguous().numpy()])
    return AegisData(lambda index: x[index.to(x.device)].float(), y.long(), names, classes, content)


def _hash_of(arrays: Sequence[NDArray[np.generic]]) -> str:
    whole = hashlib.blake2b(digest_size=16)
    for array in arrays:
        whole.update(f"{array.dtype} {array.shape}".encode())
        whole.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return whole.hexdigest()


def aegis_parts(
    model: nn.Module, cushion: Cushion | None, data: AegisData, *, tnr: float, batch_size: int, seed: int
) -> AegisParts:
    """Leave out what the classifier gets wrong behind the Cushion, and draw a quarter of the rest for calibration.

    Raises:
        InputError: the classifier has another number of classes than the data.
        DataError: a class has too few cases for a threshold at `tnr`, or for a part.
    """
    predicted = _predicted(model, cushion, data, batch_size)
    right = (predicted == data.labels).nonzero()[:, 0]
    if len(right) == 0:
        raise DataError(
            f"The classifier gets none of the {len(data)} cases right behind the Cushion. Check its weights, and that "
            f"its classes are in the data's order: {', '.join(data.class_names)}."
        )
    labels = data.labels.numpy()
    split = split_adversarial(right.numpy(), labels, data.groups, train_share=1 - CALIBRATION_SHARE, seed=seed)
    learn, calibration = torch.from_numpy(split.train), torch.from_numpy(split.test)
    check_calibration(data.counts(calibration), tnr)
    return AegisParts(learn, calibration)


def check_tnr(tnr: float) -> None:
    """Raise `InputError` unless `tnr` is a share."""
    require(is_number(tnr) and 0 < tnr < 1, "tnr", "Aegis", "a share in (0, 1), as in 0.90", tnr)


def check_calibration(counts: Mapping[str, int], tnr: float) -> None:
    """Raise `DataError` where a class has too few calibration cases for a threshold at `tnr`.

    Example:
        >>> check_calibration({"ill": 10, "well": 12}, 0.9)
    """
    check_tnr(tnr)
    least = math.ceil(1 / (1 - tnr) - 1e-9)
    few = {name: n for name, n in counts.items() if n < least}
    if few:
        raise DataError(
            f"A threshold at tnr {tnr:g} needs at least {least} calibration cases of each class, a quarter of those "
            f"that the classifier gets right, and there are {few}. Give more images or a lower tnr."
        )


def _predicted(model: nn.Module, cushion: Cushion | None, data: AegisData, batch_size: int) -> Tensor:
    """Predicted classes (n,) behind the Cushion."""
    first = data.images(torch.zeros(1, dtype=torch.int64))
    device = next((parameter.device for parameter in model.parameters()), first.device)
    found: list[Tensor] = []
    with frozen(model), torch.no_grad():
        for index in torch.arange(len(data)).split(batch_size):
            x = data.images(index).to(device)
            logits: Tensor = model(x.clone() if cushion is None else cushion.apply(x))
            shape, k = tuple(logits.shape), len(data.class_names)
            rule = f"a network that gives logits (n, {k}), for {', '.join(data.class_names)}"
            require(len(shape) == 2 and shape[1] == k, "model", "Aegis.fit", rule, shape)
            found.append(logits.argmax(dim=1).cpu())
    return torch.cat(found)
