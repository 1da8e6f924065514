"""Many tensors -> one: transformation blocks that fuse feature maps, and rules that combine calibrated outputs.

These dicts are the one place where a name stands for a class.
"""

from combiners.blocks import Concatenation, GlobalBlock, IndividualBlocks
from combiners.calibration import CALIBRATIONS
from combiners.outputs import OUTPUT_COMBINERS

__all__ = ["CALIBRATIONS", "FEATURE_COMBINERS", "OUTPUT_COMBINERS"]

FEATURE_COMBINERS = {
    "none": Concatenation,
    "global": GlobalBlock,
    "individual": IndividualBlocks,
}
"""Name in YAML and on the command line -> class."""
