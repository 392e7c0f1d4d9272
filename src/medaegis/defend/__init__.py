"""Defences: the Shield of Medical Aegis, trained on a classifier that never changes."""

from medaegis.defend._shield_accept import ShieldVerdict, shield_accepts, shield_logits, shield_thresholds
from medaegis.defend._shield_net import ShieldNet, Shields
from medaegis.defend._shield_plan import TapPlan, tap_plan
from medaegis.defend._shield_settings import ShieldSettings, TrainingAttack
from medaegis.defend._shield_system import (
    SHIELDS,
    Shielded,
    ShieldedPass,
    ShieldGuard,
    ShieldLogit,
    shield_logit,
)
from medaegis.defend._shield_train import TrainedShields, train_shields
from medaegis.defend._warnings import DefenceWarning

__all__ = [
    "SHIELDS",
    "DefenceWarning",
    "ShieldGuard",
    "ShieldLogit",
    "ShieldNet",
    "ShieldSettings",
    "ShieldVerdict",
    "Shielded",
    "ShieldedPass",
    "Shields",
    "TapPlan",
    "TrainedShields",
    "TrainingAttack",
    "shield_accepts",
    "shield_logit",
    "shield_logits",
    "shield_thresholds",
    "tap_plan",
    "train_shields",
]
