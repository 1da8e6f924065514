"""A whole experiment that takes about a second, and a way to call the command line inside the test's process."""

import contextlib
import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import yaml

from ensemble_ad.cli import main
from ensemble_ad.experiment import Experiment, load_experiment

NETWORK = {"backbone": "test_resnet", "weights": "random", "layers": ["layer1", "layer2"], "embedding": "concatenation"}
PATCHCORE: dict[str, Any] = {"name": "patchcore", **NETWORK, "coreset_ratio": 0.1}
SIMPLENET: dict[str, Any] = {"name": "simplenet", **NETWORK, "hidden": 8, "epochs": 2}
FUSED: dict[str, Any] = {
    "name": "feature_ensemble",
    "extractors": [PATCHCORE, SIMPLENET],
    "combiner": {"name": "global", "components": 8},
    "discriminator": {"hidden": 8, "epochs": 2, "noise": "gaussian", "noise_std": 0.5},
    "sigma": 4.0,
    "image_score": "maximum",
}
ALONE: dict[str, Any] = {"name": "standalone", "method": PATCHCORE}
MEASURED = ("ms_per_picture", "peak_memory_mb")
"""What differs between two runs of the same experiment."""


class Called(NamedTuple):
    code: int
    out: str
    err: str


def small_experiment(detector: Mapping[str, Any] = FUSED, **changes: Any) -> Experiment:
    return load_experiment({"size": 64, "detector": detector, **changes})


def write_experiment(path: Path, detector: Any = FUSED, **changes: Any) -> Path:
    path.write_text(yaml.safe_dump({"size": 64, "detector": detector, **changes}))
    return path


def call(*words: object) -> Called:
    """`ensemble-ad WORDS...` as the console script runs it; an error without a sentence comes through."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    argv = patch.object(sys, "argv", ["ensemble-ad", *map(str, words)])
    with argv, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code
    return Called(code or 0, out.getvalue(), err.getvalue())


def files_in(folder: Path) -> list[str]:
    """Every file below `folder`, locks apart, and every folder without files."""
    paths = [
        path for path in folder.rglob("*") if path.suffix != ".lock" and not (path.is_dir() and any(path.iterdir()))
    ]
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def without_times(result: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key not in (*MEASURED, "seconds")}


def flip_byte(path: Path, position: int = -5) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0xFF
    path.write_bytes(bytes(content))
