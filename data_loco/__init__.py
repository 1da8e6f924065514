"""Class folders of pictures with annotated defects: MVTec LOCO AD's layout, MVTec AD's by adapter, one's own.

`open_class` reads the names, `Pictures` makes batches, `check_class` says what is wrong with a folder. Importing this
package is cheap; torch is imported with `data_loco.loading` only.
"""

from data_loco.check import CheckReport, Finding, check_class
from data_loco.errors import DataError
from data_loco.loco import ClassFolder, open_class
from data_loco.sample import GOOD, Defect, Sample
from data_loco.saturation import DefectKind

__all__ = [
    "GOOD",
    "CheckReport",
    "ClassFolder",
    "DataError",
    "Defect",
    "DefectKind",
    "Finding",
    "Sample",
    "check_class",
    "open_class",
]
