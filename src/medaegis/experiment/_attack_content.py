"""From the stored chunks of an attack to table rows, cases, pictures, checks and files."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from medaegis.attack import DEPTHS, L2, Attack
from medaegis.data import Dataset
from medaegis.experiment._attack_files import adversarial_name, write_images
from medaegis.experiment._content import Content, Gallery, GalleryColumn, Row, percent, said_of
from medaegis.experiment._context import Context
from medaegis.experiment._facts import data_facts, estimates, notes_of
from medaegis.experiment._stages_own import AttackedChunk, targets
from medaegis.experiment._weakness import adaptive_check, alive
from medaegis.measure import Estimate, bootstrap, share

if TYPE_CHECKING:
    from medaegis.experiment._attack_run import AttackPlan

SHOWN_A_CLASS = 2
SHOWN = 8
NORMS = {"linf": "Linf", "rms": "RMS", "l2": "L2"}
_WORDS = ("name", "patient", "label", "target", "clean_prediction", "adversarial_prediction")
_FLAGS = ("fooled", *(f"fooled_{bits}_bits" for bits in DEPTHS))
_COUNTS = ("steps", "zero_gradient", "stuck")
COLUMNS = pa.schema(
    [(name, pa.string()) for name in _WORDS]
    + [(name, pa.bool_()) for name in _FLAGS]
    + [(name, pa.int64()) for name in _COUNTS]
    + [(name, pa.float64()) for name in ("objective", *NORMS)]
    + [("file", pa.string()), ("row", pa.int64())]
)


def attack_content(plan: AttackPlan, context: Context) -> Content:
    """Everything that goes into the run folder of an attack."""
    view = _View(plan, context)
    write = partial(write_images, chunks=view.chunks, data=view.data, context=context)
    return Content(view.table(), view.case_rows(), view.facts(), view.gallery(), columns=COLUMNS, more=write)


class _View:
    """The stored results of one attack; what is one number a case is held, images are read chunk by chunk."""

    def __init__(self, plan: AttackPlan, context: Context) -> None:
        self.plan, self.context = plan, context
        self.data: Dataset = plan.clean.images.dataset(context)
        self.chunks: list[AttackedChunk] = plan.chunks(context)
        self.rows = plan.rows(context)
        self.labels = self.data.labels[self.rows]
        self.groups = [self.data.groups[i] for i in self.rows]
        self.clean: Tensor = context.get(plan.clean).tensors["logits"]
        kept = (*_FLAGS, *_COUNTS, "objective", *NORMS, "prediction")
        columns: dict[str, list[Tensor]] = {name: [] for name in kept}
        for chunk in self.chunks:
            stored = context.get(chunk).tensors
            for name, parts in columns.items():
                parts.append(stored[name].clone())  # a copy, so that the chunk's images can leave the memory
        self.found = {name: torch.cat(parts) for name, parts in columns.items()}

    def _row(self, metric: str, figure: Estimate, *, attacked: bool = True) -> Row:
        where = {"attack": "", "eps": "", "hfc": ""}
        if attacked:
            where |= {"attack": self.plan.attack.build().name, "eps": self.plan.attack.budget}
        named = {
            "dataset": self.plan.clean.images.source,
            "model": self.plan.clean.model,
            "detector": "",
            "published": None,
        }
        return Row(metric=metric, **named, **where, **percent(figure))

    def table(self) -> list[Row]:
        """Clean figures; success overall, by class and after storage; sizes of the change in percent of the range."""
        figures = estimates(self.context.get(self.plan.clean).info["figures"])
        rows = [self._row(name, figure, attacked=False) for name, figure in figures.items()]
        rows.append(self._row("Adv. Acc", self._success("fooled")))
        for label in np.unique(self.labels).tolist():
            here = self.labels == label
            rows.append(self._row(f"Adv. Acc of {self.data.class_names[label]}", self._success("fooled", here)))
        rows += [self._row(f"Adv. Acc at {bits} bits", self._success(f"fooled_{bits}_bits")) for bits in DEPTHS]
        return rows + [self._row(f"mean {name}", self._mean(key)) for key, name in NORMS.items()]

    def _success(self, name: str, here: NDArray[np.bool_] | None = None) -> Estimate:
        kept = np.ones(len(self.rows), dtype=bool) if here is None else here
        groups = [group for group, keep in zip(self.groups, kept, strict=True) if keep]
        return share(self.found[name].numpy()[kept], groups=groups)

    def _mean(self, name: str) -> Estimate:
        values = self.found[name].double().numpy()
        return bootstrap(lambda drawn: drawn @ values / drawn.sum(axis=1), len(values), groups=self.groups)

    def case_rows(self) -> list[dict[str, Any]]:
        """One line a case."""
        names, classes = self.data.names, self.data.class_names
        wanted = targets(torch.as_tensor(self.labels), len(classes), self.plan.target)
        places = [(adversarial_name(chunk), row) for chunk in self.chunks for row in range(len(chunk.rows))]
        numbers = {name: self.found[name].tolist() for name in (*_FLAGS, *_COUNTS, "objective", *NORMS)}
        predicted = self.found["prediction"].tolist()
        return [
            {
                "name": names[place],
                "patient": self.groups[i],
                "label": classes[self.labels[i]],
                "target": None if wanted is None else classes[int(wanted[i])],
                "clean_prediction": classes[int(self.clean[place].argmax())],
                "adversarial_prediction": classes[predicted[i]],
                **{name: values[i] for name, values in numbers.items()},
                "file": places[i][0],
                "row": places[i][1],
            }
            for i, place in enumerate(self.rows.tolist())
        ]

    def gallery(self) -> Gallery:
        """The first cases of each class: clean, attacked, and the change between them."""
        first = [np.flatnonzero(self.labels == label)[:SHOWN_A_CLASS] for label in np.unique(self.labels)]
        chosen = np.sort(np.concatenate(first))[:SHOWN].tolist()
        names, classes = self.data.names, self.data.class_names
        places = self.rows[chosen]
        cases = [
            {
                "name": names[place],
                "label": classes[self.data.labels[place]],
                **said_of(self.clean[place], self.data.class_names),
            }
            for place in places.tolist()
        ]
        found = [self._attacked(i) for i in chosen]
        said = [said_of(logits, self.data.class_names) for _, logits in found]
        facts: dict[str, Any] = {"title": self.plan.attack.title, "hfc": "", "verdicts": [{} for _ in chosen]}
        facts |= {"attack": self.plan.attack.build().name, "eps": self._shown_budget(chosen)}
        facts |= {"predictions": [s["prediction"] for s in said], "probabilities": [s["probability"] for s in said]}
        column = GalleryColumn(facts, torch.stack([image for image, _ in found]))
        return Gallery(cases, self.data.tensor(places), [column])

    def _attacked(self, i: int) -> tuple[Tensor, Tensor]:
        chunk = next(c for c in reversed(self.chunks) if c.start <= i)
        tensors = self.context.get(chunk).tensors
        return tensors["x"][i - chunk.start], tensors["logits"][i - chunk.start]

    def _shown_budget(self, chosen: list[int]) -> str:
        """The budget on each pixel, or, of an attack without one, the largest change in the pictures."""
        built = self.plan.attack.build()
        if isinstance(built, Attack) and not isinstance(built.constraint, L2):
            return self.plan.attack.budget
        return f"{float(self.found['linf'][chosen].max()) * 256:.3g}/256"

    def checks(self) -> list[dict[str, Any]]:
        """The signs of weakness, all of them, also those that were not looked for."""
        probes = self.plan.probes(self.context)
        fooled = self.found["fooled"][torch.as_tensor(probes.places)]
        found = [alive(self.found["stuck"], self.found["steps"]), *probes.checks(fooled, self.context)]
        return [check.fact() for check in (*found, adaptive_check((), ()))]

    def facts(self) -> dict[str, Any]:
        """Data, model, checks and warnings, for manifest.json."""
        images, settings = self.plan.clean.images, self.plan.settings
        return {
            "data": data_facts(images, self.data, self._parts()),
            "model": {
                "name": self.plan.clean.model,
                "weights": settings.weights or ("the factory's own" if ":" in settings.model else "none"),
                "weights_hash": self.plan.clean.weights_hash or self.plan.clean.network_hash,
                "loaded": str(self.context.get(self.plan.clean).info["loaded"]),
            },
            "adaptive": None,
            "scores": False,
            "checks": self.checks(),
            "warnings": self._warnings() + notes_of(self.data),
            "differs": [],
            "attack": {"title": self.plan.attack.title, "target": settings.target, "steps": self.plan.attack.steps},
        }

    def _parts(self) -> dict[str, int]:
        right = self.clean.argmax(dim=1).numpy() == self.data.labels
        return {
            "given": len(self.data),
            "dropped_wrong": int((~right).sum()),
            "dropped_target": int(right.sum()) - len(self.rows),
            "attacked": len(self.rows),
        }

    def _warnings(self) -> list[str]:
        found: list[str] = []
        right, n = int((self.clean.argmax(dim=1).numpy() == self.data.labels).sum()), len(self.data)
        if right / n <= max(np.bincount(self.data.labels)) / n:
            found.append(
                f"The network gets {right} of {n} images right, no more than always naming the most frequent class. "
                f"Are its classes in the data's order ({', '.join(self.data.class_names)}), and the images as large as "
                "those it was trained on?"
            )
        untrained: list[str] = self.context.get(self.plan.clean).info["untrained"]
        if ":" not in self.plan.settings.model and self.plan.settings.weights is None:
            found.append(f"{self.plan.settings.model} is untrained: no weights were given, so nothing follows for it.")
        elif untrained:
            found.append(f"{len(untrained)} tensors of the network are at random values: {', '.join(untrained[:4])}.")
        return found
