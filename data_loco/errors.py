"""The one error this package raises for bad content on disk."""

from pathlib import Path


class DataError(ValueError):
    """A file or folder is not what it should be: says which, why, and what to do about it.

    >>> from pathlib import Path
    >>> print(DataError(Path("parts/train"), "holds no picture", "put the normal pictures into train/good"))
    parts/train: holds no picture; put the normal pictures into train/good
    """

    def __init__(self, path: Path, reason: str, cure: str):
        super().__init__(path, reason, cure)
        self.path = path
        self.reason = reason
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}; {self.cure}"
