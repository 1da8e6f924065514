"""Everything that can judge pictures by itself, by name: what `standalone` takes and output ensembles are made of."""

from typing import Any

from extractors import EXTRACTORS
from scorers import SCORERS

METHODS: dict[str, Any] = {**EXTRACTORS, **SCORERS}
"""Name in YAML and on the command line -> class. Only those of EXTRACTORS have features to fuse."""
