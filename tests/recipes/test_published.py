"""The papers' figures are those of the papers: counts by table, and values read from them by hand."""

from __future__ import annotations

import csv
from collections import Counter
from importlib import resources

import pytest

from medaegis_recipes._published import published
from medaegis_recipes._volumes import at_budget

AEGIS = {  # lines of each of Medical Aegis's tables
    ("cushion-stress", "Aegis Table 1", "fundus"): 61,  # 6 ways x 5 layers x 2, and the one clean mean that is legible
    ("cushion-detectors", "Aegis Table 2", "fundus"): 80,  # 10 systems x 4 attacks x 2
    ("defence", "Aegis Table 3", "fundus"): 20,  # 2 systems x 10 attacks
    ("defence", "Aegis Table 3", "chest-xray"): 20,
    ("defence", "Aegis Table 4", "fundus"): 8,  # 2 systems x 4 attacks
    ("defence", "Aegis Table 4", "chest-xray"): 8,
    ("defence-vgg16", "Aegis Table 3", "fundus"): 20,
    ("defence-vgg16", "Aegis Table 3", "chest-xray"): 20,
    ("defence-vgg16", "Aegis Table 4", "fundus"): 8,
    ("defence-vgg16", "Aegis Table 4", "chest-xray"): 8,
    ("defence-layers", "Aegis Table 5", "fundus"): 20,  # 5 choices of layers x 4 attacks
    ("defence-cushions", "Aegis Table 5", "fundus"): 35,  # 7 Cushions x (model, 4 attacks)
}
HFC = {  # lines of each of the HFC papers' tables
    ("stress", "HFC-21 Table 1"): {"fundus": 15, "cifar10": 15},  # 3 layers x (before, 2 ways x (after, difference))
    ("stress", "HFC-21p Table 1"): {"fundus": 15, "cifar10": 15},
    ("hiding", "HFC-21 section 5.1"): {"fundus": 1, "chest-xray": 1},
    ("clean-vgg16", "HFC-21 section 5.1"): {"fundus": 1, "chest-xray": 1},
    ("hiding", "HFC-21 Table 2"): {"fundus": 75, "chest-xray": 75},  # 3 attacks x (Adv. Acc, 6 detectors x 4)
    ("rivals-2021", "HFC-21 Table 3"): {"fundus": 25, "chest-xray": 25},  # 5 ways x 5 detectors
    ("components", "HFC-21 supplement Table 1"): {"chest-xray": 48},  # 8 counts x 6; of fundus as HFC-23 Table III
    ("hiding", "HFC-23 Table I"): {"fundus": 50, "chest-xray": 50, "brain": 84},  # MIM and TIM; brain: 4 x (1 + 5 x 4)
    ("rivals", "HFC-23 Table II"): {"fundus": 30, "chest-xray": 30},  # 5 ways x (Adv. Acc, 5 detectors)
    ("components", "HFC-23 Table III"): {"fundus": 48},
    ("semi-white-box", "HFC-23 Table IV"): {"fundus": 12, "chest-xray": 12},  # 2 ways x (Adv. Acc, 5 detectors)
    ("semi-white-box-vgg16", "HFC-23 Table IV"): {"fundus": 12, "chest-xray": 12},
    ("natural-images", "HFC-23 Table V"): {"cifar10": 20, "chest-xray": 10},  # budgets x 2 ways x 5 detectors
    ("ood-lesions", "HFC-23 Table VI"): {"fundus": 18, "chest-xray": 18},  # 9 kinds x (AUC, FR)
    ("direction", "HFC-23 Fig. 3"): {"fundus": 20, "cifar10": 10},  # pairs of 5 attacks or iterations
}
ONES = [
    ("stress", "fundus", ("up", "8/256", "", "48", "activation after"), 204.8),
    ("stress", "cifar10", ("down", "1/256", "", "45", "activation difference"), 3.0),
    ("hiding", "brain", ("TIM", "1/256", "with", "SVM", "TPR@90"), 34.5),
    ("hiding", "chest-xray", ("", "", "", "", "clean AUC"), 97.0),
    ("rivals", "chest-xray", ("BIM", "1/256", "Closest guide", "SVM", "AUC"), 9.0),
    ("rivals-2021", "chest-xray", ("BIM", "1/256", "Closest guide", "SVM", "AUC"), 9.9),
    ("components", "chest-xray", ("BIM", "1/256", "K = 8", "DNN", "AUC"), 41.9),
    ("components", "fundus", ("BIM", "1/256", "K = 128", "BU", "AUC"), 42.6),
    ("semi-white-box", "chest-xray", ("BIM", "4/256", "with", "", "Adv. Acc"), 76.4),
    ("semi-white-box-vgg16", "fundus", ("BIM", "4/256", "without", "SVM", "AUC"), 48.1),
    ("natural-images", "cifar10", ("BIM", "16/256", "with", "MAHA", "AUC"), 76.4),
    ("ood-lesions", "fundus", ("medium 2", "", "", "", "FR"), 0.2),
    ("direction", "cifar10", ("4, 10", "", "", "", "similarity of iterations"), 92.5),
    ("cushion-stress", "fundus", ("up", "4/256", "jpeg:70", "1st", "change ratio to no Cushion"), -0.52),
    ("cushion-stress", "fundus", ("down", "4/256", "jpeg:90", "penultimate", "activation after"), 10.3),
    ("cushion-stress", "fundus", ("", "", "none", "penultimate", "activation before"), 42.5),
    ("cushion-detectors", "fundus", ("PGD", "16/256", "with", "LID", "TPR@90"), 43.5),
    ("cushion-detectors", "fundus", ("CW-Linf", "16/256", "with", "DNN behind jpeg:80", "TPR@90"), 85.6),
    ("cushion-detectors", "fundus", ("MIM", "16/256", "with", "Shield", "TPR@90"), 97.7),
    ("defence", "chest-xray", ("FGSM", "16/256", "", "Shield", "AUC"), 89.5),
    ("defence", "fundus", ("CW-L2", "8/256", "", "Medical Aegis", "AUC"), 92.3),
    ("defence", "fundus", ("WB_d", "16/256", "", "Medical Aegis", "AUC"), 98.7),
    ("defence-vgg16", "chest-xray", ("PGD-L2", "8/256", "", "Medical Aegis", "AUC"), 99.6),
    ("defence-vgg16", "chest-xray", ("WB", "16/256", "", "Shield", "AUC"), 91.0),
    ("defence-layers", "fundus", ("WB", "16/256", "9", "Medical Aegis", "AUC"), 36.2),
    ("defence-cushions", "fundus", ("HFC", "16/256", "none", "Shield", "AUC"), 97.7),
    ("defence-cushions", "fundus", ("", "", "bits:4", "", "clean AUC"), 96.8),
    ("hiding", "brain", ("PGD", "1/256", "with", "BU", "TPR@90"), 1.5),
    ("hiding", "brain", ("CW-Linf", "1/256", "with", "SVM", "AUC"), 77.9),
    ("hiding", "brain", ("TIM", "1/256", "with", "LID", "TPR@90"), 18.8),
    ("hiding", "brain", ("MIM", "1/256", "with", "KD", "AUC"), 50.8),
    ("hiding", "brain", ("CW-Linf", "1/256", "with", "", "Adv. Acc"), 100.0),
]


def lines() -> list[dict[str, str]]:
    text = resources.files("medaegis_recipes").joinpath("published.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def test_every_table_of_medical_aegis_is_whole() -> None:
    own = [line for line in lines() if line["source"].startswith("Aegis")]
    assert Counter((line["figures"], line["source"], line["data"]) for line in own) == AEGIS


def test_every_table_of_the_hfc_papers_is_whole() -> None:
    own = [line for line in lines() if line["source"].startswith("HFC")]
    known = {(figures, source, data): n for (figures, source), counts in HFC.items() for data, n in counts.items()}
    assert Counter((line["figures"], line["source"], line["data"]) for line in own) == known


def test_the_brain_block_is_whole_and_without_a_network_detector() -> None:
    found = published("hiding", "brain")
    assert len(found) == 4 * (1 + 5 * 2 * 2)  # attacks x (Adv. Acc, detectors x ways x metrics)
    assert {detector for *_, detector, _ in found} == {"", "KD", "MAHA", "LID", "SVM", "BU"}  # the paper has no DNN
    assert all(
        value == 100 for (_, _, way, _, metric), value in found.items() if way == "without" or metric == "Adv. Acc"
    )


@pytest.mark.parametrize(("figures", "data", "key", "value"), ONES)
def test_a_figure_is_the_papers(figures: str, data: str, key: tuple[str, ...], value: float) -> None:
    assert published(figures, data)[key] == value


def test_no_figure_stands_twice_and_none_is_out_of_range() -> None:
    every = lines()
    names = [tuple(value for name, value in line.items() if name != "value") for line in every]
    assert len(set(names)) == len(names)
    rates = [line for line in every if line["figures"] not in ("cushion-stress", "stress")]
    assert all(0 <= float(line["value"]) <= 100 for line in rates)


def test_changes_are_those_of_the_means() -> None:
    """Each layer's changes in percent and its means give one clean mean, as far as the digits bear it.

    One pair is 2 % off in the paper itself (.132 is -43.3 %, where it prints -44.3 %); figures stand as printed.
    """
    found = published("cushion-stress", "fundus")
    clean = {"penultimate": [found["", "", "none", "penultimate", "activation before"]]}
    for (way, eps, cushion, layer, metric), after in found.items():
        if metric == "activation after" and (way, cushion, layer) != ("down", "jpeg:90", "15th"):
            change = found[way, eps, cushion, layer, "change ratio to no Cushion"]
            clean.setdefault(layer, []).append(after / (1 + change / 100))
    for layer, means in clean.items():
        assert max(means) / min(means) < 1.013, layer


def test_the_ablations_are_of_vgg16_on_fundus() -> None:
    """Why Table 5, which names no data, is taken for Fundoscopy: its PGD, CW and WB are those of Tables 3 and 4."""
    whole, layers = published("defence-vgg16", "fundus"), published("defence-layers", "fundus")
    for attack, eps in (("PGD", "16/256"), ("CW-L2", "8/256"), ("HFC", "16/256"), ("WB", "16/256")):
        known = whole[attack, eps, "", "Medical Aegis", "AUC"]
        assert layers[attack, eps, "3+6+9+12", "Medical Aegis", "AUC"] == known
    none = published("defence-cushions", "fundus")
    for attack in ("PGD", "WB"):
        assert none[attack, "16/256", "none", "Shield", "AUC"] == whole[attack, "16/256", "", "Shield", "AUC"]


def test_the_brains_figures_stand_beside_another_budget_only_with_a_word_on_it() -> None:
    figures = published("hiding", "brain")
    assert at_budget(figures, ("1/256",)) == at_budget(figures, ("1/256", "8/256")) == (figures, ())
    moved, (told,) = at_budget(figures, ("8/256",))
    assert moved["MIM", "8/256", "with", "KD", "AUC"] == figures["MIM", "1/256", "with", "KD", "AUC"]
    assert len(moved) == len(figures)
    assert "Budget 8/256, where the paper has 1/256" in told
