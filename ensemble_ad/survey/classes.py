"""The classes of a survey: folders of classes become classes, and one that cannot be read does not stop the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_loco import DataError, open_class
from data_loco.mvtec_ad import is_mvtec_ad
from data_loco.picture_files import folders_in, pictures_in
from data_loco.sample import GOOD
from ensemble_ad.errors import ConfigError
from ensemble_ad.running import refuse_errors


@dataclass(frozen=True)
class SurveyedClass:
    """One class folder as it was when the survey started."""

    root: Path
    """Absolute: workers may start elsewhere."""
    name: str
    fingerprint: str
    """Of pictures, masks and defect kinds; empty where the folder cannot be used."""
    layout: str
    """`LOCO` or `MVTec AD`."""
    notes: tuple[str, ...] = ()
    """What the reader of its numbers should know."""
    fault: str = ""
    """Why it cannot be used."""


def surveyed_classes(paths: Sequence[Path]) -> list[SurveyedClass]:
    """Return the classes in `paths`, each a class folder or a folder of them, in order and each once.

    Raises DataError for a folder without a class, ConfigError where two classes bear the same name.
    """
    roots = list(dict.fromkeys(root.resolve() for path in paths for root in _roots(path)))
    names: dict[str, Path] = {}
    for root in roots:
        if other := names.get(root.name):
            raise ConfigError(f"two classes are called {root.name!r}: {other} and {root}; rename one of the folders")
        names[root.name] = root
    return [_surveyed(root) for root in roots]


def _roots(path: Path) -> list[Path]:
    if _is_class(path):
        return [path]
    if not path.is_dir():
        raise DataError(path, "no such folder", "name a class folder, or a folder of them")
    found = [folder for folder in folders_in(path) if _is_class(folder)]
    if not found:
        raise DataError(
            path, f"holds no class (a folder with train/{GOOD})", "name a class folder, or a folder of them"
        )
    return found


def _is_class(path: Path) -> bool:
    return bool(pictures_in(path / "train" / GOOD))


def _surveyed(root: Path) -> SurveyedClass:
    layout = "MVTec AD" if is_mvtec_ad(root) else "LOCO"
    try:
        notes = refuse_errors(root)
        return SurveyedClass(root, root.name, open_class(root).fingerprint(), layout, notes)
    except DataError as error:
        return SurveyedClass(root, root.name, "", layout, fault=str(error))
