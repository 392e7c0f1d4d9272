"""Experiments: stages whose results are kept, recipes that plan them, and the runner."""

from medaegis.experiment._aegis_check import Checked, run_aegis_check
from medaegis.experiment._aegis_plan import AegisSettings, aegis_plan
from medaegis.experiment._aegis_run import GuardFitted, run_aegis_fit
from medaegis.experiment._attack_run import AttackSettings, attack_plan, run_attack_command
from medaegis.experiment._content import Content, Row
from medaegis.experiment._context import Context
from medaegis.experiment._curves import CurveSettings, curve_plan
from medaegis.experiment._cushions import CushionsSettings, cushions_plan
from medaegis.experiment._defence import DefenceSettings, defence_plan
from medaegis.experiment._detect_files import DetectorSet, load_detectors
from medaegis.experiment._detect_plan import DetectSettings, detect_plan
from medaegis.experiment._detect_run import DetectorsFitted, run_detect_fit
from medaegis.experiment._detect_score import Scored, run_detect_score
from medaegis.experiment._direction import DirectionSettings, Pair, direction_plan
from medaegis.experiment._hiding import HidingSettings, hiding_plan
from medaegis.experiment._joined import JoinedSettings, Part, joined_recipe
from medaegis.experiment._lesions import LesionSettings, lesion_plan
from medaegis.experiment._named_cushion import named_cushion
from medaegis.experiment._recipe import Plan, Recipe, Settings, find_recipe, find_recipes, parse_changes
from medaegis.experiment._run import Finished, run_recipe
from medaegis.experiment._run_all import Several, of_papers, run_recipes
from medaegis.experiment._seeds import SeedsSettings, seeds_plan
from medaegis.experiment._sets import SetsSettings, sets_plan
from medaegis.experiment._stage import Result, Stage
from medaegis.experiment._store import Store
from medaegis.experiment._stress import Published, StressSettings, stress_plan
from medaegis.experiment._substitutes import SubstitutesSettings, substitutes_plan
from medaegis.experiment._vulnerability import VulnerabilitySettings, vulnerability_plan

__all__ = [
    "AegisSettings",
    "AttackSettings",
    "Checked",
    "Content",
    "Context",
    "CurveSettings",
    "CushionsSettings",
    "DefenceSettings",
    "DetectSettings",
    "DetectorSet",
    "DetectorsFitted",
    "DirectionSettings",
    "Finished",
    "GuardFitted",
    "HidingSettings",
    "JoinedSettings",
    "LesionSettings",
    "Pair",
    "Part",
    "Plan",
    "Published",
    "Recipe",
    "Result",
    "Row",
    "Scored",
    "SeedsSettings",
    "SetsSettings",
    "Settings",
    "Several",
    "Stage",
    "Store",
    "StressSettings",
    "SubstitutesSettings",
    "VulnerabilitySettings",
    "aegis_plan",
    "attack_plan",
    "curve_plan",
    "cushions_plan",
    "defence_plan",
    "detect_plan",
    "direction_plan",
    "find_recipe",
    "find_recipes",
    "hiding_plan",
    "joined_recipe",
    "lesion_plan",
    "load_detectors",
    "named_cushion",
    "of_papers",
    "parse_changes",
    "run_aegis_check",
    "run_aegis_fit",
    "run_attack_command",
    "run_detect_fit",
    "run_detect_score",
    "run_recipe",
    "run_recipes",
    "seeds_plan",
    "sets_plan",
    "stress_plan",
    "substitutes_plan",
    "vulnerability_plan",
]
