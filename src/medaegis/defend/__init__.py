"""Defences: Cushions weaken an attack, the Shield rejects what is left; the classifier itself never changes."""

from medaegis.defend._aegis import Aegis, AegisFacts
from medaegis.defend._aegis_onnx import OnnxCheck
from medaegis.defend._aegis_verdict import AegisVerdict
from medaegis.defend._bit_depth import BitDepth
from medaegis.defend._chain import Chain, cushion_from_json
from medaegis.defend._cushion import Backward, Cushion
from medaegis.defend._jpeg import JPEG, Subsampling
from medaegis.defend._jpeg_draws import JPEGDraws
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
from medaegis.defend._total_variation import TotalVariation
from medaegis.defend._warnings import DefenceWarning

__all__ = [
    "JPEG",
    "SHIELDS",
    "Aegis",
    "AegisFacts",
    "AegisVerdict",
    "Backward",
    "BitDepth",
    "Chain",
    "Cushion",
    "DefenceWarning",
    "JPEGDraws",
    "OnnxCheck",
    "ShieldGuard",
    "ShieldLogit",
    "ShieldNet",
    "ShieldSettings",
    "ShieldVerdict",
    "Shielded",
    "ShieldedPass",
    "Shields",
    "Subsampling",
    "TapPlan",
    "TotalVariation",
    "TrainedShields",
    "TrainingAttack",
    "cushion_from_json",
    "shield_accepts",
    "shield_logit",
    "shield_logits",
    "shield_thresholds",
    "tap_plan",
    "train_shields",
]
