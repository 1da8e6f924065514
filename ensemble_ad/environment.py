"""What a number was computed with: versions, commit, machine."""

import os
import platform
import resource
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ensemble_ad import __version__

PACKAGES = ("torch", "torchvision", "timm", "onnxruntime", "numpy", "scipy", "scikit-learn", "opencv-python-headless")


def environment() -> dict[str, str]:
    """Return names and values, all text; what cannot be found out is `unknown`."""
    known = {
        "ensemble-ad": __version__,
        "commit": git_commit(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": processor(),
        "cores": str(available_cores()),
    }
    return known | {package: installed_version(package) for package in PACKAGES}


def installed_version(package: str) -> str:
    """Return the version of an installed distribution."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """Return the CPU's name."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or "unknown"


def git_commit() -> str:
    """Return the commit of the checkout that runs, with `+` when files differ from it."""
    try:
        commit, changed = _git("rev-parse", "--short=12", "HEAD"), _git("status", "--porcelain", "-uno")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("+" if changed else "")


def _git(*words: str) -> str:
    command = ["git", "-C", str(Path(__file__).resolve().parents[1]), *words]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603, the words are ours
    return answer.stdout.strip()


def peak_memory_mb() -> float:
    """Return the most memory that this process has held so far, or since `forget_peak_memory`, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def forget_peak_memory() -> None:
    """Let `peak_memory_mb` count from now on; on other systems than Linux it goes on counting from the start."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
