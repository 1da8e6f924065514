"""Which pictures of a test split a report shows, when it cannot show them all."""

import numpy as np
import pandas as pd

DEFAULT_LIMIT = 60
NORMAL = "good"


def choose_pictures(pictures: pd.DataFrame, limit: int = DEFAULT_LIMIT) -> list[int]:
    """Positions of at most `limit` rows of `pictures`: the worst cases, hardest first, then the best, easiest first.

    `pictures` has the columns `kind` ("good" or an anomaly type), `score` (higher is more anomalous) and `defects` (a
    tuple of names). How hard a picture is: the share of pictures of the other side, good or anomalous, that it is
    ranked wrongly against; between equals, the score. Every kind and every defect names its worst, then its best, then
    its second worst, and so on until the limit is reached, so that each is represented if the limit allows.

    >>> frame = pd.DataFrame({"kind": ["good", "good", "logical_anomalies", "logical_anomalies"],
    ...                       "score": [0.1, 0.7, 0.5, 0.9], "defects": [(), (), ("missing",), ("missing",)]})
    >>> choose_pictures(frame, limit=4)
    [1, 2, 0, 3]
    """
    if limit < 1:
        raise ValueError(f"expected a limit of at least one picture, got {limit}")
    order = _hardest_first(pictures)
    place = {picture: rank for rank, picture in enumerate(order)}
    worst, best = _turns(_groups(pictures, order), min(limit, len(pictures)))
    return sorted(worst, key=place.__getitem__) + sorted(best, key=place.__getitem__, reverse=True)


def _hardest_first(pictures: pd.DataFrame) -> list[int]:
    """All positions, ranked by the share of wrongly ordered pairs and, between equals, by the score."""
    scores = pictures["score"].to_numpy(float)
    normal = (pictures["kind"] == NORMAL).to_numpy()
    wrong = np.zeros(len(scores))
    good, anomalous = np.sort(scores[normal]), np.sort(scores[~normal])
    if len(good) and len(anomalous):
        wrong[normal] = np.searchsorted(anomalous, scores[normal], side="right") / len(anomalous)
        wrong[~normal] = 1 - np.searchsorted(good, scores[~normal], side="left") / len(good)
    middle = np.median(scores) if len(scores) else 0.0
    towards_wrong_side = np.where(normal, scores - middle, middle - scores)
    return [int(position) for position in np.lexsort((-towards_wrong_side, -wrong))]


def _groups(pictures: pd.DataFrame, order: list[int]) -> list[list[int]]:
    """The pictures of each kind, then those of each defect, hardest first; a picture may be in several."""
    groups: dict[tuple[str, str], list[int]] = {}
    kinds, defects = pictures["kind"].tolist(), pictures["defects"].tolist()
    for kind in sorted(set(kinds)):
        groups["kind", kind] = []
    for position in order:
        groups["kind", kinds[position]].append(position)
        for defect in sorted(set(defects[position])):
            groups.setdefault(("defect", defect), []).append(position)
    return list(groups.values())


def _turns(groups: list[list[int]], limit: int) -> tuple[list[int], list[int]]:
    """In each round every group names its next worst picture, then its next best; each picture is taken once."""
    worst: dict[int, None] = {}
    best: dict[int, None] = {}
    for round_number in range(max(map(len, groups), default=0)):
        for chosen, step in ((worst, 1), (best, -1)):
            for group in groups:
                position = next(iter(group[::step][round_number:]), None)
                if position is None or position in worst or position in best:
                    continue
                if len(worst) + len(best) == limit:
                    return list(worst), list(best)
                chosen[position] = None
    return list(worst), list(best)
