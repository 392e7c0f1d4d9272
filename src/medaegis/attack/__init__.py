"""Attacks: parts that combine, presets that combine them as the papers do, and the one loop."""

from medaegis.attack._attack import Attack
from medaegis.attack._constraints import Constraint, Linf, Region, check_eps
from medaegis.attack._hfc import HFC, hfc
from medaegis.attack._noise import matched_noise
from medaegis.attack._objectives import CrossEntropy, Goal, Objective, Sum, cross_entropy
from medaegis.attack._presets import bim, fgsm, mim, noise, pgd
from medaegis.attack._random import CaseRandom
from medaegis.attack._run import AttackResult, run_attack
from medaegis.attack._steps import MomentumStep, SignStep, StepRule
from medaegis.attack._transforms import Identity, InputTransform

__all__ = [
    "HFC",
    "Attack",
    "AttackResult",
    "CaseRandom",
    "Constraint",
    "CrossEntropy",
    "Goal",
    "Identity",
    "InputTransform",
    "Linf",
    "MomentumStep",
    "Objective",
    "Region",
    "SignStep",
    "StepRule",
    "Sum",
    "bim",
    "check_eps",
    "cross_entropy",
    "fgsm",
    "hfc",
    "matched_noise",
    "mim",
    "noise",
    "pgd",
    "run_attack",
]
