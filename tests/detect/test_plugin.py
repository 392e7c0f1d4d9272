"""The example of docs/own-detectors.md, installed as an installer would lay it out, without one."""

from __future__ import annotations

import importlib
import shutil
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch

from detect.plain import Plain
from medaegis import InputError, NotFittedError
from medaegis.detect import Detector, OutlierEstimator, check_detector, detector_checks, find_detectors, make_detector
from medaegis.detect._names import DETECTORS

EXAMPLE = Path(__file__).parent / "plugin_example"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The example package on the path, with the metadata that its pyproject.toml asks for."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    metadata = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = project["entry-points"]
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items()) for group, names in groups.items()]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    shutil.copy(EXAMPLE / "feature_norm.py", tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield tmp_path
    sys.modules.pop("feature_norm", None)


def test_it_is_not_there_before():
    assert "FeatureNorm" not in find_detectors()
    with pytest.raises(InputError, match="got 'FeatureNorm'"):
        make_detector("FeatureNorm")


@pytest.mark.usefixtures("installed")
def test_it_is_found_by_name():
    assert [entry.name for entry in entry_points(group="medaegis.detectors")] == ["FeatureNorm"]
    found = find_detectors()
    assert list(found) == [*DETECTORS, "FeatureNorm"]
    detector = make_detector("FeatureNorm", layers=["a"])
    assert isinstance(detector, Detector)
    assert type(detector) is found["FeatureNorm"]
    assert detector.layers == ["a"]


@pytest.mark.usefixtures("installed")
def test_it_keeps_the_laws():
    assert check_detector(find_detectors()["FeatureNorm"]) == list(detector_checks())


@pytest.mark.usefixtures("installed")
def test_scores_by_hand():
    # norms 1, 2 and 3: mean 2, standard deviation 1; a norm of 5 is 3 away
    detector = make_detector("FeatureNorm").fit(torch.tensor([[1.0, 0], [0, 2], [3, 0]]), torch.zeros(3))
    assert detector.score(torch.tensor([[3.0, 4.0], [0, 2]])).tolist() == [9.0, 0.0]
    estimator = OutlierEstimator(make_detector("FeatureNorm")).fit([[1.0, 0], [0, 2], [3, 0]])
    assert estimator.score_samples([[3.0, 4.0]]).tolist() == [-9.0]


@pytest.mark.usefixtures("installed")
def test_its_errors():
    with pytest.raises(NotFittedError, match="FeatureNorm is not fitted"):
        make_detector("FeatureNorm").score(torch.zeros(2, 2))
    with pytest.raises(InputError, match="norms differ"):
        make_detector("FeatureNorm").fit(torch.ones(5, 2), torch.zeros(5))


def test_a_class_that_names_what_it_fits_needs_no_method_for_it():
    class Short(Plain):
        fitted_attribute = "means_"
        fitted_layers = Detector.fitted_layers

    assert check_detector(Short) == list(detector_checks())
    with pytest.raises(NotFittedError, match=r"^Short is not fitted yet: call fit\(features, labels\) first\.$"):
        Short().fitted_layers()


def test_a_class_that_says_nothing_is_told_what_to_do():
    class Silent(Plain):
        fitted_layers = Detector.fitted_layers

    with pytest.raises(NotImplementedError, match="Silent must set `fitted_attribute`, or override `fitted_layers`"):
        Silent().fitted_layers()
