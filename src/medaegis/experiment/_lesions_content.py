"""From the stored scores of a lesion experiment to table rows, per-image scores, pictures and facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from medaegis.experiment._content import Content, Gallery, GalleryColumn, Row, percent
from medaegis.experiment._context import Context
from medaegis.experiment._facts import data_facts, estimates, model_facts, notes_of
from medaegis.measure import Estimate, auc, share

if TYPE_CHECKING:
    from medaegis.experiment._lesions import LesionPlan
    from medaegis.experiment._lesions_stages import LesionAnomaly

SHOWN_A_CLASS = 2
DETECTOR = "HFC"
COLUMNS = pa.schema(
    [(name, pa.string()) for name in ("case", "group", "label", "size")]
    + [(name, pa.int64()) for name in ("quantity", "draw")]
    + [("prediction", pa.string()), ("probability", pa.float64()), ("changed", pa.bool_()), ("score", pa.float64())]
)


def lesion_content(plan: LesionPlan, context: Context) -> Content:
    """Everything that goes into the run folder of a lesion experiment."""
    view = _View(plan, context)
    return Content(view.rows(), view.cases(), view.facts(), view.gallery(), columns=COLUMNS)


class _View:
    """The stored results of one plan, opened once."""

    def __init__(self, plan: LesionPlan, context: Context) -> None:
        self.plan, self.context = plan, context
        self.classifier = plan.clean.fit.features.classifier
        self.data = self.classifier.split.images.dataset(context)
        self.index = plan.clean.index(context)
        self.labels = self.data.labels[self.index]
        self.groups = [self.data.groups[i] for i in self.index]
        self.clean = {name: x.numpy() for name, x in context.get(plan.clean).tensors.items()}

    def _found(self, stage: LesionAnomaly) -> dict[str, NDArray[Any]]:
        """Score, predicted and probability, each (draws, n), and whether the prediction was changed."""
        found = {name: x.numpy() for name, x in self.context.get(stage).tensors.items()}
        return found | {"changed": found["predicted"] != self.labels}

    def _row(self, attack: str, metric: str, figure: Estimate, published: float | None = None) -> Row:
        detector = DETECTOR if metric.startswith("AUC") else ""
        where = {"dataset": self.plan.dataset, "model": self.plan.settings.model, "eps": "", "hfc": ""}
        return Row(attack=attack, detector=detector, metric=metric, published=published, **where, **percent(figure))

    def rows(self) -> list[Row]:
        """The classifier's figures, then AUC and FR of each size and quantity."""
        figures = estimates(self.context.get(self.classifier).info["test"])
        rows = [self._row("", name, figure) for name, figure in figures.items()]
        for key, stage in zip(self.plan.settings.lesions, self.plan.lesions, strict=True):
            found, (area, rate) = self._found(stage), self.plan.published.get(key, (None, None))
            kept = ~found["changed"]
            rows.append(self._row(stage.title, "AUC", self._auc(found["score"], kept), area))
            rows.append(self._row(stage.title, "FR", self._rate(found["changed"]), rate))
            rows.append(self._row(stage.title, "AUC with changed", self._auc(found["score"], np.ones_like(kept))))
        return rows

    def _auc(self, scores: NDArray[Any], kept: NDArray[np.bool_]) -> Estimate:
        """Of the kept ones (draws, n) against all clean ones; an image and its draws stay together in the bootstrap."""
        groups = [self.groups[i] for i in np.nonzero(kept)[1]]
        return auc(self.clean["score"], scores[kept], groups=self.groups + groups)

    def _rate(self, changed: NDArray[np.bool_]) -> Estimate:
        return share(changed.ravel(), groups=self.groups * len(changed))

    def cases(self) -> list[dict[str, Any]]:
        """One line a clean image, then one a draw."""
        clean = self.clean | {"changed": self.clean["predicted"] != self.labels}
        rows = self._lines(clean, {"size": "", "quantity": 0, "draw": None})
        for stage in self.plan.lesions:
            found = self._found(stage)
            for draw in range(stage.draws):
                one = {name: values[draw] for name, values in found.items()}
                rows += self._lines(one, {"size": stage.size, "quantity": stage.quantity, "draw": draw})
        return rows

    def _lines(self, found: dict[str, NDArray[Any]], shared: dict[str, Any]) -> list[dict[str, Any]]:
        names, classes = self.data.names, self.data.class_names
        return [
            {"case": names[place], "group": self.groups[i], "label": classes[self.labels[i]], **shared}
            | {"prediction": classes[int(found["predicted"][i])], "probability": float(found["probability"][i])}
            | {"changed": bool(found["changed"][i]), "score": float(found["score"][i])}
            for i, place in enumerate(self.index)
        ]

    def gallery(self) -> Gallery:
        """The first images of each class and their first draw of each size and quantity, made again."""
        rows = np.concatenate([np.flatnonzero(self.labels == c)[:SHOWN_A_CLASS] for c in np.unique(self.labels)])
        places = self.index[rows]
        said = self._said(self.clean, rows)
        cases = [
            {"name": self.data.names[place], "label": self.data.class_names[self.data.labels[place]]}
            | {"prediction": prediction, "probability": probability}
            for place, prediction, probability in zip(places, *said, strict=True)
        ]
        return Gallery(cases, self.data.tensor(places), [self._column(stage, rows) for stage in self.plan.lesions])

    def _said(self, found: dict[str, NDArray[Any]], rows: NDArray[np.int64]) -> tuple[list[str], list[float]]:
        names = [self.data.class_names[int(c)] for c in found["predicted"][rows]]
        return names, [float(p) for p in found["probability"][rows]]

    def _column(self, stage: LesionAnomaly, rows: NDArray[np.int64]) -> GalleryColumn:
        predictions, probabilities = self._said({n: x[0] for n, x in self._found(stage).items()}, rows)
        facts: dict[str, Any] = {"title": stage.title, "attack": stage.title, "eps": "", "hfc": ""}
        facts |= {"predictions": predictions, "probabilities": probabilities, "verdicts": [{} for _ in predictions]}
        return GalleryColumn(facts, stage.images(self.index[rows], 0, self.context))

    def facts(self) -> dict[str, Any]:
        """Data, model and differences, for manifest.json."""
        split = self.classifier.split.split(self.context)
        parts: dict[str, int | str] = {name: len(index) for name, index in split._asdict().items()}
        parts |= {"test_classified_right": len(self.index), "by": self.plan.settings.split}
        return {
            "data": data_facts(self.classifier.split.images, self.data, parts),
            "model": model_facts(self.classifier, self.context),
            "adaptive": None,
            "scores": False,
            "checks": [],
            "warnings": notes_of(self.data),
            "differs": list(self.plan.differs),
            "history": self.context.get(self.classifier).info["history"],
        }
