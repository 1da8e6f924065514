"""Published methods, each cut before its decision layer.

`EXTRACTORS` is the one place where a name stands for a class. One more method is its module and a line here.
"""

from extractors.ast import AST
from extractors.cs_flow import CSFlow
from extractors.draem import DRAEM
from extractors.patchcore import PatchCore
from extractors.reverse_distillation import ReverseDistillation
from extractors.simplenet import SimpleNet

EXTRACTORS = {
    "patchcore": PatchCore,
    "simplenet": SimpleNet,
    "draem": DRAEM,
    "cs_flow": CSFlow,
    "reverse_distillation": ReverseDistillation,
    "ast": AST,
}
"""Name in YAML and on the command line -> class; each is an Extractor and a Method (extractors/protocol.py)."""
