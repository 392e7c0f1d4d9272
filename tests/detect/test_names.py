from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from medaegis import InputError, MedaegisError
from medaegis.detect import KD, MAHA, DetectorWarning, _names, find_detectors, make_detector
from medaegis.detect._names import DETECTORS


def install(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    entries = [EntryPoint(name, value, "medaegis.detectors") for name, value in values.items()]
    monkeypatch.setattr(_names, "entry_points", lambda group: entries if group == "medaegis.detectors" else [])


def test_an_installed_detector_is_found(monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch, Other="medaegis.detect._maha:MAHA")
    assert find_detectors() == DETECTORS | {"Other": MAHA}
    made = make_detector("Other", seed=3)
    assert isinstance(made, MAHA)
    assert made.seed == 3
    assert list(find_detectors())[: len(DETECTORS)] == list(DETECTORS)


def test_ours_wins_with_a_warning(monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch, KD="medaegis.detect._maha:MAHA")
    with pytest.warns(DetectorWarning, match=r"KD \(medaegis\.detect\._maha:MAHA\) is not used.*detect\._kd"):
        assert find_detectors()["KD"] is KD
    with pytest.warns(DetectorWarning, match="is not used") as caught:
        assert isinstance(make_detector("KD"), KD)
    assert caught[0].filename == __file__
    assert isinstance(make_detector("MAHA"), MAHA)  # and no warning about a name that was not asked for


def test_the_first_of_two_installed_ones_wins(monkeypatch: pytest.MonkeyPatch):
    entries = [EntryPoint("X", f"medaegis.detect:{name}", "medaegis.detectors") for name in ("KD", "MAHA")]
    monkeypatch.setattr(_names, "entry_points", lambda group: entries)
    for call in (lambda: find_detectors()["X"], lambda: type(make_detector("X"))):
        with pytest.warns(DetectorWarning, match=r"X \(medaegis\.detect:MAHA\) is not used"):
            assert call() is KD


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("medaegis.detect:there_is_none", r"detector Bad \(.*cannot be loaded"),
        ("a_module_that_is_not_there:X", r"detector Bad \(.*cannot be loaded: No module"),
        ("medaegis.detect:extract", r"Bad \(.*must be a subclass of medaegis.detect.Detector, got <function extract"),
        ("medaegis.detect:DetectorGuard", "must be a subclass"),
        ("medaegis.detect:Detector", "lacks fit, restore, score, state"),
    ],
)
def test_a_broken_one_stops_no_other(monkeypatch: pytest.MonkeyPatch, value: str, text: str):
    install(monkeypatch, Bad=value, Good="medaegis.detect:MAHA")
    with pytest.warns(DetectorWarning, match=text) as caught:
        assert list(find_detectors()) == [*DETECTORS, "Good"]
    assert caught[0].filename == __file__
    assert isinstance(make_detector("Good"), MAHA)
    with pytest.raises(MedaegisError, match=text):
        make_detector("Bad")


def test_an_unknown_name(monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch, FeatureNorm="nowhere:X")
    with pytest.raises(InputError, match=r"got 'FeatureNrm'\. Did you mean FeatureNorm"):
        make_detector("FeatureNrm")
