"""Values in the types that YAML and JSON have of their own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def plain(value: Any) -> Any:
    """Return a deep copy of nested mappings and sequences with text keys, lists for tuples and text for paths.

    >>> plain({"size": (256, 256), "textures": Path("dtd")})
    {'size': [256, 256], 'textures': 'dtd'}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value
