"""Whether a block can work on the extractors it is given: told from their channels, before anything is fitted."""

from collections.abc import Mapping
from typing import Any

from combiners import FEATURE_COMBINERS
from ensemble_ad.build import make
from ensemble_ad.errors import naming
from extractors import EXTRACTORS


def check_channels(ensemble: Mapping[str, Any]) -> None:
    """Raise ConfigError where a resolved feature ensemble asks for more components than its extractors have channels.

    >>> members = [{"name": "draem", "discriminative_width": 8}]
    >>> check_channels({"extractors": members, "combiner": {"name": "global", "components": 32}})
    >>> check_channels({"extractors": members, "combiner": {"name": "global", "components": 33}})
    Traceback (most recent call last):
    ensemble_ad.errors.ConfigError: global: expected at most 32 components, the number of channels, got 33
    """
    combiner = make(FEATURE_COMBINERS, ensemble["combiner"])
    if not hasattr(combiner, "check_channels"):
        return
    channels = []
    for entry in ensemble["extractors"]:
        with naming(entry["name"]):
            channels.append(make(EXTRACTORS, entry).channels)
    with naming(ensemble["combiner"]["name"]):
        combiner.check_channels(channels)
