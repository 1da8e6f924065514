"""defects_config.json -> how much of a defect has to be found, in original pixels."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_loco.errors import DataError

CONFIG_NAME = "defects_config.json"
_KEYS = ("defect_name", "pixel_value", "saturation_threshold", "relative_saturation")


@dataclass(frozen=True)
class DefectKind:
    """One entry of defects_config.json (Bergmann et al., IJCV 2022, section 4.2)."""

    name: str
    pixel_value: int
    """What marks this kind in a mask, 1 to 255."""
    saturation_threshold: float
    """Share of the region's area in (0, 1] where relative, else an area in original pixels."""
    relative: bool

    def saturation_area(self, area: int) -> int:
        """Pixels of a region of `area` pixels that have to be found for full marks, at least 1.

        As in MVTec's evaluation: relative `int(threshold * area)`, absolute `min(threshold, area)`. There a relative
        threshold on a tiny region truncates to 0 and divides by it; here it is 1.

        >>> DefectKind("scratch", 255, 0.5, relative=True).saturation_area(5)
        2
        >>> DefectKind("missing_screw", 254, 7879, relative=False).saturation_area(9000)
        7879
        """
        if area < 1:
            raise ValueError(f"expected a region of at least 1 pixel, got {area}")
        wanted = int(self.saturation_threshold * area) if self.relative else min(int(self.saturation_threshold), area)
        return max(wanted, 1)

    def __str__(self) -> str:
        unit = "of the region" if self.relative else "px"
        return f"{self.name} ({self.pixel_value}): {self.saturation_threshold:g} {unit}"


def read_defects_config(path: Path) -> Mapping[int, DefectKind]:
    """The defect kinds of a class by pixel value, in the file's order.

    Raises:
        DataError: no such file, no JSON, a key missing, unknown or out of range, a pixel value used twice.
    """
    kinds: dict[int, DefectKind] = {}
    for number, entry in enumerate(_entries(path), start=1):
        try:
            kind = _kind(entry)
            if kind.pixel_value in kinds:
                raise ValueError(f"pixel_value {kind.pixel_value} already belongs to {kinds[kind.pixel_value].name!r}")
        except ValueError as error:
            raise DataError(path, f"entry {number}: {error}", "see docs/own_class.md for an example") from error
        kinds[kind.pixel_value] = kind
    return kinds


def _entries(path: Path) -> list[Any]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise DataError(path, "is missing", "list the defect kinds there, see docs/own_class.md") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(path, f"cannot be read ({error})", "save it as UTF-8 text") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(path, f"is no JSON ({error})", "mind commas and quotes, see docs/own_class.md") from error
    if not isinstance(entries, list):
        reason = f"expected a list of defect kinds, got {type(entries).__name__}"
        raise DataError(path, reason, "put the entries between [ and ]")
    return entries


def _kind(entry: object) -> DefectKind:
    if not isinstance(entry, dict):
        raise ValueError(f"expected an object with the keys {', '.join(_KEYS)}, got {entry!r}")
    missing, unknown = [key for key in _KEYS if key not in entry], [key for key in entry if key not in _KEYS]
    if missing or unknown:
        got = f", got {', '.join(map(repr, unknown))}" if unknown else ""
        raise ValueError(f"expected the keys {', '.join(_KEYS)}; missing {', '.join(missing) or 'none'}{got}")
    name, value, threshold, relative = (entry[key] for key in _KEYS)
    if not isinstance(name, str) or not name:
        raise ValueError(f"expected defect_name to be a text, got {name!r}")
    if not _is_int(value) or not 1 <= value <= 255:
        raise ValueError(f"expected pixel_value of {name!r} to be an integer from 1 to 255, got {value!r}")
    if not isinstance(relative, bool):
        raise ValueError(f"expected relative_saturation of {name!r} to be true or false, got {relative!r}")
    _refuse_threshold(name, threshold, relative=relative)
    return DefectKind(name, value, threshold, relative)


def _refuse_threshold(name: str, threshold: Any, *, relative: bool) -> None:
    if relative:
        wanted, valid = "a share in (0, 1]", (_is_int(threshold) or isinstance(threshold, float)) and 0 < threshold <= 1
    else:
        wanted, valid = "whole pixels, at least 1,", _is_int(threshold) and threshold >= 1
    if not valid:
        because = f"as relative_saturation is {str(relative).lower()}"
        raise ValueError(f"expected saturation_threshold of {name!r} to be {wanted} {because}; got {threshold!r}")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
