"""The reference mode of a hiding experiment: its stages, and its rows beside our own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from medaegis.detect import RELEASED
from medaegis.detect._released_data import REFERENCE
from medaegis.experiment._content import Row, percent
from medaegis.experiment._context import Context
from medaegis.experiment._detection import TNR
from medaegis.experiment._stages_attack import PLAIN, Attacked
from medaegis.experiment._stages_model import DetectorCases
from medaegis.experiment._stages_released import ReleasedScores, stepped
from medaegis.measure import Estimate, auc, tpr_at_tnr

if TYPE_CHECKING:
    from medaegis.experiment._hiding import HidingPlan, Variant


def released_stages(plan: HidingPlan) -> dict[Attacked, ReleasedScores]:
    """The released code's scores of all but white-box variants; none where the mode is off or knows no detector."""
    kinds = tuple(released_kinds(plan).values())
    if plan.settings.reference != REFERENCE or not kinds:
        return {}
    plain = {v.attacked.choice: v.attacked for v in plan.variants if v.attacked.hides == PLAIN}
    compared = [v for v in plan.variants if v.attacked.followed is None]
    return {v.attacked: _scores(plan, v, plain[v.attacked.choice], kinds) for v in compared}


def released_kinds(plan: HidingPlan) -> dict[str, str]:
    """What tables call the plan's detectors that the released code has too, and their kinds."""
    return {choice.label: choice.kind for choice in plan.clean.detectors if choice.kind in RELEASED}


def _scores(plan: HidingPlan, variant: Variant, plain: Attacked, kinds: tuple[str, ...]) -> ReleasedScores:
    seed, features = plan.settings.seed, variant.scores.features
    teacher = Attacked(plan.cases, plain.choice, seed=seed, learning=DetectorCases(plan.cases, seed=seed))
    distances = stepped(features, teacher, plain) if "MAHA" in kinds else ()
    return ReleasedScores(features, teacher, plain, variant.attacked, kinds, seed, distances)


def released_rows(plan: HidingPlan, variant: Variant, context: Context, groups: Sequence[str]) -> list[Row]:
    """AUC and TPR@90 of each detector under the released code's choices, beside the papers' figures.

    As there, an attack that hides is judged on its successful examples alone, and the threshold stands at the scores
    of the very clean cases that are scored. No success gives NaN.

    Args:
        plan: of the experiment.
        variant: one attack without or with something that hides it.
        context: with the results.
        groups: patient of each case of AdvTest.
    """
    stage = released_stages(plan).get(variant.attacked)
    if stage is None:
        return []
    tensors, fooled = context.get(stage).tensors, context.get(variant.attacked).tensors["fooled"].tolist()
    kept = [i for i, good in enumerate(fooled) if good or variant.attacked.hides == PLAIN]
    some = [groups[i] for i in kept]
    rows: list[Row] = []
    for label, kind in released_kinds(plan).items():
        clean, adversarial = tensors[f"clean.{kind}"].numpy(), tensors[f"adversarial.{kind}"].numpy()[kept]
        figures = {
            "AUC": auc(clean, adversarial, groups=[*groups, *some]),
            "TPR@90": tpr_at_tnr(clean, adversarial, tnr=TNR, groups=some),
        }
        rows += [_row(plan, variant, label, name, figure) for name, figure in figures.items()]
    return rows


def _row(plan: HidingPlan, variant: Variant, label: str, metric: str, figure: Estimate) -> Row:
    choice, hfc = variant.attacked.choice, variant.attacked.hides
    short = (choice.eps, hfc, label, metric)
    published = plan.published.get((choice.shown, *short), plan.published.get(short))
    where = {"attack": choice.shown, "eps": choice.eps, "hfc": hfc, "detector": label}
    named = {
        "dataset": plan.dataset,
        "model": plan.model,
        "metric": f"{metric}, {REFERENCE}",
        **where,
    }
    return Row(**named, published=published, **percent(figure))
