"""How long units will take, from the records of finished stages in the cache: same component, same picture size."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from ensemble_ad.methods import METHODS
from ensemble_ad.output_stages import RULES
from ensemble_ad.plain import plain
from ensemble_ad.store import RECORD, key_of
from ensemble_ad.survey.units import Unit

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Forecast:
    """Mean seconds of finished stages, by what they did; classes and seeds count alike."""

    seconds: Mapping[str, float]

    def of(self, unit: Unit) -> float | None:
        """Return the seconds that a unit takes when nothing of it is there; None when nothing like it was ever done."""
        known = [self.seconds.get(_named(stage, content, unit.size)) for stage, content in _stages_of(unit)]
        found = [seconds for seconds in known if seconds is not None]
        return sum(found) if found else None


def read_forecast(cache: Path) -> Forecast:
    """Return what the stages in a cache took; records that cannot be read are passed over."""
    found: dict[str, list[float]] = {}
    for path in cache.glob(f"*/*/{RECORD}"):
        try:
            record = yaml.load(path.read_text(), LOADER)  # noqa: S506, the safe loader, in C where there is one
            content, size = _CONTENT[path.parts[-3]](record["depends_on"])
            found.setdefault(_named(path.parts[-3], content, size), []).append(float(record["seconds"]))
        except (OSError, ValueError, KeyError, TypeError, IndexError, yaml.YAMLError):
            continue
    return Forecast({name: fmean(seconds) for name, seconds in found.items()})


def _stages_of(unit: Unit) -> Iterator[tuple[str, Any]]:
    """The stages that a unit goes through and what each is about, once per split."""
    if unit.kind == "fit":
        yield "fit", _fitted(unit.content)
    elif unit.kind == "features":
        yield from [("features", unit.content)] * 3
    elif unit.kind == "predict":
        if "extractors" in unit.content:
            yield "head", {key: unit.content[key] for key in ("extractors", "combiner", "discriminator")}
        if "detectors" in unit.content:
            yield "rules", {key: unit.content[key] for key in ("detectors", *RULES)}
        yield from [("predict", unit.content)] * 2
    elif unit.kind == "record":
        yield "evaluate", yaml.load(unit.content, LOADER)["detector"]  # noqa: S506, the safe loader
    else:
        yield "frozen", unit.content


def _fitted(extractor: Mapping[str, Any]) -> dict[str, Any]:
    afterwards = getattr(METHODS[extractor["name"]], "AFTER_FIT", ())
    return {key: value for key, value in extractor.items() if key not in afterwards}


def _size_in(identity: Mapping[str, Any]) -> Any:
    """The picture size in a detector's identity."""
    if "rules" in identity:
        return _size_in(identity["rules"]["members"][0])
    return identity["extractors"][0]["fit"]["size"]


_CONTENT = {
    "fit": lambda key: (key["component"], key["size"]),
    "features": lambda key: (key["extractor"]["component"], key["extractor"]["fit"]["size"]),
    "head": lambda key: (
        {"extractors": [entry["component"] for entry in key["extractors"]]}
        | {part: key[part] for part in ("combiner", "discriminator")},
        key["extractors"][0]["fit"]["size"],
    ),
    "rules": lambda key: (
        {"detectors": [entry["description"] for entry in key["members"]]} | {part: key.get(part) for part in RULES},
        _size_in(key["members"][0]),
    ),
    "predict": lambda key: (key["detector"]["description"], key["size"]),
    "evaluate": lambda key: (key["detector"]["description"], key["size"]),
    "frozen": lambda key: (key["readers"], key["size"]),
}
"""What a stage's record is about, and at what size, by the stage's name."""


def _named(stage: str, content: Any, size: Any) -> str:
    return key_of({"stage": stage, "content": _seedless(plain(content)), "size": size})


def _seedless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _seedless(entry) for key, entry in value.items() if key != "seed"}
    return [_seedless(entry) for entry in value] if isinstance(value, list) else value
