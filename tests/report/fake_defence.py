"""A made-up run folder of a trial of defences: outcomes are drawn case by case, the table is counted from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc

from medaegis.experiment._adversaries import ADVERSARIES
from medaegis.experiment._defence_worst import Outcome, best_of
from report.fake_run import manifest, write_gallery

DEFENCES = {"Shield, paper": 2.6, "Medical Aegis (jpeg:80), paper": 1.9, "Medical Aegis (jpeg:80), varied": 0.6}
"""How far a defence lets attackers in."""
REACH = {"conventional": -2.2, "adaptive": -0.6, "beyond": 0.9}
PUBLISHED = {"Shield, paper": (98.1, 90.2), "Medical Aegis (jpeg:80), paper": (100.0, 98.7)}
CURVE = ("adam", "adam-4", "wb-momentum")
N = 32


def _share(flags: np.ndarray) -> tuple[float, float, float, int]:
    n = len(flags)
    if n == 0:
        return np.nan, np.nan, np.nan, 0
    p, z = float(flags.mean()), 1.96
    centre, half = (p + z * z / (2 * n)), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)
    return 100 * p, 100 * max(0.0, min(low, p)), 100 * min(1.0, max(high, p)), n


def _area(clean: np.ndarray, margin: np.ndarray) -> tuple[float, float, float, int]:
    wins = (clean[:, None] > margin) + 0.5 * (clean[:, None] == margin)
    if margin.size == 0:
        return np.nan, np.nan, np.nan, 0
    value, half = 100 * float(wins.mean()), 100 * float(wins.mean(axis=0).std()) / np.sqrt(margin.size) + 2
    return value, max(0.0, value - half), min(100.0, value + half), margin.size


def _figures(clean: np.ndarray, outcome: Outcome) -> dict[str, tuple[float, float, float, int]]:
    return {
        "Adv. Acc": _share(outcome.fooled),
        "undetected": _share(outcome.undetected),
        "AUC": _area(clean, outcome.margin),
        "AUC, successful": _area(clean, outcome.margin[outcome.fooled]),
        "TPR@90": _share(outcome.margin < 0),
    }


def _rows(label: str, rng: np.random.Generator, budgets: tuple[int, ...]) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []

    def add(metric: str, found: tuple[float, float, float, int], attack: str = "", eps: str = "") -> None:
        group = next((one.group for one in ADVERSARIES.values() if one.title == attack), "beyond")
        known = metric == "AUC" and label in PUBLISHED and group != "beyond" and eps in ("16/256", "8/256")
        published = PUBLISHED[label][group == "adaptive"] if known else None
        named = {"dataset": "Chest X-ray", "model": "resnet18", "attack": attack, "eps": eps, "hfc": ""}
        ends = dict(zip(("value", "ci_low", "ci_high", "n"), found, strict=True))
        lines.append(named | {"detector": label, "metric": metric} | ends | {"published": published})

    clean = rng.normal(1.3, 1.0, 90)
    add("clean accuracy", _share(np.arange(234) < (221 if label.startswith("Medical") else 223)))
    add("clean AUC", (98.1, 96.4, 99.3, 234))
    add("clean rejected", _share(np.arange(234) < 27))
    add("TNR achieved", _share(clean >= 0))
    add("AUC, unchanged", _area(clean, rng.normal(-2.0, 1.0, 90)))
    outcomes: dict[int, list[Outcome]] = {eps: [] for eps in budgets}
    for eps in budgets:
        for name, one in ADVERSARIES.items():
            skipped = (one.need == "cushion" and not label.startswith("Medical")) or (
                eps < budgets[-1] and name not in CURVE
            )
            if skipped:
                continue
            strength = np.log2(eps) - 4 + DEFENCES[label] + REACH[one.group]
            fooled = rng.random(N) < 1 / (1 + np.exp(-2.5 * (np.log2(eps) - 1.2)))
            outcome = Outcome(fooled & (eps > 1), rng.normal(-1.5 + strength, 1.2, N))
            outcomes[eps].append(outcome)
            for metric, found in _figures(clean, outcome).items():
                add(metric, found, one.title, f"{float(eps * one.scale):g}/256")
    for eps in budgets:
        worst = best_of([one for other in budgets if other <= eps for one in outcomes[other]])
        for metric, found in _figures(clean, worst).items():
            add(metric, found, "Worst case", f"{eps}/256")
    return lines


def _training(label: str, epochs: int) -> list[dict[str, Any]]:
    loss = {"clean_loss": 0.3, "adversarial_loss": 0.4, "validation_loss": 0.5, "loss_0": 0.2, "loss_1": 0.3}
    return [
        {"defence": label, "epoch": i + 1, "eps": (1 + 15 * i / (epochs - 1)) / 256, **loss}
        | {"attack_success": 0.6 - 0.5 * i / epochs, "validation_auc": 0.5 + 0.48 * (1 - np.exp(-i / 5))}
        for i in range(epochs)
    ]


def write_fake_defence(folder: Path, *, budgets: tuple[int, ...] = (1, 2, 4, 8, 16), **changes: Any) -> Path:
    """Fill a folder as the recipe would; `changes` replace entries of the manifest."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    facts = {
        "title": "Shield and Medical Aegis against every attacker: Chest X-ray",
        "recipe": "defence-chest-xray",
        "question": "Which attackers get past the Shield and Medical Aegis, and how far at which budget?",
        "paper": "Aegis Tables 3 and 4",
        "scores": False,
        "followed": list(DEFENCES),
        "warnings": [],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest(**(facts | changes))), encoding="utf-8")
    lines = [line for label in DEFENCES for line in _rows(label, rng, budgets)]
    pc.write_csv(pa.Table.from_pylist(lines), folder / "table.csv")
    epochs = [line for i, label in enumerate(DEFENCES) for line in _training(label, 25 - 4 * i)]
    pc.write_csv(pa.Table.from_pylist(epochs), folder / "training.csv")
    write_gallery(folder, rng)
    return folder
