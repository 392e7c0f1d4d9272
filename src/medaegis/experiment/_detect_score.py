"""`medaegis detect score`: every detector of a folder on new images, from one pass of the network, as a CSV."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from medaegis._errors import InputError, NumericsError, require
from medaegis._progress import progress_bar
from medaegis._types import Tapped
from medaegis.detect import extract
from medaegis.experiment._detect_files import DetectorSet, load_detectors
from medaegis.experiment._image_files import Read, list_images
from medaegis.experiment._told_network import told_network
from medaegis.experiment._verdict_table import (
    VerdictRow,
    check_target,
    csv_text,
    judged_rows,
    rows_of,
    write_table,
)
from medaegis.models import network_hash, says_the_same

ANY = "any"


class Scored(NamedTuple):
    """What `medaegis detect score` found.

    Attributes:
        out: the CSV.
        n: images that were scored.
        flagged: images that are flagged in the end.
        by: images that each detector flags.
        unreadable: files that are no image.
    """

    out: Path
    n: int
    flagged: int
    by: dict[str, int]
    unreadable: int


def run_detect_score(
    detectors: str | Path,
    data: Sequence[str | Path],
    *,
    out: str | Path,
    model: str | None = None,
    weights: str | Path | None = None,
    by: str = ANY,
    skip_unreadable: bool = False,
    device: str = "cpu",
    batch_size: int = 32,
    progress: bool = False,
    say: Callable[[str], None] = lambda _line: None,
) -> Scored:
    """Score images by the detectors of a folder and write one CSV row an image.

    Args:
        detectors: the folder that `run_detect_fit` wrote.
        data: folders of images, with or without labels, and single files.
        out: the CSV; its folder must be there.
        model: the network that the detectors were fitted on; None takes its name from the folder. A network of the
            user's own must be named: a file does not say which code runs.
        weights: of the network; None takes the path that was given in fitting.
        by: the detector whose flag counts in the end, or "any".
        skip_unreadable: list files that are no image with their problem, in place of an error.
        device: torch's name of the device.
        batch_size: images that go through the network together; changes speed and memory only.
        progress: show a bar.
        say: takes one line for each remark.

    Returns:
        Counts, and where the CSV is.

    Raises:
        InputError: `by` is none of the detectors, or the network is another than the detectors were fitted on.
        DataError: the folder, the network, an image or the CSV cannot be used.
    """
    known = load_detectors(detectors)
    names = [ANY, *known.detectors]
    require(by in names, "by", "detect score", f"one of {', '.join(names)}", by)
    files = list_images(data)
    target = Path(out)
    check_target(target, "detect score")
    network = known_network(known, model, weights).to(device)
    rows: list[VerdictRow] = []
    with progress_bar(len(files), "scoring", unit="image", show=progress) as advance:
        for read in files.read(known.frame, batch_size=batch_size, skip=skip_unreadable):
            rows += rows_of(read, _verdicts(known, read, network, by, device))
            advance(len(read.names))
    scored = judged_rows(rows, say, "scored")
    write_table(target, csv_text(columns(known), rows))
    counts = {label: sum(row[f"{label}_flagged"] == "true" for row in scored) for label in known.detectors}
    flagged = sum(row["flagged"] == "true" for row in scored)
    return Scored(target, len(scored), flagged, counts, len(rows) - len(scored))


def known_network(known: DetectorSet, model: str | None = None, weights: str | Path | None = None) -> nn.Module:
    """The network that detectors were fitted on, checked by its hash, on the CPU.

    Args:
        known: the detectors.
        model: its name; None takes the one in detectors.json, unless it is a user's own.
        weights: of the network; None takes the path in detectors.json.

    Raises:
        InputError: it is another network, or the user's own and not named.
        DataError: the weights cannot be read.
    """
    told = known.facts["model"]
    built = told_network(
        told,
        classes=len(known.facts["class_names"]),
        channels=known.frame.channels,
        model=model,
        weights=weights,
        holder=str(known.folder),
    )
    found = network_hash(built.model)
    given = f"{built.name} with weights {built.weights}" if built.weights else built.name
    if found != told["network_hash"]:
        raise InputError(
            f"The detectors in {known.folder} were fitted on another network: {told['name']} with hash "
            f"{told['network_hash']}, and {given} has {found}. Their scores "
            "would mean nothing for it. Give the network of the fit with --model and --weights, or fit detectors again."
        )
    answers, frame = told.get("answers"), known.frame
    shape = (frame.channels, *(() if frame.depth is None else (frame.depth,)), frame.size, frame.size)
    if answers and not says_the_same(built.model, shape, answers):
        raise InputError(
            f"The detectors in {known.folder} were fitted on a network of these numbers that computed something else: "
            f"the code of {given} has changed since, or what it does before its first layer. Their scores would mean "
            "nothing for it. Give the code of the fit, or fit detectors again."
        )
    return built.model


def _verdicts(known: DetectorSet, read: Read, network: nn.Module, by: str, device: str) -> list[VerdictRow]:
    if not len(read.images):
        return []
    with torch.no_grad():
        there = extract(network, read.images.to(device), known.layers, batch_size=len(read.images))
        tapped = Tapped(there.logits.cpu(), {name: z.cpu() for name, z in there.features.items()})
        check_finite(read, tapped.features, "its features")
        found_scores = known.scores(tapped)
    check_finite(read, found_scores, "a score")
    scores = {label: values.tolist() for label, values in found_scores.items()}
    best = tapped.logits.double().softmax(dim=1).max(dim=1)
    thresholds = {label: detector.threshold_ or 0.0 for label, detector in known.detectors.items()}
    found: list[VerdictRow] = []
    for i, (probability, place) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True)):
        flags = {label: scores[label][i] > thresholds[label] for label in scores}
        row = {"prediction": known.facts["class_names"][place], "probability": f"{probability:.6g}"}
        for label, flag in flags.items():
            row |= {f"{label}_score": repr(scores[label][i]), f"{label}_threshold": repr(thresholds[label])}
            row[f"{label}_flagged"] = _word(flag)
        row["flagged"] = _word(any(flags.values()) if by == ANY else flags[by])
        found.append(row)
    return found


def check_finite(read: Read, values: Mapping[str, Tensor], what: str) -> None:
    """Raise `NumericsError` that names the first image with a NaN: no comparison would ever flag it."""
    names = [name for name, problem in zip(read.names, read.problems, strict=True) if not problem]
    for where, z in values.items():
        bad = torch.isnan(z) if z.dim() == 1 else ~torch.isfinite(z).all(dim=1)
        if bool(bad.any()):
            name = names[int(bad.nonzero()[0])]
            raise NumericsError(
                f"{name} cannot be scored: {what} at {where} is not finite. Look at the image, and at what the network "
                "divides by; or leave the image out."
            )


def _word(flag: bool) -> str:
    return "true" if flag else "false"


def columns(known: DetectorSet) -> list[str]:
    """The CSV's columns, in order."""
    three = [f"{label}_{what}" for label in known.detectors for what in ("score", "threshold", "flagged")]
    return ["file", "prediction", "probability", *three, "flagged", "problem"]
