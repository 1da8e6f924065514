"""Component metrology: the parts of a picture are found, measured and compared with those of normal pictures.

After ComAD (Liu et al., Component-aware anomaly detection framework, 2023): components without labels, and metrological
numbers of them. What is learned besides: places, several arrangements, and relations between parts, pair by pair,
against the rest of a family, and in ascending order whatever the places.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from extractors.backbone import Backbone
from extractors.grounds import Grounds
from extractors.protocol import Scoring, check_fitted, check_images
from extractors.ranges import check_range
from scorers.metrology_bulk import bulk_of
from scorers.metrology_families import Table, families_of, family_of, taken_apart
from scorers.metrology_findings import TOLD, Finding, findings_of
from scorers.metrology_model import Model
from scorers.metrology_parts import PLACE, Parts, parts_of

log = logging.getLogger(__name__)

TWIN = 0.02
"""Parts of one picture on two grounds whose middles are this near, and that are as large, are one."""


@dataclass(eq=False)
class Metrology(Scoring):
    """Counts, sizes, places and relations of a picture's parts against those of normal pictures."""

    backbone: str = "tf_efficientnet_lite0"
    """timm network whose frozen layers tell the grounds apart."""
    layers: tuple[str, ...] = ("blocks.1", "blocks.2")
    """Its modules that are read."""
    weights: str | None = None
    """Weights file of the backbone; None finds them."""
    smallest: float = 0.0005
    """Least area of a part, as a share of the picture's."""
    recurrence: float = 0.3
    """Share of the normal pictures in which a part must have a like one to be of a family."""
    seed: int = 0
    size_: tuple[int, int] = field(init=False, repr=False)
    """(H, W) of the pictures learned from."""
    grounds_: Grounds = field(init=False, repr=False)
    table_: Table = field(init=False, repr=False)
    """What the model was learned from."""
    model_: Model | None = field(default=None, init=False, repr=False)
    """None for a class without components."""
    split_: Callable[["Seen"], "Seen"] = field(init=False, repr=False)
    """Takes touching parts of a picture apart."""

    def check(self) -> None:
        """Raise ValueError for parameters out of range."""
        check_range(self, "smallest", "recurrence", above=0, most=1)

    def fit(self, images: Iterable[Tensor]) -> Self:
        """Learn from batches of normal pictures of one size, iterated three times.

        A class in whose pictures nothing recurs is no error: it is logged, and every score is 0.
        """
        self.check()
        self.size_ = one_size(images)
        self.grounds_ = Grounds(Backbone(self.backbone, tuple(self.layers), self.weights), seed=self.seed).fit(images)
        seen = [found for batch in images for found in self._seen(batch)]
        self.grounds_.keep(used := _useful(_table(seen), self.recurrence))
        seen = [_of_grounds(one, used) for one in seen]
        split = _splitter(_table(seen), self.recurrence)
        return self._learn(_table([split(one) for one in seen]))

    def detect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Score each picture by its findings; the map has the parts and places they are about."""
        maps, scores = [], []
        for seen in self._found(images):
            found, score = self._findings(seen)
            heat = np.zeros(self.size_, np.float32)
            for finding in reversed(found):  # the largest last: it counts where several lie over each other
                np.copyto(heat, finding.score, where=finding.mask)
            scores.append(score)
            maps.append(heat)
        return torch.from_numpy(np.stack(maps)), torch.tensor(scores, dtype=torch.float32)

    def explain(self, images: Tensor) -> list[list[Finding]]:
        """Say of each picture of `[N, 3, H, W]` what is unusual, the most unusual first."""
        found = [self._findings(seen)[0] for seen in self._found(images)]
        return [[finding for finding in findings if finding.score >= TOLD] for findings in found]

    def state(self) -> dict[str, Tensor]:
        """The grounds, and the measured parts of the normal pictures; all else follows from them."""
        check_fitted(self, getattr(self, "table_", None))
        table = {
            "size": torch.tensor(self.size_),
            "pictures": torch.tensor([self.table_.pictures]),
            "picture": torch.from_numpy(self.table_.picture),
            "side": torch.from_numpy(self.table_.side),
            "measures": torch.from_numpy(self.table_.measures),
            "bulk": torch.from_numpy(self.table_.bulk),
        }
        return {f"grounds.{name}": rows for name, rows in self.grounds_.state().items()} | table

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take back what `state` gave."""
        own = {name.removeprefix("grounds."): rows for name, rows in state.items() if name.startswith("grounds.")}
        self.grounds_ = Grounds(Backbone(self.backbone, tuple(self.layers), self.weights), seed=self.seed).restore(own)
        self.size_ = (int(state["size"][0]), int(state["size"][1]))
        columns = (state[name].numpy() for name in ("picture", "side", "measures", "bulk"))
        return self._learn(Table(int(state["pictures"]), *columns))

    def _learn(self, table: Table) -> Self:
        self.table_, self.model_ = table, Model.of(table, self.recurrence)
        self.split_ = _splitter(table, self.recurrence)
        if self.model_ is None:
            log.warning("metrology: no part recurs in the %d normal pictures; every score will be 0", table.pictures)
        return self

    def _seen(self, images: Tensor) -> Iterator["Seen"]:
        for masks, lab in self.grounds_.masks(check_images(images).cpu().float()):
            yield Seen(parts_of(masks, lab, self.smallest), masks, lab)

    def _found(self, images: Tensor) -> Iterator["Seen"]:
        check_fitted(self, getattr(self, "table_", None))
        if check_images(images).shape[2:] != self.size_:
            found = " x ".join(map(str, images.shape[2:]))
            raise ValueError(
                f"expected pictures of the size learned from, {self.size_[0]} x {self.size_[1]}, got {found}"
            )
        yield from map(self.split_, self._seen(images))

    def _findings(self, seen: "Seen") -> tuple[list[Finding], float]:
        return findings_of(self.model_, seen.parts, seen.masks) if self.model_ is not None else ([], 0.0)


class Seen(NamedTuple):
    """What there is in one picture."""

    parts: Parts
    masks: np.ndarray
    """bool [G, H, W]: where each ground is."""
    lab: np.ndarray
    """uint8 [H, W, 3]"""


def one_size(images: Iterable[Tensor]) -> tuple[int, int]:
    """(H, W) of all batches `[N, 3, H, W]`; raises ValueError where there are none or their sizes differ.

    >>> one_size([torch.zeros(2, 3, 4, 6), torch.zeros(1, 3, 4, 6)])
    (4, 6)
    """
    sizes = sorted({(int(batch.shape[2]), int(batch.shape[3])) for batch in map(check_images, images)})
    if len(sizes) != 1:
        raise ValueError(f"expected normal pictures of one size to fit on, got {sizes or 'none'}")
    return sizes[0]


def _table(pictures: Sequence[Seen]) -> Table:
    return Table(
        len(pictures),
        np.concatenate([np.full(len(seen.parts.regions), number) for number, seen in enumerate(pictures)]),
        np.concatenate([seen.parts.sides for seen in pictures]),
        np.concatenate([seen.parts.measures for seen in pictures]),
        np.stack([bulk_of(seen.parts, seen.masks) for seen in pictures]),
    )


def _of_grounds(seen: Seen, used: list[int]) -> Seen:
    """What there is on the grounds `used`, renumbered."""
    rows = [row for row, region in enumerate(seen.parts.regions) if region.ground in used]
    regions = (seen.parts.regions[row] for row in rows)
    renumbered = tuple(region._replace(ground=used.index(region.ground)) for region in regions)
    return Seen(Parts(renumbered, seen.parts.measures[rows]), seen.masks[used], seen.lab)


def _splitter(table: Table, recurrence: float) -> Callable[[Seen], Seen]:
    """What takes touching parts of a picture apart."""
    rows = families_of(table, recurrence)
    sides, typical = table.side[rows], table.measures[rows]
    family = family_of(table.side, table.measures, sides, typical)
    counts = np.array([(family == own).sum() for own in range(len(rows))]) / table.pictures
    return lambda seen: seen._replace(parts=taken_apart(seen.parts, seen.lab, sides, typical, counts))


def _useful(table: Table, recurrence: float) -> list[int]:
    """The grounds that have families of parts that are not parts on a more useful ground as well."""
    rows = families_of(table, recurrence)
    family = family_of(table.side, table.measures, table.side[rows], table.measures[rows])
    ground = table.side // 2
    parts = [(family >= 0) & (ground == own) for own in range(int(ground.max(initial=-1)) + 1)]
    kept: list[int] = []
    for own in sorted(range(len(parts)), key=lambda place: -int(parts[place].sum())):
        if parts[own].any() and not any(_twins(table, parts[own], parts[other]) > 0.5 for other in kept):
            kept.append(own)
    return sorted(kept)


def _twins(table: Table, one: np.ndarray, other: np.ndarray) -> float:
    """Share of the parts `one` bool [R] that are where one of the `other` parts of the picture is, and as large."""
    same = table.picture[one][:, None] == table.picture[other]
    near = np.abs(table.measures[one][:, None, PLACE] - table.measures[other][:, PLACE]).max(axis=2) < TWIN
    large = np.abs(table.measures[one][:, None, 0] - table.measures[other][:, 0]) < 0.2
    return float((same & near & large).any(axis=1).mean())
