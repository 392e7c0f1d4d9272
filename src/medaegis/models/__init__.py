"""Networks: what is attacked."""

from medaegis.models._checkpoint import read_checkpoint, write_checkpoint
from medaegis.models._frozen import frozen, ieee_float32, repeatable, seeded
from medaegis.models._hash import answers_to_noise, network_hash, own_hash, says_the_same
from medaegis.models._speed import Accelerated, accelerate
from medaegis.models._taps import PENULTIMATE, Taps, channel_means
from medaegis.models._train import Adversary, Cases, Trained, TrainSettings, augment, train_classifier
from medaegis.models._volumes import KINETICS
from medaegis.models._weights import find_weights
from medaegis.models._zoo import Built, LoadReport, Normalised, build_model, load_factory, load_partial, read_state

__all__ = [
    "KINETICS",
    "PENULTIMATE",
    "Accelerated",
    "Adversary",
    "Built",
    "Cases",
    "LoadReport",
    "Normalised",
    "Taps",
    "TrainSettings",
    "Trained",
    "accelerate",
    "answers_to_noise",
    "augment",
    "build_model",
    "channel_means",
    "find_weights",
    "frozen",
    "ieee_float32",
    "load_factory",
    "load_partial",
    "network_hash",
    "own_hash",
    "read_checkpoint",
    "read_state",
    "repeatable",
    "says_the_same",
    "seeded",
    "train_classifier",
    "write_checkpoint",
]
