"""What differs from the paper, worked out from the facts of a run: data, network, steps, components, seeds, scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medaegis.report._read import Check, Manifest, Row
from medaegis.report._tables import budget, unique

FAMILIES = ("HFC-21", "HFC-23", "Aegis")
SETS = {
    "Fundoscopy": ("3,663 of APTOS 2019", 3663),
    "Chest X-ray": ("5,863", 5863),
    "Brain": ("1,486 volumes of one hospital, not public", 1486),
    "CIFAR-10": ("60,000", 60000),
}
WORDS = {
    "Fundoscopy": ("fundoscopy", "fundus"),
    "Chest X-ray": ("chest x-ray", "chest-xray", "chest_xray"),
    "Brain": ("brain",),
    "CIFAR-10": ("cifar",),
}
"""What names of sets and parts hold."""
SOURCES = {"kermany": "Chest X-ray", "aptos": "Fundoscopy"}
"""Sources that can only be of one of these sets, where the table calls the set something else."""
NETWORKS, SIZE, NETWORK_3D = ("ResNet-50", "VGG-16"), 256, "ResNet-18 with 3-D kernels"
UNNAMED, VGG_ALONE = "HFC-23 Table VI", "Aegis Table 5"
"""Tables whose network the paper does not name, or is not ResNet-50."""
KNOWN = {"resnet50": "ResNet-50", "vgg16": "VGG-16", "resnet18": "ResNet-18", "small-resnet": "a small ResNet"}
STEP = 0.02  # of 1/256: the step size of the HFC papers
AEGIS_STEPS = 100
COMPONENTS = {
    ("HFC-21", "Fundoscopy"): 64, ("HFC-23", "Fundoscopy"): 64,
    ("HFC-21", "Chest X-ray"): 1, ("HFC-23", "Chest X-ray"): 16,
}  # fmt: skip
BRAIN_BUDGET = "1/256"
MORE_STEPS = "More steps do not help"
TINY = " (tiny)"
PHANTOM = "phantom"
NO_DATA = "Synthetic images stand in where no data is given."


@dataclass(frozen=True)
class Difference:
    """One line of the box: what it is about, what this run has, what the paper has, and why."""

    what: str
    here: str
    paper: str
    why: str


def differences_from_paper(manifest: Manifest, table: Sequence[Row]) -> tuple[Difference, ...]:
    """Compare the facts of a run with those of the paper that it follows.

    Args:
        manifest: of the run.
        table: its rows, for the names of data sets.

    Returns:
        What differs; none where the run follows no paper.

    Example:
        >>> differences_from_paper(read_run(Path("runs/demo")).manifest, ())  # doctest: +SKIP
        ()
    """
    family = family_of(manifest.paper)
    if family is None:
        return ()
    named = (*(row.dataset for row in table), SOURCES.get(manifest.data.source, ""))
    called = {known: [name for name in named if name.startswith(known)] for known in SETS}
    sets = {known: own[0] for known, own in called.items() if own}
    names = tuple(sets)
    found = (
        _scale(manifest),
        *_images(manifest, sets),
        _split(manifest),
        _network(manifest, names),
        _weights(manifest, names),
        _training(manifest),
        _budget(table),
        _steps(manifest, family),
        _components(manifest, family, names),
        _seeds(manifest),
    )
    return tuple(one for one in found if one is not None)


def family_of(paper: str | None) -> str | None:
    """The first of the papers that a recipe names.

    Example:
        >>> family_of("HFC-21 Table 2, HFC-23 Table I"), family_of(None)
        ('HFC-21', None)
    """
    return next((name for name in FAMILIES if paper and name in paper), None)


def _scale(manifest: Manifest) -> Difference | None:
    if manifest.scale != "tiny" and not manifest.recipe.endswith(TINY):
        return None
    return Difference("Scale", "the recipe\u2019s tiny version", "the whole experiment", "For a first look only.")


def _images(manifest: Manifest, sets: Mapping[str, str]) -> list[Difference]:
    """One line a set whose number of images is not the paper's; `sets` has what the table calls it."""
    data, found = manifest.data, list[Difference]()
    for name, called in sets.items():
        own, (said, size) = _count(data.classes, name), SETS[name]
        n, where = (data.n, data.root) if own is None and len(sets) == 1 else (own, "--data")
        if n is None or n == size:
            continue
        made = data.source.startswith(PHANTOM) or PHANTOM in called.lower()
        why = f"It is what {where} holds" + ("; fewer images make wider intervals." if n < size else ".")
        here = f"{n:,}{' synthetic ones' if made else ''}"
        found.append(Difference(f"Images, {name}", here, said, NO_DATA if made else why))
    if not sets and data.source.startswith(PHANTOM):
        found.append(Difference("Images", f"{data.n:,} synthetic ones", "real ones", NO_DATA))
    return found


def _count(classes: Mapping[str, int], name: str) -> int | None:
    """The images of one set in a run of several, whose classes are told apart by the set's or the part's name."""
    groups: dict[str, int] = {}
    for label, count in classes.items():
        group = label.lower().rpartition(", ")[0]
        groups[group] = groups.get(group, 0) + count
    return next((n for group, n in groups.items() if any(word in group for word in WORDS[name])), None)


def _split(manifest: Manifest) -> Difference | None:
    by = manifest.data.split.get("by")
    if by is None or by == "image":
        return None
    why = f"A {by} whose images stand on two sides would flatter every figure."
    return Difference("Split", f"by {by}", "by image", why)


def _network(manifest: Manifest, names: Sequence[str]) -> Difference | None:
    size, volumes = manifest.settings.get("size"), "Brain" in names
    kinds = unique(KNOWN.get(one.split(" ")[0], one.split(" ")[0]) for one in manifest.model.name.split(", "))
    theirs = NETWORKS[1:] if VGG_ALONE in (manifest.paper or "") else NETWORKS
    if not volumes and set(kinds) <= set(theirs) and size in (SIZE, None):
        return None
    named = "a network that it does not name" if UNNAMED in (manifest.paper or "") else theirs[0]
    paper = NETWORK_3D if volumes else f"{named} at {SIZE} px"
    here = " and ".join(kinds) + (f" at {size} px" if isinstance(size, int) else "")
    why = f"It ran on {_machine(manifest)}; smaller networks and images can be less vulnerable at small budgets."
    return Difference("Network", here, paper, why)


def _machine(manifest: Manifest) -> str:
    threads = f"{manifest.threads} thread{'' if manifest.threads == 1 else 's'}"
    return f"a processor ({threads})" if manifest.device == "cpu" else manifest.device


def _weights(manifest: Manifest, names: Sequence[str]) -> Difference | None:
    if "random" not in manifest.model.weights or "Brain" in names:
        return None
    why = "No weights were given: features are learned from these images alone."
    return Difference("Start of training", manifest.model.weights, "weights of ImageNet", why)


def _training(manifest: Manifest) -> Difference | None:
    eps, steps = manifest.settings.get("train_eps"), manifest.settings.get("train_steps")
    if not eps or budget(str(eps)) == 0:
        return None
    here = f"on PGD at {eps}, {steps} steps (adversarial training)"
    return Difference("Training", here, "on the images themselves", "The command\u2019s own choice (train_eps).")


def _budget(table: Sequence[Row]) -> Difference | None:
    """Of volumes, the budget beside which the paper's figures of another one stand."""
    beside = [row for row in table if row.dataset.startswith("Brain") and not math.isnan(row.published)]
    own = unique(row.eps for row in beside if row.eps)
    if own in ((), (BRAIN_BUDGET,)):
        return None
    why = f"The recipe\u2019s or the command\u2019s own choice; published figures beside ours are of {BRAIN_BUDGET}."
    return Difference("Budget", " or ".join(own), BRAIN_BUDGET, why)


def _steps(manifest: Manifest, family: str) -> Difference | None:
    if "hiding" not in manifest.settings and "defences" not in manifest.settings:
        return None  # stress tests and studies of directions have steps of their own
    steps, eps = manifest.settings.get("steps"), _listed(manifest.settings.get("eps"))
    counts = sorted({_paper_steps(one, family) for one in eps if budget(one) > 0})
    if not isinstance(steps, int) or not counts or counts == [steps]:
        return None
    formula = "" if family == "Aegis" else " (2 eps / (0.02/256))"
    paper = f"{' or '.join(f'{count:g}' for count in counts)} steps{formula}"
    return Difference("Attack steps", f"{steps} steps", paper, _steps_why(manifest.checks, fewer=steps < counts[-1]))


def _paper_steps(eps: str, family: str) -> int:
    return AEGIS_STEPS if family == "Aegis" else round(2 * 256 * budget(eps) / STEP)


def _steps_why(checks: Sequence[Check], *, fewer: bool) -> str:
    own = [check.passed for check in checks if check.name.startswith(MORE_STEPS) and check.passed is not None]
    saves = "Fewer steps save time" if fewer else "The recipe\u2019s own choice"
    if not own:
        return f"{saves}; whether more would help was not checked."
    return f"{saves}; more of them {'do not help' if all(own) else 'would help'} (checked below)."


def _components(manifest: Manifest, family: str, names: Sequence[str]) -> Difference | None:
    own = [int(one) for one in _listed(manifest.settings.get("components")) if str(one).isdigit()]
    wanted = next((COMPONENTS[family, name] for name in names if (family, name) in COMPONENTS), None)
    if len(own) != 1 or wanted is None or own[0] == wanted:
        return None
    why, least = "The recipe\u2019s or the command\u2019s own choice.", _smallest_class(manifest)
    if least is not None and least < 2 * wanted:
        why = f"A component needs two cases of a class, and the smallest class has about {least} in Train."
    return Difference("Components K", str(own[0]), str(wanted), why)


def _smallest_class(manifest: Manifest) -> int | None:
    train, data = manifest.data.split.get("train"), manifest.data
    if not isinstance(train, int) or not data.n or not data.classes:
        return None
    return round(min(data.classes.values()) * train / data.n)


def _seeds(manifest: Manifest) -> Difference | None:
    seeds = _listed(manifest.settings.get("seeds"))
    here = f"{len(seeds)} seeds ({', '.join(map(str, seeds))})" if len(seeds) > 1 else f"one ({manifest.seed})"
    why = "Intervals are over cases" + ("." if len(seeds) > 1 else ", not over trainings.")
    return Difference("Seeds", here, "not stated", why)


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
