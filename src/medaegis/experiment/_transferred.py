"""Images made on a substitute: how far their success carries over to the network that they are meant for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from medaegis.experiment._context import Context
from medaegis.experiment._stages_attack import ON_SUBSTITUTE
from medaegis.experiment._stages_cushion import shown_model
from medaegis.measure import Estimate, share

if TYPE_CHECKING:
    from medaegis.experiment._hiding import HidingPlan

SUBSTITUTE, RATE = "Adv. Acc on the substitute", "transfer rate"


def transfer_figures(tensors: dict[str, Tensor], groups: Sequence[str]) -> dict[str, Estimate]:
    """By metric: the share that fools the substitute, and of those, the share that fools the attacked network too.

    Args:
        tensors: what the attack stored; without a substitute there are no figures.
        groups: patient of each case.

    Example:
        >>> import torch
        >>> flags = {"fooled": torch.tensor([True, False, True]), ON_SUBSTITUTE: torch.tensor([True, True, False])}
        >>> {name: (round(one.value, 3), one.n) for name, one in transfer_figures(flags, ["a", "b", "c"]).items()}
        {'Adv. Acc on the substitute': (0.667, 3), 'transfer rate': (0.5, 2)}
    """
    if ON_SUBSTITUTE not in tensors:
        return {}
    there, here = tensors[ON_SUBSTITUTE].numpy(), tensors["fooled"].numpy()
    kept = [group for group, good in zip(groups, there.tolist(), strict=True) if good]
    return {SUBSTITUTE: share(there, groups=groups), RATE: share(here[there], groups=kept)}


def substitute_facts(plan: HidingPlan, context: Context) -> dict[str, str]:
    """What the substitute is and how good, for manifest.json; nothing without one."""
    if plan.substitute is None:
        return {}
    split, attacked = plan.substitute.split.split(context), plan.classifier.split.split(context)
    both = len(set(split.train.tolist()) & set(attacked.train.tolist()))
    accuracy = context.get(plan.substitute).info["test"]["clean accuracy"][0]
    cases = f"trained on {len(split.train)} cases, {both} of them the attacked network's"
    return {"substitute": f"{shown_model(plan.substitute)}, clean accuracy {accuracy:.1f} %, {cases}"}
