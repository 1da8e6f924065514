"""What a check of a class folder found, as data: findings and counts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_loco.errors import DataError


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (error) or doubtful (warning)."""

    level: Literal["error", "warning"]
    path: Path
    reason: str
    cure: str

    @classmethod
    def of(cls, error: DataError) -> "Finding":
        """The same, told as a finding of level "error"."""
        return cls("error", error.path, error.reason, error.cure)

    def __str__(self) -> str:
        return f"{self.level}: {self.path}: {self.reason}; {self.cure}"


@dataclass(frozen=True)
class SplitCount:
    """How many pictures one folder of a split holds."""

    split: str
    kind: str
    pictures: int


@dataclass(frozen=True)
class DefectCount:
    """How often a defect kind occurs in the test pictures' masks, and at what area it saturates."""

    kind: str
    """The folder under test/, such as logical_anomalies."""
    name: str
    pixel_value: int
    pictures: int
    regions: int
    saturation_min: int
    """Smallest saturation area in original pixels."""
    saturation_max: int


@dataclass(frozen=True)
class CheckReport:
    """Every finding, in the order of the folder, and the counts."""

    root: Path
    findings: tuple[Finding, ...]
    splits: tuple[SplitCount, ...] = ()
    defects: tuple[DefectCount, ...] = ()
    notes: tuple[str, ...] = ()
    """How the folder was read, from `ClassFolder.notes`."""

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that make results wrong or impossible."""
        return tuple(finding for finding in self.findings if finding.level == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings that a person should look at."""
        return tuple(finding for finding in self.findings if finding.level == "warning")
