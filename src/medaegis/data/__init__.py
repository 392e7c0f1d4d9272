"""Where images come from: sources on disk, phantoms, and splits that keep a patient on one side."""

from __future__ import annotations

from medaegis.data._dataset import Dataset, Note, Skipped
from medaegis.data._decode import BadImageError, Decoded, decode_image
from medaegis.data._fingerprint import fingerprint
from medaegis.data._lesions import Lesioned, LesionSize, Within, add_lesions
from medaegis.data._listing import Case, Listing
from medaegis.data._load import load_dataset
from medaegis.data._source_phantom import phantom_dataset
from medaegis.data._sources import detect_source, list_cases, source_names
from medaegis.data._split_file import split_from_json, split_to_json
from medaegis.data._splits import AdversarialSplit, Split, check_no_leak, split_adversarial, split_cases, spread
from medaegis.data._warnings import DataWarning

__all__ = [
    "AdversarialSplit",
    "BadImageError",
    "Case",
    "DataWarning",
    "Dataset",
    "Decoded",
    "LesionSize",
    "Lesioned",
    "Listing",
    "Note",
    "Skipped",
    "Split",
    "Within",
    "add_lesions",
    "check_no_leak",
    "decode_image",
    "detect_source",
    "fingerprint",
    "list_cases",
    "load_dataset",
    "phantom_dataset",
    "source_names",
    "split_adversarial",
    "split_cases",
    "split_from_json",
    "split_to_json",
    "spread",
]
