"""What a survey has to do, cut into pieces that depend on one another, so that workers compute nothing twice.

    frozen maps of a class ─► fit an extractor ─► its features ─► predict with a detector ─► record a cell

What several cells need is one unit, named by what it works on; the store's locks are the safety net below.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ensemble_ad.plain import plain
from ensemble_ad.stages import extractors_of, members_in
from ensemble_ad.store import key_of
from ensemble_ad.survey.classes import SurveyedClass
from ensemble_ad.survey.grid import Cell

Kind = Literal["frozen", "fit", "features", "predict", "record"]
Description = Mapping[str, Any]
READING = ("name", "backbone", "layers", "weights", "image_scale")
"""Parameters of an extractor that say which maps of a frozen network it reads."""


@dataclass(frozen=True)
class Unit:
    """One piece of work in plain values: it travels to other processes and machines."""

    kind: Kind
    root: str
    """The class folder."""
    fingerprint: str
    """Of the class folder when the survey was planned."""
    size: tuple[int, int]
    """(H, W) of the pictures."""
    content: Any
    """Extractors for `frozen`, one extractor, one detector, or an experiment as YAML for `record`."""
    label: str
    """For people."""
    needs: tuple[str, ...] = ()
    """Keys of the units that come first."""
    notes: tuple[str, ...] = ()
    """What a record says about its class."""
    cell: str = ""
    """Key of the cell that a `record` finishes."""

    @property
    def key(self) -> str:
        """32 hexadecimal digits; equal for equal work."""
        where = {"kind": self.kind, "root": self.root, "pictures": self.fingerprint, "size": self.size}
        return key_of(where | {"content": self.content})


@dataclass(frozen=True)
class Plan:
    """The units of some cells."""

    units: Mapping[str, Unit]
    """By key, each after those that it needs."""
    records: Mapping[str, Cell]
    """The cell that each `record` unit finishes, by the unit's key."""


def plan_of(cells: Sequence[Cell], among: Sequence[Cell] | None = None) -> Plan:
    """Return the units that finish `cells`, which are those left of the survey `among`.

    Cells of equal key (one detector under two names) are recorded once.
    """
    units: dict[str, Unit] = {}
    records: dict[str, Cell] = {}
    everybody = _by_place(cells if among is None else among)
    for (surveyed, size), group in _by_place(cells).items():
        place = _Place(surveyed, size, _readers(everybody[surveyed, size]), units)
        for cell in {cell.key: cell for cell in group}.values():
            records[place.record(cell)] = cell
    return Plan(units, records)


def _by_place(cells: Iterable[Cell]) -> dict[tuple[SurveyedClass, tuple[int, int]], list[Cell]]:
    places: dict[tuple[SurveyedClass, tuple[int, int]], list[Cell]] = {}
    for cell in cells:
        places.setdefault((cell.surveyed, cell.setting.experiment.size), []).append(cell)
    return places


def _readers(cells: Iterable[Cell]) -> dict[str, list[Description]]:
    """What each frozen network is read for, by the network; what a method does with its maps does not matter here."""
    readers: dict[str, dict[str, Description]] = {}
    parts = (part for cell in cells for part in parts_of(cell.setting.experiment.detector))
    for part in parts:
        for extractor in extractors_of(part) if not members_in(part) else ():
            if network := _network(extractor):
                reader = {key: value for key, value in plain(extractor).items() if key in READING}
                readers.setdefault(network, {})[key_of(reader)] = reader
    return {network: [found[key] for key in sorted(found)] for network, found in readers.items()}


def _network(extractor: Description) -> str:
    """What two extractors have in common that can share a pass; empty for one that reads no frozen network."""
    if "backbone" not in extractor:
        return ""
    return f"{extractor['backbone']}|{extractor.get('weights')}|{extractor.get('image_scale', 1)}"


def parts_of(detector: Description) -> Iterator[Description]:
    """Yield the detectors that a detector consists of, members first, itself last.

    >>> [part["name"] for part in parts_of({"name": "both", "detectors": [{"name": "a"}, {"name": "b"}]})]
    ['a', 'b', 'both']
    """
    for member in members_in(detector):
        yield from parts_of(member)
    yield detector


@dataclass(frozen=True)
class _Place:
    """One class at one picture size; each method adds a unit with all that it needs, and returns its key."""

    surveyed: SurveyedClass
    size: tuple[int, int]
    readers: Mapping[str, list[Description]]
    units: dict[str, Unit]

    def record(self, cell: Cell) -> str:
        experiment = cell.setting.experiment
        needs = [self.predict(plain(experiment.detector), f"{cell.setting.label}, seed {experiment.seed}")]
        return self._add(
            "record", experiment.to_yaml(), f"{cell.setting.label}, seed {experiment.seed}", needs, cell.key
        )

    def predict(self, detector: Description, label: str) -> str:
        if members := members_in(detector):
            needs = [self.predict(member, f"member of {label}") for member in members]
        elif detector["name"] == "standalone":
            needs = [*self.frozen(detector["method"]), self.fit(detector["method"])]
        else:
            needs = [self.features(extractor) for extractor in detector["extractors"]]
        return self._add("predict", detector, label, needs)

    def features(self, extractor: Description) -> str:
        needs = [*self.frozen(extractor), self.fit(extractor)]
        return self._add("features", extractor, _name(extractor), needs)

    def fit(self, extractor: Description) -> str:
        return self._add("fit", extractor, _name(extractor), self.frozen(extractor))

    def frozen(self, extractor: Description) -> list[str]:
        network = _network(extractor)
        if not network:
            return []
        return [self._add("frozen", self.readers[network], str(extractor["backbone"]), [])]

    def _add(self, kind: Kind, content: Any, label: str, needs: Sequence[str], cell: str = "") -> str:
        surveyed = self.surveyed
        unit = Unit(
            kind=kind,
            root=str(surveyed.root),
            fingerprint=surveyed.fingerprint,
            size=self.size,
            content=content,
            label=f"{kind} {label}, {surveyed.name}",
            needs=tuple(needs),
            notes=surveyed.notes,
            cell=cell,
        )
        return self.units.setdefault(unit.key, unit).key


def _name(extractor: Description) -> str:
    return f"{extractor['name']}, seed {extractor['seed']}" if "seed" in extractor else str(extractor["name"])
