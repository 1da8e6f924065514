"""The guard against a foreign package that bears a sibling's name."""

import sys
from importlib.util import find_spec
from pathlib import Path

SIBLINGS = ("combiners", "data_loco", "extractors", "scorers")


def check_siblings(names: tuple[str, ...] = SIBLINGS) -> None:
    """Raise ImportError unless each sibling package lies beside this one; nothing is imported."""
    home = Path(__file__).resolve().parents[1]
    for name in names:
        found = find_spec(name)
        where = None if found is None or found.origin is None else Path(found.origin).resolve().parents[1]
        if where != home:
            raise ImportError(
                f"expected the package {name!r} in {home}, found it {'nowhere' if where is None else f'in {where}'}; "
                f"another distribution or a folder of that name comes first on sys.path. Install ensemble-ad into an "
                f"environment of its own (`make demo` does), or run from another folder"
            )


def is_command() -> bool:
    """Whether the console script is starting: it checks for itself, to answer in a sentence instead of a traceback."""
    return Path("".join(sys.argv[:1])).stem == "ensemble-ad"
