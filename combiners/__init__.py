"""Many tensors -> one: transformation blocks that fuse feature maps.

`FEATURE_COMBINERS` is the one place where a name stands for a class.
"""

from combiners.blocks import Concatenation, GlobalBlock, IndividualBlocks

FEATURE_COMBINERS = {
    "none": Concatenation,
    "global": GlobalBlock,
    "individual": IndividualBlocks,
}
"""Name in YAML and on the command line -> class."""
