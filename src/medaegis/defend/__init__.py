"""What helps: Cushions, which take from an image what an attack needs and a diagnosis does not."""

from medaegis.defend._bit_depth import BitDepth
from medaegis.defend._chain import Chain, cushion_from_json
from medaegis.defend._cushion import Backward, Cushion
from medaegis.defend._jpeg import JPEG, Subsampling
from medaegis.defend._total_variation import TotalVariation

__all__ = ["JPEG", "Backward", "BitDepth", "Chain", "Cushion", "Subsampling", "TotalVariation", "cushion_from_json"]
