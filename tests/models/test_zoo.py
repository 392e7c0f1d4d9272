"""Networks by name, weights from files, and the user's own factories."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from medaegis import DataError, InputError, build_model, load_factory
from medaegis.models import find_weights, load_partial, read_state
from medaegis.models._zoo import IMAGENET_MEAN, IMAGENET_STD, replace_head

ROOT = Path(__file__).parents[2]


def dense_state() -> dict[str, torch.Tensor]:
    return {"weight": torch.ones(2, 3), "bias": torch.full((2,), 2.0)}


# --- by name


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("resnet18", "network.fc"),
        ("squeezenet1_1", "network.classifier.1"),
        ("mobilenet_v3_small", "network.classifier.3"),
    ],
)
def test_torchvision_names(name, head) -> None:
    built = build_model(name, classes=3)
    assert built.report is None
    assert not built.model.training
    module = built.model.get_submodule(head)
    assert (module.out_features if isinstance(module, nn.Linear) else module.out_channels) == 3
    with torch.no_grad():
        assert built.model(torch.rand(2, 3, 40, 40)).shape == (2, 3)


def test_normalisation_is_inside() -> None:
    model = build_model("resnet18", classes=2).model
    x = torch.rand(1, 3, 40, 40)
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        assert torch.equal(model(x), model.network((x - mean) / std))
    assert not {"mean", "std"} & set(model.state_dict())


@pytest.mark.parametrize("channels", [1, 3])
def test_small_resnet(channels) -> None:
    with torch.no_grad():
        logits = build_model("small-resnet", classes=4, channels=channels).model(torch.rand(2, channels, 33, 40))
    assert logits.shape == (2, 4)


@pytest.mark.parametrize("name", ["resnet18", "small-resnet"])
def test_seed_decides_the_initialisation_and_nothing_else(name) -> None:
    before = torch.get_rng_state()
    one, two, other = (build_model(name, classes=2, seed=seed).model.state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "resnet-50",
            r"`model` of build_model must be a torchvision classifier, .* got 'resnet-50'\. Did you mean .*resnet50",
        ),
        ("ResNet18", "Did you mean .*resnet18"),
        ("small_resnet", "Did you mean .*small-resnet"),
        ("qqq", r"See torchvision\.models\.list_models"),
    ],
)
def test_unknown_names_get_a_hint(name, words) -> None:
    with pytest.raises(InputError, match=words):
        build_model(name, classes=2)


@pytest.mark.parametrize("classes", [1, 0, 2.0, True, "2"])
def test_classes(classes) -> None:
    with pytest.raises(InputError, match="`classes` of build_model must be an int >= 2, got"):
        build_model("resnet18", classes=classes)


def test_replace_head_needs_a_head() -> None:
    with pytest.raises(InputError, match="no dense layer"):
        replace_head(nn.Sequential(nn.ReLU()), 2)


def test_replace_head_keeps_the_absence_of_a_bias() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5, bias=False))
    replace_head(net, 2)
    assert (net[0].out_features, net[1].out_features, net[1].bias) == (4, 2, None)


# --- weights


def test_partial_state_is_reported(tmp_path) -> None:
    full = torchvision.models.resnet18().state_dict()
    state = {key: value for key, value in full.items() if not key.startswith("layer4")}
    state |= {"fc.weight": torch.ones(7, 512), "extra": torch.ones(1)}
    torch.save(state, tmp_path / "partial.pth")
    built = build_model("resnet18", classes=2, weights=tmp_path / "partial.pth")
    report = built.report
    assert report.reshaped == ("fc.weight",)
    assert report.unexpected == ("extra",)
    assert set(report.missing) == {k for k in full if k.startswith("layer4") and "num_batches" not in k}
    assert set(report.loaded) == {k for k in state if "num_batches" not in k} - {"fc.weight", "extra"}
    assert torch.equal(built.model.network.conv1.weight, full["conv1.weight"])
    for words in (
        f"{len(report.loaded)} tensors loaded",
        "missing: layer4.0",
        "1 unexpected: extra",
        "1 other shape: fc.weight",
    ):
        assert words in report.summary()


def test_a_file_trained_for_these_classes_brings_its_own_head(tmp_path) -> None:
    state = build_model("resnet18", classes=3, seed=1).model.network.state_dict()
    save_file(state, tmp_path / "three.safetensors")
    own = build_model("resnet18", classes=3, weights=tmp_path / "three.safetensors", seed=2)
    assert own.report.missing == own.report.reshaped == ()
    assert torch.equal(own.model.network.fc.weight, state["fc.weight"])
    other = build_model("resnet18", classes=4, weights=tmp_path / "three.safetensors", seed=2)
    assert set(other.report.reshaped) == {"fc.weight", "fc.bias"}
    assert other.model.network.fc.out_features == 4


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_files(tmp_path, suffix) -> None:
    file = tmp_path / f"dense{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(dense_state(), file)
    assert all(torch.equal(value, dense_state()[key]) for key, value in read_state(file).items())
    assert all(torch.equal(value, dense_state()[key]) for key, value in read_state(str(file)).items())


@pytest.mark.parametrize(
    "wrap",
    [lambda state: {"state_dict": state}, lambda state: {f"module.{key}": value for key, value in state.items()}],
    ids=["training checkpoint", "data parallel"],
)
def test_usual_wrappings(tmp_path, wrap) -> None:
    torch.save(wrap(dense_state()), tmp_path / "a.pth")
    assert set(read_state(tmp_path / "a.pth")) == {"weight", "bias"}


def test_half_precision_becomes_the_models_own() -> None:
    net = nn.Linear(3, 2)
    load_partial(net, {key: value.half() / 3 for key, value in dense_state().items()}, source="test")
    assert net.weight.dtype == torch.float32
    assert net.weight[0, 0].item() == torch.tensor(1 / 3).half().item()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.pth", None, r"none\.pth does not exist"),
        ("text.pth", b"weights", r"text\.pth cannot be read as a state dict"),
        ("text.safetensors", b"weights", r"cannot be read as a state dict"),
        ("list.pth", [torch.ones(1)], "holds list, not a state dict"),
        (
            "numbers.pth",
            {"epoch": 3, "model": dense_state()},
            r"more than tensors \(epoch, model\).*Save the inner state dict",
        ),
        ("module.pth", nn.Linear(1, 1), r"Save torch\.save\(model\.state_dict\(\), PATH\)"),
        ("other.pth", {"a.b": torch.ones(1)}, r"None of the 1 names in .* expects names like \['conv1\.weight'"),
    ],
)
def test_files_that_are_no_state_dict(tmp_path, name, content, words) -> None:
    file = tmp_path / name
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        torch.save(content, file)
    with pytest.raises(DataError, match=words):
        build_model("resnet18", classes=2, weights=file)


@pytest.mark.parametrize("error", [URLError("no route to host"), RuntimeError("invalid hash value")])
def test_download_without_internet(monkeypatch, error) -> None:
    def refuse(*args, **options):
        raise error

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(DataError, match=r"pretrained weights of resnet18 could not be downloaded .*weights=PATH"):
        build_model("resnet18", classes=2, weights="imagenet")


def test_download(monkeypatch) -> None:
    state = torchvision.models.squeezenet1_1().state_dict()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *args, **options: state)
    report = build_model("squeezenet1_1", classes=2, weights="imagenet").report
    assert (len(report.loaded), report.missing, report.unexpected) == (52, (), ())


def test_imagenet_is_for_torchvision_only() -> None:
    with pytest.raises(InputError, match="`weights` of build_model must be a path, or None"):
        build_model("small-resnet", classes=2, weights="imagenet")


def test_find_weights(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MEDAEGIS_WEIGHTS", raising=False)
    assert [find_weights(choice, "resnet18") for choice in (None, "none", "a.pth")] == [None, None, "a.pth"]
    assert [find_weights("auto", name) for name in ("vgg16", "small-resnet", "a.b:c")] == ["imagenet", None, None]
    file = tmp_path / "weights" / "squeezenet1_1_onnxzoo_fp16.pth"
    file.parent.mkdir()
    file.touch()
    assert find_weights("auto", "squeezenet1_1", tmp_path / "data" / "set") == str(file)
    monkeypatch.setenv("MEDAEGIS_WEIGHTS", str(file.parent))
    assert find_weights("auto", "squeezenet1_1") == str(file)
    assert find_weights("auto", "resnet18") == "imagenet"


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "missing"),
    [("resnet18", [f"layer4.{block}.conv{i}.weight" for block in (0, 1) for i in (1, 2)]), ("squeezenet1_1", [])],
)
def test_real_weights(name, missing) -> None:
    """The counts that their README states: four convolutions of resnet18's layer4 are absent."""
    folder = Path(os.environ.get("MEDAEGIS_WEIGHTS", ROOT.parent / "shared" / "weights"))
    files = sorted(folder.glob(f"{name}*.pth"))
    if not files:
        pytest.skip(f"no weights of {name} at {folder}; set MEDAEGIS_WEIGHTS to their folder")
    built = build_model(name, classes=2, weights=files[0])
    assert [key for key in built.report.missing if ".conv" in key] == missing
    assert built.report.unexpected == ()
    with torch.no_grad():
        assert built.model(torch.rand(1, 3, 96, 96)).isfinite().all()


# --- the user's own network


@pytest.fixture
def own(tmp_path, monkeypatch) -> Iterator[Path]:
    """A current directory with a module of the user's that no other test has imported."""
    (tmp_path / "own_network.py").write_text(
        textwrap.dedent("""
        import torch
        from torch import nn

        def make():
            return nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.Dropout()).train()

        def lazy():
            import own_parts
            return own_parts.Part()

        def needs(width):
            return nn.Linear(width, 2)

        def fails():
            raise KeyError("no such file")

        number = lambda: 3
        constant = 3
    """)
    )
    (tmp_path / "own_parts.py").write_text("from torch import nn\nPart = nn.Identity\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
    yield tmp_path
    for name in ("own_network", "own_parts"):
        sys.modules.pop(name, None)


def test_factory_in_the_current_directory(own) -> None:
    before = list(sys.path)
    model = load_factory("own_network:make")
    assert not model.training
    assert isinstance(load_factory("own_network:lazy"), nn.Identity)
    assert sys.path == before


def test_factory_is_seeded_and_the_global_state_left_alone(own) -> None:
    before = torch.get_rng_state()
    one, two, other = (build_model("own_network:make", classes=2, seed=seed).model[1].weight for seed in (1, 1, 2))
    load_factory("own_network:make")
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_factory_with_weights(own) -> None:
    torch.save({"1.weight": torch.ones(2, 4)}, own / "w.pth")
    built = build_model("own_network:make", classes=2, weights="w.pth")
    assert built.report.missing == ("1.bias",)
    assert torch.equal(built.model[1].weight, torch.ones(2, 4))


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("no_such_module:make", "ModuleNotFoundError.*importable from here"),
        ("own_network:nothing", "AttributeError.*nothing"),
        ("own_network:needs", "TypeError.*callable without arguments"),
        ("own_network:fails", "KeyError.*no such file"),
        ("own_network:constant", "TypeError.*not callable"),
        (
            "own_network:number",
            r"`model` of own_network:number must be a factory of a torch\.nn\.Module, got <class 'int'>",
        ),
        (":make", "ValueError"),
        ("own_network:", "AttributeError"),
    ],
)
def test_factories_that_cannot_be_used(own, reference, words) -> None:
    before = list(sys.path)
    with pytest.raises(InputError, match=words):
        load_factory(reference)
    assert sys.path == before


def test_factory_in_a_fresh_process_without_the_current_directory(own) -> None:
    """A console script's sys.path has no "" in it; `-P` takes it away here."""
    code = "import json, medaegis; print(json.dumps(str(medaegis.load_factory('own_network:lazy'))))"
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=own, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == "Identity()"
