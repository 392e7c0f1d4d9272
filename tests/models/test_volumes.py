"""Networks with 3-D kernels: torchvision's own numbers, one channel out of three, BatchNorm folded, random patches."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models.video import r3d_18

from medaegis._errors import DataError, InputError
from medaegis._late import settled
from medaegis.models import Cases, Taps, TrainSettings, accelerate, build_model, find_weights, train_classifier
from medaegis.models._train import augment, patches
from medaegis.models._volumes import KINETICS_MEAN, KINETICS_STD, for_channels, resnet18_3d

NAMES = ("resnet18-3d", "small-resnet-3d")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """Statistics of BatchNorm that are not those of a new network."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.uniform_(-0.5, 0.5, generator=generator(seed))
            module.running_var.uniform_(0.5, 2.0, generator=generator(seed + 1))
    return network.eval()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [None, 1, 3])
def test_volumes_of_any_shape_give_logits(name: str, channels: int | None) -> None:
    network = build_model(name, classes=5, channels=channels).model
    assert network(torch.rand(2, channels or 1, 9, 33, 40)).shape == (2, 5)
    assert not network.training


def test_numbers_are_those_of_torchvision() -> None:
    """Another way to the same network: the library's class, and normalisation by hand."""
    built = build_model("resnet18-3d", classes=400, channels=3).model
    other = randomised(r3d_18(weights=None))
    built.network.load_state_dict(other.state_dict())
    x = torch.rand(1, 3, 4, 24, 24)
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1, 1) for values in (KINETICS_MEAN, KINETICS_STD))
    with torch.no_grad():
        torch.testing.assert_close(built(x), other((x - mean) / std), rtol=1e-4, atol=1e-5)


def test_three_equal_channels_are_one() -> None:
    state = {key: value for key, value in r3d_18(weights=None).state_dict().items() if key.startswith("stem.0")}
    one, three = resnet18_3d(1).stem[0], resnet18_3d(3).stem[0]
    three.weight.data = state["stem.0.weight"]
    one.weight.data = for_channels(state, 1)["stem.0.weight"]
    x = torch.rand(1, 1, 3, 16, 16)
    torch.testing.assert_close(one(x), three(x.expand(-1, 3, -1, -1, -1)), rtol=1e-4, atol=1e-5)
    assert for_channels(state, 3) is state


def test_weights_of_videos_load_but_for_the_head(tmp_path: Path) -> None:
    state = randomised(r3d_18(weights=None), 3).state_dict()
    torch.save(state, tmp_path / "r3d_18-b3b3357e.pth")
    model, report = build_model("resnet18-3d", classes=4, weights=tmp_path / "r3d_18-b3b3357e.pth")
    assert report is not None
    assert report.missing == report.unexpected == ()
    assert not report.reshaped
    assert model(torch.rand(1, 1, 4, 16, 16)).shape == (1, 4)  # in place of the 400 of the file
    assert torch.equal(model.network.layer4[1].conv2[1].running_var, state["layer4.1.conv2.1.running_var"])
    torch.save(model.network.state_dict(), tmp_path / "own.pth")
    again = build_model("resnet18-3d", classes=4, weights=tmp_path / "own.pth", seed=9)
    x = torch.rand(1, 1, 4, 16, 16)
    assert again.report is not None
    assert not again.report.reshaped  # its own head too
    torch.testing.assert_close(again.model(x), model(x))


def test_where_weights_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDAEGIS_WEIGHTS", str(tmp_path))
    assert [find_weights("auto", name) for name in NAMES] == [None, None]  # nothing is downloaded unasked
    (tmp_path / "r3d_18-b3b3357e.pth").touch()
    assert find_weights("auto", "resnet18-3d") == str(tmp_path / "r3d_18-b3b3357e.pth")
    assert find_weights("kinetics", "resnet18-3d") == "kinetics"


@pytest.mark.parametrize(
    ("name", "weights", "text"),
    [
        ("resnet18-3d", "imagenet", "ImageNet's kernels are flat"),
        ("resnet18", "kinetics", '"imagenet" or None for resnet18'),
        ("small-resnet-3d", "kinetics", "for a network outside torchvision"),
        ("resnet18-3D", None, "Did you mean .*resnet18-3d"),
    ],
)
def test_what_does_not_go_together(name: str, weights: str | None, text: str) -> None:
    with pytest.raises(InputError, match=text):
        build_model(name, classes=2, weights=weights)


def test_other_files_do_not_fit(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")
    with pytest.raises(DataError, match="None of the 1 names"):
        build_model("resnet18-3d", classes=2, weights=tmp_path / "a.pth")


@pytest.mark.parametrize(("name", "norms", "layers"), [("resnet18-3d", 20, 17), ("small-resnet-3d", 12, 9)])
def test_every_batch_norm_is_folded_and_features_stay(name: str, norms: int, layers: int) -> None:
    network = randomised(build_model(name, classes=3).model)
    x = torch.rand(2, 1, 6, 24, 24)
    fast = accelerate(network, x, layers="relu")
    assert len(fast.folded) == norms
    with torch.no_grad():
        before, after = Taps(network)(x), Taps(fast.model)(x)
    assert list(before.features) == list(after.features)
    assert len(before.features) == layers
    for name_, z in before.features.items():
        torch.testing.assert_close(after.features[name_], z, rtol=1e-3, atol=1e-3)


def test_a_patch_is_a_block_of_its_own_image_with_every_slice() -> None:
    x = torch.arange(64 * 3 * 6 * 7.0).reshape(64, 1, 3, 6, 7)
    found = patches(x, 4, generator=generator())
    assert found.shape == (64, 1, 3, 4, 4)
    corners = set()
    for case, patch in zip(x, found, strict=True):
        top, left = divmod(int(patch[0, 0, 0, 0] - case[0, 0, 0, 0]), 7)
        assert torch.equal(patch, case[:, :, top : top + 4, left : left + 4])
        corners.add((top, left))
    assert corners == {(top, left) for top in range(3) for left in range(4)}  # every place, for each case its own
    assert torch.equal(found, patches(x, 4, generator=generator()))


@pytest.mark.parametrize("side", [None, 8])
def test_no_patch_is_larger_than_its_image(side: int | None) -> None:
    x = torch.rand(2, 1, 3, 6, 8)
    assert torch.equal(patches(x, side, generator=generator()), x)


def test_a_thin_volume_is_shifted_within_its_slices_and_not_among_them() -> None:
    x = torch.arange(40.0).expand(64, 1, 4, 40, 40) + 100 * torch.arange(4.0).reshape(1, 1, 4, 1, 1)
    moved = augment(x, flip=False, shift=0.05, generator=generator())
    allowed = {tuple((torch.arange(40) + by).clamp(0, 39).tolist()) for by in range(-2, 3)}
    for k in range(4):
        assert {tuple(row.tolist()) for row in moved[:, 0, k, 5] - 100 * k} == allowed


def test_training_sees_patches_and_validation_the_whole() -> None:
    seen: dict[bool, set[tuple[int, ...]]] = {True: set(), False: set()}

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv3d(1, 2, 1), nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen[self.training].add(tuple(x.shape[2:]))
            return self.head(self.conv(x).mean(dim=(2, 3, 4)))

    x, y = torch.rand(8, 1, 3, 12, 12), torch.arange(8) % 2
    cases = Cases(lambda index: x[index], y)
    train_classifier(Watched(), cases, cases, settings=TrainSettings(epochs=1, batch_size=4, crop=6), seed=0)
    assert seen == {True: {(3, 6, 6)}, False: {(3, 12, 12)}}


def test_training_without_patches_is_told_as_before() -> None:
    assert "crop" not in settled(TrainSettings())
    assert settled(TrainSettings(crop=6))["crop"] == 6
    with pytest.raises(InputError, match="`crop` of TrainSettings"):
        TrainSettings(crop=0)
