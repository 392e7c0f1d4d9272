"""From the stored results of a trial of defences to table rows, per-case outcomes, pictures, curves and facts."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from medaegis.attack import parse_fraction
from medaegis.data import Dataset
from medaegis.experiment._adversaries import adversary, budget_of
from medaegis.experiment._content import Content, Gallery, GalleryColumn, Row, Sheet, percent, said_of
from medaegis.experiment._context import Context
from medaegis.experiment._defence_worst import Outcome, best_of, figures
from medaegis.experiment._facts import data_facts, estimates, model_facts, notes_of, split_facts
from medaegis.experiment._named_attack import in_256ths
from medaegis.experiment._weakness import MOST_LOST, Check, alive
from medaegis.measure import Estimate, auc, share

if TYPE_CHECKING:
    from medaegis.experiment._defence import Defence, DefencePlan
    from medaegis.experiment._stages_defence import Tried

WORST = "Worst case"


def defence_content(plan: DefencePlan, context: Context) -> Content:
    """Everything that goes into the run folder of a trial of defences."""
    view = _View(plan, context)
    rows = [row for one in plan.defences for row in view.rows(one)]
    cases = [line for one in plan.defences for line in view.case_lines(one)]
    return Content(rows, cases, view.facts(), view.gallery(), sheets={"training": view.training()})


class _View:
    """The stored results of one plan, opened once."""

    def __init__(self, plan: DefencePlan, context: Context) -> None:
        self.plan, self.context = plan, context
        self.data: Dataset = plan.defences[0].classifier.split.images.dataset(context)

    def rows(self, one: Defence) -> list[Row]:
        """Clean cost, every attacker, and the worst case at each budget."""
        rows = [self._row(one, metric, figure) for metric, figure in self._clean(one).items()]
        clean, groups = self._margins(one), self._groups(one)
        for trial in one.trials:
            found = figures(clean, self.outcome(trial), groups, self._own_groups(trial))
            where = (adversary(trial.adversary).title, _own_budget(trial))
            rows += [self._row(one, metric, figure, *where) for metric, figure in found.items()]
        for eps in self.plan.settings.eps:
            inside = [t for t in one.trials if parse_fraction(t.eps, "recipe") <= parse_fraction(eps, "recipe")]
            if inside:
                worst = best_of([self.outcome(trial) for trial in inside])
                found = figures(clean, worst, groups, self._own_groups(inside[0]))
                rows += [self._row(one, metric, figure, WORST, eps) for metric, figure in found.items()]
        return rows

    def _row(self, one: Defence, metric: str, figure: Estimate, attack: str = "", eps: str = "") -> Row:
        keys = [(attack, eps, "", name, metric) for name in (one.choice.label, one.choice.published)]
        known = next((self.plan.published[key] for key in keys if key in self.plan.published), None)
        named = {"dataset": self.plan.dataset, "model": self.plan.settings.model, "attack": attack, "eps": eps}
        return Row(hfc="", detector=one.choice.label, metric=metric, published=known, **named, **percent(figure))

    def _clean(self, one: Defence) -> dict[str, Estimate]:
        """Accuracy and AUC behind the Cushion, and the share of clean images that is rejected."""
        found = estimates(self.context.get(one.classifier).info["test"])
        test = one.classifier.split.split(self.context).test
        rejected = one.scores.margins("test", self.context).numpy() < 0
        found["clean rejected"] = share(rejected, groups=[self.data.groups[i] for i in test])
        groups, other = self._groups(one), one.scores.other_margins(self.context).double().numpy()
        found["TNR achieved"] = share(self._margins(one) >= 0, groups=groups)
        found["AUC, unchanged"] = auc(-self._margins(one), -other, groups=[*groups, *groups])
        return found

    def _margins(self, one: Defence) -> np.ndarray[Any, np.dtype[np.float64]]:
        return one.scores.margins("clean", self.context).double().numpy()

    def _groups(self, one: Defence) -> list[str]:
        return [self.data.groups[i] for i in one.scores.cases.split(self.context).test]

    def _index(self, trial: Tried) -> np.ndarray[Any, np.dtype[np.int64]]:
        return trial.scores.cases.split(self.context).test[trial.places(self.context)]

    def _own_groups(self, trial: Tried) -> list[str]:
        return [self.data.groups[i] for i in self._index(trial)]

    def outcome(self, trial: Tried) -> Outcome:
        """What an attacker reached."""
        stored = self.context.get(trial).tensors
        return Outcome(stored["fooled"].numpy(), stored["margin"].double().numpy())

    def case_lines(self, one: Defence) -> list[dict[str, Any]]:
        """One line for each case, clean and under each attacker; the score is threshold less S, rejected above 0."""
        shared = {"hfc": "", "detector": one.choice.label, "threshold": 0.0}
        names = self.data.class_names
        test = one.scores.cases.split(self.context).test
        clean = self.context.get(one.scores).tensors["clean.logits"].argmax(dim=1).tolist()
        lines = [
            self._line(place) | shared | {"attack": "", "eps": "", "kind": "clean", "prediction": names[clean[i]]}
            | {"score": float(-margin), "fooled": None}
            for i, (place, margin) in enumerate(zip(test, self._margins(one), strict=True))
        ]  # fmt: skip
        for trial in one.trials:
            stored, outcome = self.context.get(trial).tensors, self.outcome(trial)
            predicted = stored["logits"].argmax(dim=1).tolist()
            where = {"attack": adversary(trial.adversary).title, "eps": _own_budget(trial), "kind": "adversarial"}
            lines += [
                self._line(place) | shared | where | {"prediction": names[predicted[i]]}
                | {"score": float(-outcome.margin[i]), "fooled": bool(outcome.fooled[i])}
                for i, place in enumerate(self._index(trial))
            ]  # fmt: skip
        return lines

    def _line(self, place: int) -> dict[str, Any]:
        label = self.data.class_names[self.data.labels[place]]
        return {"case": self.data.names[place], "group": self.data.groups[place], "label": label}

    def training(self) -> Sheet:
        """The Shields' training curves, one line a defence and epoch."""
        return [
            {"defence": one.choice.label, **{name: float(value) for name, value in epoch.items()}}
            for one in self.plan.defences
            for epoch in self.context.get(one.scores.shield).info["history"]
        ]

    def gallery(self) -> Gallery | None:
        """The first attacked cases under the last defence's attackers that come furthest, three at most."""
        one = self.plan.defences[-1]
        last = [trial for trial in one.trials if trial.eps == self.plan.settings.eps[-1]]
        if not last:
            return None
        ordered = sorted(last, key=lambda trial: -float(self.outcome(trial).undetected.mean()))[:3]
        index = self._index(ordered[0])[: len(self.context.get(ordered[0]).tensors["shown"])]
        clean = self.context.get(one.scores).tensors["clean.logits"]
        rows = ordered[0].places(self.context)[: len(index)].tolist()
        cases = [
            {"name": self.data.names[place], "label": self.data.class_names[self.data.labels[place]]}
            | said_of(clean[row], self.data.class_names)
            for place, row in zip(index, rows, strict=True)
        ]
        return Gallery(cases, self.data.tensor(index), [self._column(one, trial, len(index)) for trial in ordered])

    def _column(self, one: Defence, trial: Tried, n: int) -> GalleryColumn:
        stored, outcome = self.context.get(trial).tensors, self.outcome(trial)
        said = [said_of(logits, self.data.class_names) for logits in stored["logits"][:n]]
        title = adversary(trial.adversary).title
        facts = {"title": f"{title} {_own_budget(trial)}", "attack": title, "eps": _own_budget(trial), "hfc": ""}
        facts |= {"verdicts": [{one.choice.label: bool(margin < 0)} for margin in outcome.margin[:n]]}
        facts |= {"predictions": [s["prediction"] for s in said], "probabilities": [s["probability"] for s in said]}
        return GalleryColumn(facts, stored["shown"])

    def facts(self) -> dict[str, Any]:
        """Data, model, checks and differences, for manifest.json."""
        plan, context, first = self.plan, self.context, self.plan.defences[0]
        split = split_facts(first.scores.cases, plan.settings.split, context)
        base = first.classifier
        return {
            "data": data_facts(base.split.images, self.data, split),
            "model": model_facts(base, context),
            "adaptive": True,
            "scores": False,
            "followed": [one.choice.label for one in plan.defences],
            "checks": [check for one in plan.defences for check in (self._alive(one), *self._grows(one))],
            "warnings": notes_of(self.data),
            "differs": list(plan.differs),
            "attack": {one.choice.label: self._trained(one) for one in plan.defences},
            "history": context.get(base).info["history"],
        }

    def _trained(self, one: Defence) -> str:
        info = self.context.get(one.scores.shield).info
        told = (
            f"{info['plan']['rule']} {', '.join(info['plan']['names'])}; {info['counts']['train']} cases learned from"
        )
        probed = info.get("probe_auc")  # none where it was not asked for, or Shields are older than it
        return told if probed is None else f"{told}; worst AUC of attacks of 40 steps unlike its own: {probed:.2f}"

    def _alive(self, one: Defence) -> dict[str, Any]:
        stored = [self.context.get(trial).tensors for trial in one.trials]
        check = alive(*(torch.cat([tensors[name] for tensors in stored]) for name in ("stuck", "steps")))
        return check._replace(name=f"{check.name} ({one.choice.label})").fact()

    def _grows(self, one: Defence) -> list[dict[str, Any]]:
        """Of each attacker at several budgets: a larger one must not get it past the defence less often."""
        found: list[dict[str, Any]] = []
        for name in dict.fromkeys(trial.adversary for trial in one.trials):
            own = [trial for trial in one.trials if trial.adversary == name]
            if len(own) < 2:
                continue
            rates = [float(self.outcome(trial).undetected.mean()) for trial in own]
            passed = all(later >= earlier - MOST_LOST for earlier, later in itertools.pairwise(rates))
            told = ", ".join(f"{trial.eps}: {100 * rate:.1f} %" for trial, rate in zip(own, rates, strict=True))
            text = (
                f"Fooled and accepted by budget: {told}. Where it falls, the attacker is too weak at the larger budget."
            )
            title = f"More budget, no less success ({adversary(name).title}; {one.choice.label})"
            found.append(Check(title, passed, text).fact())
        return found


def _own_budget(trial: Tried) -> str:
    return in_256ths(budget_of(adversary(trial.adversary), parse_fraction(trial.eps, "recipe")))
