"""A made-up run folder with the shape of a real one: scores are drawn, and the table is worked out from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
from safetensors.numpy import save_file

DETECTORS = {
    "KD": (3.0, 0.4),
    "MAHA": (60.0, -2.0),
    "LID": (4.0, 0.1),
    "SVM": (4.0, -0.5),
    "DNN": (6.0, 0.2),
    "BU": (0.2, -0.5),
}
PUBLISHED = {"KD": (100.0, 73.1), "MAHA": (100.0, 0.0), "LID": (100.0, 48.6)}
NASTY = 'person12<script>alert("x")</script>&_bacteria'
N = 74


def manifest(**changes: Any) -> dict[str, Any]:
    """manifest.json of a small chest X-ray run."""
    return {
        "title": "Hiding attacks from detectors: chest X-ray",
        "recipe": "chest-xray-small",
        "question": "Do detectors notice an attack on a pneumonia classifier once it is told to hide from them?",
        "medaegis": "0.1.0",
        "versions": {"torch": "2.11.0", "numpy": "2.4.6", "scikit-learn": "1.9.1"},
        "python": "3.11.7",
        "platform": "Linux x86_64",
        "device": "cpu",
        "processor": "A processor, AVX2",
        "threads": 1,
        "commit": "0f3c2b1a9d8e7f60",
        "seed": 0,
        "settings": {"attack steps": 100, "step": "0.02/256", "components": 1, "targeted": True, "layers": ["all"]},
        "data": {
            "source": "Chest X-ray, Kermany",
            "root": "/data/chest_xray",
            "fingerprint": "sha256:5f2c8a1e77b04d1c9a3e6b5d2f1087c4e9ab3d6c5f4e2a1b0c9d8e7f6a5b4c3d",
            "n": 5856,
            "classes": {"NORMAL": 1583, "PNEUMONIA": 4273},
            "split": {"train": 4100, "validation": 585, "test": 1171, "adv_train": 173, "adv_test": N, "by": "patient"},
            "skipped": [{"name": "NORMAL/IM-0001<b>.jpeg", "reason": "not a readable image"}],
        },
        "model": {"name": "ResNet-50", "weights": "chest.safetensors", "weights_hash": "sha256:77aa", "loaded": "all"},
        "adaptive": True,
        "started": "2026-03-01T12:00:00+00:00",
        "finished": "2026-03-01T13:01:11+00:00",
        "seconds": 3671.0,
        "stages": [
            {"name": "train classifier", "key": "a3f9c2d4e5b60718", "seconds": 0.02, "cached": True},
            {"name": "attack BIM 1/256 with HFC", "key": "99b1c0ffee123456", "seconds": 812.5, "cached": False},
        ],
        "checks": [
            {"name": "More budget, more success", "passed": True, "text": "Success does not fall from 1/256 to 2/256."},
            {"name": "Steps suffice", "passed": False, "text": "Doubling the steps raises success by 3 points."},
        ],
        "warnings": ["AdvTest holds 74 cases; intervals are wide."],
        "differs": ["Images are 128 by 128, because the run must fit a laptop.", "Split by patient."],
        "paper": "HFC-21 Table 2",
    } | changes  # fmt: skip


def _auc(clean: np.ndarray, attacked: np.ndarray) -> float:
    return 100 * float(np.mean((attacked[:, None] > clean) + 0.5 * (attacked[:, None] == clean)))


def _tpr(clean: np.ndarray, attacked: np.ndarray) -> float:
    return 100 * float(np.mean(attacked > np.percentile(clean, 90)))


def _scores(rng: np.random.Generator, name: str, eps: int) -> dict[str, np.ndarray]:
    plain, hidden = DETECTORS[name]
    centre, unit = (-1200.0, 35.0) if name == "KD" else (20.0, 5.0)
    draw = lambda shift, spread=1.0: centre + unit * (shift + spread * rng.standard_normal(N))
    return {
        "clean": draw(0),
        "noise": draw(0.1),
        "without": draw(plain * eps, 1 + 0.2 * plain),
        "with": draw(hidden / eps),
    }


def _interval(rng: np.random.Generator, score: Any, clean: np.ndarray, attacked: np.ndarray) -> tuple[float, float]:
    again = [score(rng.choice(clean, N), rng.choice(attacked, N)) for _ in range(100)]
    return float(np.percentile(again, 2.5)), float(np.percentile(again, 97.5))


def _row(metric: str, value: float, ends: tuple[float, float], **fields: Any) -> dict[str, Any]:
    empty = {"attack": "", "eps": "", "hfc": "", "detector": "", "n": N, "published": None}
    named = {"dataset": "Chest X-ray", "model": "ResNet-50", "metric": metric, "value": value}
    return named | {"ci_low": ends[0], "ci_high": ends[1]} | empty | fields


def _detector_rows(
    rng: np.random.Generator, name: str, scores: dict[str, np.ndarray], where: dict[str, Any]
) -> list[Any]:
    rows = [_row("TNR achieved", 89.2, (81.1, 95.9), detector=name, attack=where["attack"], eps=where["eps"])]
    for i, hfc in enumerate(("without", "with")):
        clean, here = scores["clean"], where | {"detector": name, "hfc": hfc}
        published = PUBLISHED[name][i] if name in PUBLISHED and where["eps"] == "1/256" else None
        auc = _auc(clean, scores[hfc])
        rows.append(_row("AUC", auc, _interval(rng, _auc, clean, scores[hfc]), published=published, **here))
        rows.append(_row("TPR@90", _tpr(clean, scores[hfc]), _interval(rng, _tpr, clean, scores[hfc]), **here))
        both = np.concatenate([clean, scores["noise"]])
        rows.append(
            _row("AUC vs clean+noise", _auc(both, scores[hfc]), _interval(rng, _auc, both, scores[hfc]), **here)
        )
        rows.append(_row("undetected", 0.98 * (100 - _tpr(clean, scores[hfc])), (0.0, 100.0), **here))
    if name == "BU":
        rows[-1] |= {"value": np.nan, "ci_low": np.nan, "ci_high": np.nan, "n": 0}
    return rows


def _case_rows(scores: dict[str, np.ndarray], name: str, where: dict[str, Any]) -> list[dict[str, Any]]:
    threshold = float(np.percentile(scores["clean"], 90))
    kinds = {
        "clean": ("clean", ""),
        "noise": ("noise", ""),
        "without": ("adversarial", "without"),
        "with": ("adversarial", "with"),
    }
    return [
        {"case": f"person{i}", "group": f"p{i // 2}", "label": "PNEUMONIA", **where, "hfc": hfc, "kind": kind}
        | {"fooled": None if kind == "clean" else kind == "adversarial", "prediction": "NORMAL", "detector": name}
        | {"score": float(value), "threshold": threshold}
        for key, (kind, hfc) in kinds.items()
        for i, value in enumerate(scores[key])
    ]  # fmt: skip


def _write_scores(folder: Path, rng: np.random.Generator, budgets: tuple[int, ...]) -> None:
    table = [
        _row("clean accuracy", 96.4, (95.1, 97.5), n=1171),
        _row("clean AUC", 98.7, (98.0, 99.3), n=1171, published=97.0),
    ]
    cases: list[dict[str, Any]] = []
    for eps in budgets:
        where = {"attack": "BIM", "eps": f"{eps}/256"}
        table += [_row("Adv. Acc", 98.65, (94.59, 100.0), hfc="without", published=90.9 if eps == 1 else None, **where)]
        table += [_row("Adv. Acc", 97.3, (93.24, 100.0), hfc="with", **where)]
        for name in DETECTORS:
            scores = _scores(rng, name, eps)
            table += _detector_rows(rng, name, scores, where)
            cases += _case_rows(scores, name, where)
    pc.write_csv(pa.Table.from_pylist(table), folder / "table.csv")
    pq.write_table(pa.Table.from_pylist(cases), folder / "cases.parquet")


def phantom(rng: np.random.Generator, side: int) -> np.ndarray:
    """A chest, roughly: two dark lungs in a bright body, ribs and grain; (1, side, side) in [0, 1]."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    body = 0.75 * np.exp(-((x / 0.95) ** 6) - (y / 1.1) ** 8)
    lungs = sum(np.exp(-((((x - c) / 0.3) ** 2 + ((y + 0.05) / 0.62) ** 2) ** 2)) for c in (-0.42, 0.42))
    ribs = 0.06 * np.sin(18 * (y + 0.35 * np.abs(x))) * lungs
    image = body - 0.5 * lungs * (0.8 + 0.3 * rng.random()) + ribs + 0.02 * rng.standard_normal((side, side))
    return np.clip(image, 0, 1)[None].astype(np.float32)


def write_gallery(folder: Path, rng: np.random.Generator, side: int = 64, cases: int = 3) -> None:
    """The gallery's two files: BIM with and without HFC."""
    clean = np.stack([phantom(rng, side) for _ in range(cases)])
    signs = [np.sign(rng.standard_normal(clean.shape)).astype(np.float32) for _ in range(2)]
    images = {f"adversarial.{j}": np.clip(clean + s / 256, 0, 1).astype(np.float32) for j, s in enumerate(signs)}
    save_file({"clean": clean, **images}, folder / "gallery.safetensors")
    names = [NASTY, *(f"NORMAL2-IM-0{i}23-0001" for i in range(1, cases))]
    flags = [{name: j == 0 and name != "BU" for name in DETECTORS} for j in range(2)]
    columns = [
        {"title": f"BIM {'+ HFC ' * j}at 1/256", "attack": "BIM", "eps": "1/256", "hfc": ("without", "with")[j]}
        | {
            "predictions": ["NORMAL"] * cases,
            "probabilities": [0.99997 - 0.1 * j] * cases,
            "verdicts": [flags[j]] * cases,
        }
        for j in range(2)
    ]
    shown = [{"name": n, "label": "PNEUMONIA", "prediction": "PNEUMONIA", "probability": 0.981} for n in names]
    (folder / "gallery.json").write_text(json.dumps({"cases": shown, "columns": columns}), encoding="utf-8")


def _write_embedding(folder: Path, rng: np.random.Generator) -> None:
    centres = {"clean, NORMAL (target)": (8, 0), "clean, PNEUMONIA": (-8, 2), "BIM": (18, 12), "BIM + HFC": (7, 1)}
    dots = [
        {"x": cx + 2.0 * rng.standard_normal(), "y": cy + 2.0 * rng.standard_normal(), "group": name, "case": f"c{i}"}
        for name, (cx, cy) in centres.items()
        for i in range(N)
    ]
    pq.write_table(pa.Table.from_pylist(dots), folder / "embedding.parquet")


def write_fake_run(folder: Path, *, budgets: tuple[int, ...] = (1, 2), side: int = 64, **changes: Any) -> Path:
    """Fill a folder as a recipe would; `changes` replace entries of the manifest."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(manifest(**changes)), encoding="utf-8")
    _write_scores(folder, rng, budgets)
    write_gallery(folder, rng, side)
    _write_embedding(folder, rng)
    return folder
