"""Every example in a docstring runs and prints what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest
import torch

import medaegis

MODULES = ["medaegis", *sorted(found.name for found in pkgutil.walk_packages(medaegis.__path__, "medaegis."))]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, tmp_path, monkeypatch) -> None:
    module = importlib.import_module(name)
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        result = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0, f"{result.failed} of {result.attempted} examples failed; see the captured output"


def test_all_modules_are_found() -> None:
    assert len(MODULES) > 50
    assert {"medaegis.attack._run", "medaegis.models._taps", "medaegis._errors"} <= set(MODULES)
