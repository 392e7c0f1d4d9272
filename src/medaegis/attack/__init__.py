"""Attacks: parts that combine, presets that combine them as the papers do, and the one loop."""

from medaegis.attack._activation import MeanActivation, mean_activation
from medaegis.attack._adam import AdamStep
from medaegis.attack._apgd import AutoStep, apgd
from medaegis.attack._attack import Attack, Attacker
from medaegis.attack._balance import ChosenHFC, GradientSizes, choose_hfc, gradient_sizes
from medaegis.attack._bpda import BPDA, Preprocessed
from medaegis.attack._constraints import Constraint, Linf, Region, check_eps
from medaegis.attack._cw_l2 import CarliniWagnerL2, cw_l2
from medaegis.attack._deepfool import DeepFool, deepfool
from medaegis.attack._density_aware import KDEAware, LIDAware, kde_aware, lid_aware
from medaegis.attack._diverse import DiverseInput
from medaegis.attack._guard import Guard
from medaegis.attack._guides import Guide, Guides, feature_attack, guide_closest, guide_random
from medaegis.attack._hfc import HFC, hfc
from medaegis.attack._l2 import L2, l2_size
from medaegis.attack._margins import DifferenceOfLogitsRatio, Margin, ScaledMargin, logit_gap
from medaegis.attack._names import PRESETS, make_attack, parse_fraction, settings_of
from medaegis.attack._noise import matched_noise
from medaegis.attack._objectives import CrossEntropy, Goal, Objective, Sum, TwoGoals, cross_entropy
from medaegis.attack._presets import bim, cw_linf, dim, fgsm, mim, noise, pgd, pgd_l2, tim
from medaegis.attack._projection import Projection, goal_gradient
from medaegis.attack._random import CaseRandom
from medaegis.attack._requantise import DEPTHS, requantise
from medaegis.attack._run import AttackResult, run_attack
from medaegis.attack._spaces import Chart, LowResolution, Pixels, Space, Tanh
from medaegis.attack._steps import Decaying, Iterate, L2Step, Momentum, SignStep, StepRule
from medaegis.attack._transfer import Transfer, transfer
from medaegis.attack._transforms import Chain, Identity, InputTransform
from medaegis.attack._translation import TranslationSmoothing

__all__ = [
    "BPDA",
    "DEPTHS",
    "HFC",
    "L2",
    "PRESETS",
    "AdamStep",
    "Attack",
    "AttackResult",
    "Attacker",
    "AutoStep",
    "CarliniWagnerL2",
    "CaseRandom",
    "Chain",
    "Chart",
    "ChosenHFC",
    "Constraint",
    "CrossEntropy",
    "Decaying",
    "DeepFool",
    "DifferenceOfLogitsRatio",
    "DiverseInput",
    "Goal",
    "GradientSizes",
    "Guard",
    "Guide",
    "Guides",
    "Identity",
    "InputTransform",
    "Iterate",
    "KDEAware",
    "L2Step",
    "LIDAware",
    "Linf",
    "LowResolution",
    "Margin",
    "MeanActivation",
    "Momentum",
    "Objective",
    "Pixels",
    "Preprocessed",
    "Projection",
    "Region",
    "ScaledMargin",
    "SignStep",
    "Space",
    "StepRule",
    "Sum",
    "Tanh",
    "Transfer",
    "TranslationSmoothing",
    "TwoGoals",
    "apgd",
    "bim",
    "check_eps",
    "choose_hfc",
    "cross_entropy",
    "cw_l2",
    "cw_linf",
    "deepfool",
    "dim",
    "feature_attack",
    "fgsm",
    "goal_gradient",
    "gradient_sizes",
    "guide_closest",
    "guide_random",
    "hfc",
    "kde_aware",
    "l2_size",
    "lid_aware",
    "logit_gap",
    "make_attack",
    "matched_noise",
    "mean_activation",
    "mim",
    "noise",
    "parse_fraction",
    "pgd",
    "pgd_l2",
    "requantise",
    "run_attack",
    "settings_of",
    "tim",
    "transfer",
]
