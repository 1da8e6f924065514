"""The kinds of synthetic anomalies: what each is called, which type it belongs to, and how much of it must be found."""

from collections.abc import Sequence
from difflib import get_close_matches

from data_loco.saturation import DefectKind
from ensemble_ad.errors import ConfigError

LOGICAL, STRUCTURAL = "logical_anomalies", "structural_anomalies"

TYPES = {
    "missing": LOGICAL,
    "additional": LOGICAL,
    "moved": LOGICAL,
    "swapped": LOGICAL,
    "exchanged": LOGICAL,
    "mirrored": LOGICAL,
    "scaled": LOGICAL,
    "perlin": STRUCTURAL,
    "cutpaste": STRUCTURAL,
    "scar": STRUCTURAL,
    "dots": STRUCTURAL,
    "arc": STRUCTURAL,
}
"""Kind -> anomaly type."""

KINDS = tuple(TYPES)
"""Every kind."""

EITHER_PLACE = 0.5
"""What has moved shows where it is and where it is not: to find one of the two places is enough."""

DEFECT_KINDS = {
    name: DefectKind(name, 255 - place, EITHER_PLACE if name == "moved" else 1.0, relative=True)
    for place, name in enumerate(KINDS)
}
"""Kind -> its entry of defects_config.json; a kind has the same pixel value in every folder."""


def chosen_kinds(kinds: Sequence[str] | None) -> tuple[str, ...]:
    """Return the kinds asked for in the order of `KINDS`, all of them for None; ConfigError for an unknown one.

    >>> chosen_kinds(["perlin", "missing"])
    ('missing', 'perlin')
    """
    if kinds is None:
        return KINDS
    for unknown in (kind for kind in kinds if kind not in TYPES):
        close = get_close_matches(unknown, KINDS, n=1)
        meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(KINDS)}"
        raise ConfigError(f"kinds: there is no synthetic anomaly called {unknown!r}; {meant}")
    if not kinds:
        raise ConfigError(f"kinds: expected at least one of {', '.join(KINDS)}, got none")
    return tuple(kind for kind in KINDS if kind in kinds)


def turn(kinds: Sequence[str], number: int) -> str:
    """Return the kind of anomaly `number`: logical and structural ones alternate, and the kinds of a type take turns.

    >>> [turn(["missing", "moved", "perlin"], number) for number in range(5)]
    ['missing', 'perlin', 'moved', 'perlin', 'missing']
    """
    types = [group for type_ in (LOGICAL, STRUCTURAL) if (group := [kind for kind in kinds if TYPES[kind] == type_])]
    members = types[number % len(types)]
    return members[number // len(types) % len(members)]
