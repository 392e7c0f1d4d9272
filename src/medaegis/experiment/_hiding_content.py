"""From the stored results of a hiding experiment to table rows, per-case scores, pictures and facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from medaegis.data import Dataset
from medaegis.experiment._content import Content, Gallery, GalleryColumn, Row, percent, said_of
from medaegis.experiment._context import Context
from medaegis.experiment._detection import Clean, Part, attack_of, clean_of, figures, part_of
from medaegis.experiment._differences import differences
from medaegis.experiment._facts import data_facts, estimates, model_facts, notes_of, split_facts
from medaegis.experiment._hiding_checks import followed_detectors, is_adaptive, weakness_checks
from medaegis.experiment._hiding_released import released_rows
from medaegis.experiment._matrix import matrix_lines
from medaegis.experiment._thumbnails import thumbnail
from medaegis.experiment._transferred import substitute_facts, transfer_figures
from medaegis.measure import Estimate, share

if TYPE_CHECKING:
    from medaegis.experiment._hiding import HidingPlan, Variant
    from medaegis.experiment._stages_attack import Attacked

SHOWN_A_CLASS = 2


def hiding_content(plan: HidingPlan, context: Context) -> Content:
    """Everything that goes into the run folder of a hiding experiment."""
    view = _View(plan, context)
    rows = [*view.classifier_rows()]
    for variant in plan.variants:
        rows += view.variant_rows(variant)
        rows += released_rows(plan, variant, context, view.groups)
    layers = [] if plan.by_layer is None else context.get(plan.by_layer).info["lines"]
    sheets = {
        "matrix": matrix_lines(plan.crossed, view.groups, context),
        "differences": differences(plan, view.groups, context),
    }
    return Content(rows, view.case_rows(), view.facts(), view.gallery(), view.embedding(), layers, sheets)


class _View:
    """The stored results of one plan, opened once."""

    def __init__(self, plan: HidingPlan, context: Context) -> None:
        self.plan, self.context = plan, context
        self.data: Dataset = plan.classifier.split.images.dataset(context)
        self.split = plan.cases.split(context)
        self.test = self.split.test
        self.groups = [self.data.groups[i] for i in self.test]
        self.labels = plan.detectors
        stages = dict.fromkeys(v.clean for v in plan.variants)
        self.known = {stage: clean_of(stage, self.labels, context) for stage in stages}

    def _row(self, metric: str, figure: Estimate, where: dict[str, str], detector: str = "") -> Row:
        short = (where["eps"], where["hfc"], detector, metric)
        key = (where["attack"], *short) if (where["attack"], *short) in self.plan.published else short
        named = {
            "dataset": self.plan.dataset,
            "model": self.plan.model,
            "detector": detector,
            **where,
        }
        return Row(metric=metric, published=self.plan.published.get(key), **named, **percent(figure))

    def classifier_rows(self) -> list[Row]:
        """Clean accuracy and AUC on Test, as its stage stored them."""
        figures = estimates(self.context.get(self.plan.classifier).info["test"])
        where = {"attack": "", "eps": "", "hfc": ""}
        return [self._row(name, figure, where) for name, figure in figures.items()]

    def where(self, variant: Variant) -> dict[str, str]:
        """Attack, budget and HFC of a variant, as table columns."""
        choice = variant.attacked.choice
        return {"attack": choice.shown, "eps": choice.eps, "hfc": variant.attacked.hides}

    def variant_rows(self, variant: Variant) -> list[Row]:
        """Adv. Acc, how it transferred where it is made on a substitute, then each detector's figures."""
        where, attack = self.where(variant), attack_of(variant.scores, self.labels, self.context)
        rows = [self._row("Adv. Acc", share(attack.fooled, groups=self.groups), where)]
        made = transfer_figures(self.context.get(variant.attacked).tensors, self.groups)
        rows += [self._row(metric, figure, where) for metric, figure in made.items()]
        for detector in self.labels:
            found = figures(self.known[variant.clean], attack, detector, self.groups)
            rows += [self._row(metric, figure, where, detector) for metric, figure in found.items()]
        return rows

    def case_rows(self) -> list[dict[str, Any]]:
        """One line for each case, kind of image and detector."""
        rows: list[dict[str, Any]] = []
        for stage, known in self.known.items():
            learned = {} if stage.learned is None else _learned_from(stage.learned.attacked)
            rows += self._lines(known.test, known, "clean", {"attack": "", "eps": "", "hfc": ""} | learned, None)
        for variant in self.plan.variants:
            tensors, where = self.context.get(variant.scores).tensors, self.where(variant)
            known, fooled = self.known[variant.clean], self.context.get(variant.attacked).tensors["fooled"].tolist()
            noise, made = (part_of(tensors, part, self.labels) for part in ("noise", "adversarial"))
            rows += self._lines(noise, known, "noise", where, None)
            rows += self._lines(made, known, "adversarial", where, fooled)
        return rows

    def _lines(
        self, part: Part, known: Clean, kind: str, where: dict[str, str], fooled: list[bool] | None
    ) -> list[dict[str, Any]]:
        classes = self.data.class_names
        return [
            {"case": self.data.names[place], "group": self.data.groups[place], "kind": kind, "detector": detector}
            | {"label": classes[self.data.labels[place]], "prediction": classes[part.predicted[i]], **where}
            | {"score": float(part.scores[detector][i]), "threshold": known.thresholds[detector]}
            | {"fooled": None if fooled is None else fooled[i]}
            for detector in self.labels
            for i, place in enumerate(self.test)
        ]

    def gallery(self) -> Gallery:
        """The first cases of each class under the shown attacks."""
        y = self.data.labels[self.test]
        rows = np.concatenate([np.flatnonzero(y == c)[:SHOWN_A_CLASS] for c in np.unique(y)])
        logits = self.context.get(self.plan.clean).tensors["clean.logits"]
        names, classes = self.data.names, self.data.class_names
        cases = [
            {"name": names[self.test[r]], "label": classes[y[r]], **said_of(logits[r], classes)} for r in rows.tolist()
        ]
        shown = self.plan.shown
        return Gallery(cases, self.data.tensor(self.test[rows]), [self._column(v, rows.tolist()) for v in shown])

    def _column(self, variant: Variant, rows: list[int]) -> GalleryColumn:
        made, tensors = self.context.get(variant.attacked).tensors, self.context.get(variant.scores).tensors
        said = [said_of(tensors["adversarial.logits"][r], self.data.class_names) for r in rows]
        limits = self.known[variant.clean].thresholds
        verdicts = [{d: bool(tensors[f"adversarial.{d}"][r] > limits[d]) for d in self.labels} for r in rows]
        facts = {"title": variant.attacked.title, **self.where(variant), "verdicts": verdicts}
        facts |= {"predictions": [s["prediction"] for s in said], "probabilities": [s["probability"] for s in said]}
        return GalleryColumn(facts, made["x"][torch.tensor(rows)])

    def embedding(self) -> list[dict[str, Any]]:
        """The stored t-SNE with the group of each dot, and its case's clean image as a small picture."""
        stored = self.context.get(self.plan.embedding)
        groups = [f"clean, {self.data.class_names[label]}" for label in self.data.labels[self.test]]
        for scores in self.plan.embedding.attacks:
            groups += [scores.attacked.title] * len(self.test)
        kinds = 1 + len(self.plan.embedding.attacks)
        names = [self.data.names[i] for i in self.test] * kinds
        pictures = [thumbnail(image) for image in self.data.tensor(self.test)] * kinds
        points = stored.tensors["points"].tolist()
        return [
            {"x": float(x), "y": float(y), "group": group, "case": name, "picture": picture}
            for (x, y), group, name, picture in zip(points, groups, names, pictures, strict=True)
        ]

    def facts(self) -> dict[str, Any]:
        """Data, model, checks and differences, for manifest.json."""
        from medaegis.experiment._hiding import budget_facts

        settings = self.plan.settings
        return {
            "data": data_facts(
                self.plan.classifier.split.images, self.data, split_facts(self.plan.cases, settings.split, self.context)
            ),
            "model": model_facts(self.plan.classifier, self.context)
            | {"name": self.plan.model}
            | substitute_facts(self.plan, self.context),
            "adaptive": is_adaptive(self.plan),
            "followed": list(followed_detectors(self.plan)),
            "checks": weakness_checks(self.plan, self.context),
            "warnings": notes_of(self.data),
            "differs": list(self.plan.differs),
            "attack": budget_facts(settings),
            "history": self.context.get(self.plan.classifier).info["history"],
        }


def _learned_from(attacked: Attacked) -> dict[str, str]:
    """The attack from which detectors learned before they scored these clean images."""
    return {"attack": attacked.choice.shown, "eps": attacked.choice.eps}
