"""What is unusual about a picture's parts: where, how much, and in a sentence."""

from typing import NamedTuple

import cv2
import numpy as np

from scorers.metrology_arrangement import COMPARED, Arrangement, Remark, order_number
from scorers.metrology_bulk import bulk_of
from scorers.metrology_look import Look
from scorers.metrology_model import Model
from scorers.metrology_parts import ALONG, AREA, HEAD, LENGTH, MEASURES, PLACE, WIDTH, Parts

TOLD = 1.0
"""A finding that strays less than one in twenty normal pictures is not told."""
BLAMED = 2.0
"""Of two parts that do not match, one is to blame where it strays this much more than the other."""
WITNESSES = {"pair": ("pair",), "order": ("pair", "order")}
"""By group of numbers that compare two parts, the groups whose strays say which of them is to blame.

Ascending order has no say in pairs: the one short screw beside three long ones may be the right one of its pair.
"""
GROWN = 0.01
"""Masks of parts are widened by this share of the longer side: outlines are part of a part."""


class Finding(NamedTuple):
    """Something unusual about a picture."""

    score: float
    """1 is what one in twenty normal pictures has."""
    text: str
    """A sentence without a full stop; places are (x, y) as shares of width and height."""
    mask: np.ndarray
    """bool [H, W]: what it is about."""

    def __str__(self) -> str:
        """The sentence alone."""
        return self.text


def findings_of(model: Model, parts: Parts, masks: np.ndarray) -> tuple[list[Finding], float]:
    """Return the findings of a picture, the most unusual first, and its score; `masks` [G, H, W] are its grounds."""
    size = masks.shape[1], masks.shape[2]
    look = model.look(parts.sides, parts.measures, bulk_of(parts, masks))
    own, strays, score = model.judge(look)
    arrangement = model.arrangements[own]
    told = _told(strays, len(parts.regions))
    found = [
        Finding(stray, _sentence(remark, arrangement, look, size), _mask(blamed, remark, arrangement, parts, size))
        for stray, remark, blamed in told
    ]
    return sorted(found, key=lambda finding: -finding.score), score


def _told(strays: list[tuple[float, Remark]], parts: int) -> list[tuple[float, Remark, tuple[int, ...]]]:
    """The remarks that a picture's findings are made of, with the parts that are to blame.

    One per group and part or place, the one that strays most.
    """
    totals = {group: _total(strays, witnesses, parts) for group, witnesses in WITNESSES.items()}
    found: dict[tuple[str, tuple[int, ...], int], tuple[float, Remark, tuple[int, ...]]] = {}
    for stray, remark in sorted(strays, key=lambda entry: -entry[0]):
        blamed = remark.parts
        if remark.group in totals:
            total = totals[remark.group]
            blamed = tuple(part for part in blamed if BLAMED * total[part] >= total[list(blamed)].max())
        known = {part for group, told, _ in found for part in told if group == remark.group}
        if stray > 0 and not (blamed and known.issuperset(blamed)):
            found.setdefault((remark.group, blamed, remark.place), (stray, remark, blamed))
    return list(found.values())


def _total(strays: list[tuple[float, Remark]], groups: tuple[str, ...], parts: int) -> np.ndarray:
    """[R]: how much each part strays in numbers of these groups, all together."""
    total = np.zeros(parts)
    for stray, remark in strays:
        if remark.group in groups:
            total[list(remark.parts)] += stray
    return total


def _mask(
    blamed: tuple[int, ...], remark: Remark, arrangement: Arrangement, parts: Parts, size: tuple[int, int]
) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    for part in blamed:
        mask[parts.regions[part].window] |= parts.regions[part].mask
    if remark.place >= 0:
        _draw(mask, arrangement, remark)
    reach = max(1, round(GROWN * max(size)))
    left, top, width, height = cv2.boundingRect(mask)
    near = mask[max(top - reach, 0) : top + height + reach, max(left - reach, 0) : left + width + reach]
    near[:] = cv2.dilate(near, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1)))
    return mask.view(bool)


def _draw(mask: np.ndarray, arrangement: Arrangement, remark: Remark) -> None:
    """An ellipse as large as what is at a place in normal pictures, round where its direction varies."""
    longer, typical = max(mask.shape), arrangement.places.typical[remark.place]
    y, x = (share * longer for share in remark.where)
    area = np.exp(typical[AREA]) * mask.size
    s, c = typical[ALONG]
    lengthwise = (1 + np.hypot(s, c)) / max(1 - np.hypot(s, c), 1e-3)
    long, short = np.sqrt(area / np.pi * lengthwise), np.sqrt(area / np.pi / lengthwise)
    angle = float(np.degrees(0.5 * np.arctan2(s, c)))
    cv2.ellipse(mask, ((float(x), float(y)), (float(2 * long), float(2 * short)), angle), 1, cv2.FILLED)


def _sentence(remark: Remark, arrangement: Arrangement, look: Look, size: tuple[int, int]) -> str:
    places = " and ".join(_at(look.measures[part, PLACE], size) for part in remark.parts)
    if remark.group == "missing":
        found = "something else" if remark.number else "nothing"
        family = int(arrangement.places.family[remark.place])
        where = _at(np.array(remark.where), size)
        return f"{found} at {where}, where normal pictures have a part of family {_letter(family)}"
    if remark.group == "extra":
        return f"one more part of family {_letter(remark.number)} at {places}, where normal pictures have none"
    if remark.group == "count":
        families = len(arrangement.usual_counts)
        of = f"of family {_letter(remark.number)}" if remark.number < families else "of no family"
        normal = arrangement.normal_counts[remark.number]
        return f"expected {normal:.0f} x parts {of}, found {remark.value:.0f}"
    if remark.group == "part":
        return f"the part at {places} is unlike those of normal pictures"
    low, high = arrangement.ranges[remark.group].nearest(remark.value, remark.number)
    if remark.group == "pair":
        measure = COMPARED[remark.number % len(COMPARED)]
        return (
            f"{_compared(measure)} of the parts at {places} is {_range(measure, remark.value, low, high, ratio=True)}"
        )
    if remark.group == "order":
        family, measure, rank = order_number(remark.number, arrangement.usual_counts)
        count = arrangement.usual_counts[family]
        if rank < count:
            what = f"{_named(measure)} of the part at {places}, number {rank + 1} of {count} in ascending order,"
            return f"{what} is {_range(measure, remark.value, low, high)}"
        what = f"{_compared(measure)} of the parts at {places}, next to each other in ascending order,"
        return f"{what} is {_range(measure, remark.value, low, high, ratio=True)}"
    measure = remark.number % (len(MEASURES) if remark.group == "place" else PLACE.start)
    if remark.group == "like":
        what = f"{_compared(measure)} of the part at {places} to the rest of its family"
        return f"{what} is {_range(measure, remark.value, low, high, ratio=True)}"
    return f"{_named(measure)} of the part at {places} is {_range(measure, remark.value, low, high)}"


def _range(measure: int, value: float, low: float, high: float, *, ratio: bool = False) -> str:
    """The number and its normal range, ratios and sizes as such and not as logarithms."""
    if measure in (AREA, LENGTH, WIDTH):
        value, low, high = np.exp([value, low, high])
        if measure == AREA and not ratio:
            return f"{value:.2%} of the picture, normal {low:.2%} to {high:.2%}"
    digits = 1 if MEASURES[measure] in ("L", "a", "b") else 3 if measure >= PLACE.start else 2
    return f"{value:.{digits}f}, normal {low:.{digits}f} to {high:.{digits}f}"


def _named(measure: int) -> str:
    if measure in range(ALONG.start, HEAD.stop):
        return "direction" if measure in range(ALONG.start, ALONG.stop) else "pointing direction"
    if measure >= PLACE.start:
        return "shift down" if measure == PLACE.start else "shift right"
    if MEASURES[measure] in ("L", "a", "b"):
        return {"L": "brightness", "a": "redness", "b": "yellowness"}[MEASURES[measure]]
    return MEASURES[measure].removeprefix("log ")


def _compared(measure: int) -> str:
    return f"ratio of {_named(measure)}" if measure in (AREA, LENGTH, WIDTH) else f"difference in {_named(measure)}"


def _at(place: np.ndarray, size: tuple[int, int]) -> str:
    """(x, y) as shares of width and height."""
    y, x = place * max(size)
    return f"({x / size[1]:.2f}, {y / size[0]:.2f})"


def _letter(family: int) -> str:
    """A, B, ... Z, AA, ...

    >>> _letter(0), _letter(27)
    ('A', 'AB')
    """
    first = _letter(family // 26 - 1) if family >= 26 else ""
    return first + chr(ord("A") + family % 26)
