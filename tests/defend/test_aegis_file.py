"""A guard's file: the same decisions after loading, and no byte of it can change unnoticed."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from defend.guards import learned, quick_guard
from defend.toy import toy_images
from medaegis import DataError, InputError
from medaegis.defend import JPEG, Aegis, BitDepth, Chain, _aegis_file
from medaegis.defend._aegis_file import aegis_hash
from medaegis.models import network_hash


@pytest.fixture(scope="module")
def guard() -> Aegis:
    return replace(quick_guard(), about={"frame": {"size": 16}})


@pytest.fixture
def file(guard, tmp_path):
    guard.save(tmp_path / "guard.safetensors")
    return tmp_path / "guard.safetensors"


def content(path):
    with safe_open(path, framework="pt") as stored:
        return stored.metadata()["aegis"].split("\n", 1), {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  # not a dict


def test_equal_guards_make_equal_files(guard, file, tmp_path) -> None:
    for name in ("a", "b", "c"):
        guard.save(tmp_path / name)
        assert (tmp_path / name).read_bytes() == file.read_bytes()


def test_another_tnr_needs_no_images(guard) -> None:
    """By hand: the share of calibration cases below the threshold; and the way back is exact."""
    loose = guard.at(0.5)
    for own, threshold in zip(guard.facts.calibration, loose.thresholds.tolist(), strict=True):
        assert sum(value >= threshold for value in own) / len(own) == pytest.approx(0.5, abs=1 / len(own))
    assert torch.equal(loose.at(0.9).thresholds, guard.thresholds)
    with pytest.raises(DataError, match="at least 1000 calibration cases"):
        guard.at(0.999)


def test_a_loaded_guard_is_the_guard(guard, file) -> None:
    x, _ = toy_images(64, 5)
    loaded = Aegis.load(file, learned())
    assert loaded.facts == guard.facts
    assert (loaded.cushion, loaded.about, loaded.shields.plan) == (guard.cushion, guard.about, guard.shields.plan)
    assert torch.equal(loaded.thresholds, guard.thresholds)
    for size in (1, 64):
        assert all(
            torch.equal(a, b) for a, b in zip(loaded(x, batch_size=size), guard(x, batch_size=size), strict=True)
        )


def test_decisions_of_file_and_batches_agree_at_every_own_threshold(guard, tmp_path) -> None:
    """From Python, from the file, alone and by 64, with a case's own logit as threshold: there rounding would tell."""
    x, _ = toy_images(64, 5)
    own = -guard(x, batch_size=1).score
    for i in (0, 17, 40):
        strict = replace(guard, thresholds=own[i].repeat(2))
        strict.save(tmp_path / "strict.safetensors")
        loaded = Aegis.load(tmp_path / "strict.safetensors", learned())
        found = [one(x, batch_size=size).accepted for one in (strict, loaded) for size in (1, 64)]
        assert found[0][i]
        assert all(torch.equal(flags, found[0]) for flags in found)


@pytest.mark.parametrize("cushion", [None, Chain((BitDepth(3), JPEG(70)))])
def test_every_cushion_comes_back(guard, cushion, tmp_path) -> None:
    replace(guard, cushion=cushion).save(tmp_path / "a")
    assert Aegis.load(tmp_path / "a", learned()).cushion == cushion


def test_the_classifier_is_not_in_the_file(guard, file) -> None:
    (_, text), tensors = content(file)
    assert set(tensors) == set(guard.shields.state_dict())
    weight = learned()[0].weight.detach().numpy().tobytes()
    assert weight not in file.read_bytes()
    told = json.loads(text)
    assert told["format"] == 1
    assert {"network_hash", "cushion", "taps", "settings", "thresholds", "class_names", "tnr", "counts"} <= set(told)


def test_the_same_numbers_behind_other_code_are_another_network(guard, file, tmp_path) -> None:
    other = learned()
    other.register_forward_pre_hook(lambda _, given: (0.5 * given[0],))
    assert network_hash(other) == network_hash(learned())
    with pytest.raises(InputError, match="has the same numbers but answers the same images otherwise"):
        Aegis.load(file, other)
    older = replace(guard, facts=guard.facts._replace(answers=()))
    older.save(tmp_path / "older")
    assert Aegis.load(tmp_path / "older", other).facts.answers == ()


def test_no_byte_can_change(file) -> None:
    """Some of all bytes, and all those around the thresholds: every change is refused."""
    whole = file.read_bytes()
    near = whole.index(b"thresholds")
    for place in {*range(0, len(whole), 97), *range(near, near + 60), len(whole) - 1}:
        for changed in (whole[place] ^ 1, (whole[place] + 1) % 256):
            file.write_bytes(whole[:place] + bytes([changed]) + whole[place + 1 :])
            with pytest.raises(DataError, match="guard"):
                Aegis.load(file, learned())
    file.write_bytes(whole[:-5])
    with pytest.raises(DataError, match="cannot be read"):
        Aegis.load(file, learned())


def test_a_digit_of_a_threshold_and_a_byte_of_a_tensor_are_named_as_changes(file) -> None:
    (digest, text), tensors = content(file)
    told = json.loads(text)
    told["thresholds"][0] += 0.1
    save_file(tensors, file, metadata={"aegis": f"{digest}\n{json.dumps(told, indent=1)}"})
    with pytest.raises(DataError, match="changed or damaged after it was saved"):
        Aegis.load(file, learned())
    moved = tensors | {"mean0": tensors["mean0"] + 1e-7}
    save_file(moved, file, metadata={"aegis": f"{digest}\n{text}"})
    with pytest.raises(DataError, match="changed or damaged after it was saved"):
        Aegis.load(file, learned())


def test_a_forged_file_is_found_by_the_hash_kept_elsewhere(guard, file) -> None:
    kept = guard.save(file)
    forged = replace(guard, thresholds=guard.thresholds - 100)
    assert forged.save(file) != kept
    assert Aegis.load(file, learned()).thresholds[0] < -50
    with pytest.raises(DataError, match="is another one"):
        Aegis.load(file, learned(), sha256=kept)
    guard.save(file)
    assert Aegis.load(file, learned(), sha256=kept.upper()).facts == guard.facts


def test_another_network_is_refused(file) -> None:
    other = learned()
    with torch.no_grad():
        other[0].weight[0, 0, 0, 0] += 1e-6
    with pytest.raises(InputError, match="must be the network that"):
        Aegis.load(file, other)


def test_other_files_are_refused(guard, file, tmp_path, monkeypatch) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        Aegis.load(tmp_path / "none", learned())
    save_file({"w": torch.zeros(1)}, tmp_path / "other")
    with pytest.raises(DataError, match="is no guard"):
        Aegis.load(tmp_path / "other", learned())
    (tmp_path / "code").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(DataError, match="cannot be read"):
        Aegis.load(tmp_path / "code", learned())
    with pytest.raises(DataError, match="cannot be written"):
        guard.save(tmp_path / "no" / "folder")
    monkeypatch.setattr(_aegis_file, "FORMAT", 2)
    with pytest.raises(DataError, match="has format 1, and this version of medaegis reads 2"):
        Aegis.load(file, learned())


def test_a_whole_file_that_makes_no_guard_is_refused(file) -> None:
    (_, whole), tensors = content(file)
    for name, value in (
        ("class_names", ["a", "b", "c"]),
        ("cushion", {"cushion": "Pillow"}),
        ("thresholds", [None] * 2),
    ):
        text = json.dumps(json.loads(whole) | {name: value})
        save_file(tensors, file, metadata={"aegis": f"{aegis_hash(text, tensors)}\n{text}"})
        with pytest.raises(DataError, match="not as `Aegis"):
            Aegis.load(file, learned())
