"""Work on other machines: a Dask scheduler that is running, or one that asks a queue (SLURM, PBS, LSF) for workers.

Every machine has to see the same files: the class folders, the cache and the results lie on a shared file system.
"""

import importlib
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from ensemble_ad import __version__
from ensemble_ad.build import did_you_mean
from ensemble_ad.errors import ConfigError

QUEUES = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster"}
"""Queueing system -> its class in dask_jobqueue."""
PATIENCE = 20
"""Seconds to wait for a scheduler."""

_one_at_a_time = threading.Lock()


class DaskExecutor(Executor):
    """Dask workers behind the interface of concurrent.futures; a piece whose worker died is begun again elsewhere.

    On a GPU a piece of work asks for the worker resource `GPU`, so that no two share one.
    """

    def __init__(self, address: Any, device: str, owned: Any = None) -> None:
        """`address` is a scheduler's, or a Dask cluster; `owned` is closed in the end."""
        from distributed import Client

        try:
            self._client = Client(address, timeout=PATIENCE, set_as_default=False)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"--scheduler {address}: no Dask scheduler answers ({reason}); start one with `dask scheduler`"
            ) from error
        self._owned = owned
        self._workers = 0
        resources = {"resources": {"GPU": 1}} if device.startswith("cuda") else {}
        self._executor = self._client.get_executor(pure=False, **resources)

    @property
    def at_once(self) -> int:
        """Calls to hand out: two for each worker that is there now, so that none waits for the next."""
        with suppress(OSError):  # the scheduler has gone: its futures will say so
            self._workers = len(self._client.nthreads())
        return max(1, 2 * self._workers)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Hand the call to the scheduler."""
        return self._executor.submit(one_at_a_time, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002, the base's
        """Leave the scheduler; with `cancel_futures` what has not begun will not."""
        self._executor.shutdown(wait=wait and not cancel_futures)
        self._client.close()
        if self._owned is not None:
            self._owned.close()

    def refuse_other_worlds(self, folder: Path) -> None:
        """Raise ConfigError when a worker cannot see `folder` or has another version of this package."""
        for worker, (version, seen) in self._client.run(look_around, str(folder)).items():
            if version != __version__:
                raise ConfigError(f"worker {worker} has ensemble-ad {version}, this is {__version__}; install the same")
            if not seen:
                raise ConfigError(
                    f"worker {worker} cannot see {folder}; classes, --out and --cache have to lie on a file system "
                    "that all machines share"
                )


def one_at_a_time(fn: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """Call `fn` alone: pieces of work use all threads of their worker, and a worker may have been given several."""
    with _one_at_a_time:
        return fn(*args, **kwargs)


def look_around(folder: str) -> tuple[str, bool]:
    """Return, on a worker, this package's version and whether a folder is there."""
    return __version__, Path(folder).is_dir()


def open_queue(queue: str, options: Mapping[str, Any], workers: int, device: str) -> DaskExecutor:
    """Return the executor of a cluster that asks `queue` (slurm, pbs, lsf) for `workers` jobs.

    `options` are those of the class in dask_jobqueue, such as cores, memory, walltime and queue. Each job is one worker
    that does one piece of work at a time with all its cores.
    """
    if queue not in QUEUES:
        raise ConfigError(f"--cluster {queue!r}: unknown{did_you_mean(queue, QUEUES)}; there are {', '.join(QUEUES)}")
    try:
        kind = getattr(importlib.import_module("dask_jobqueue"), QUEUES[queue])
    except ImportError as error:
        raise ConfigError("--cluster needs dask-jobqueue: pip install 'ensemble-ad[cluster]'") from error
    try:
        cluster = kind(**_job(options, device))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"--cluster-options: {error}") from error
    cluster.scale(jobs=workers)
    return DaskExecutor(cluster, device, owned=cluster)


def _job(options: Mapping[str, Any], device: str) -> dict[str, Any]:
    """The options of one job: one process, one piece at a time, threads for all its cores."""
    if "cores" not in options or "memory" not in options:
        raise ConfigError(
            "--cluster-options: expected at least cores and memory of a job, such as cores: 4, memory: 16GB"
        )
    extra = ["--nthreads", "1", *(["--resources", "GPU=1"] if device.startswith("cuda") else [])]
    prologue = [f"export OMP_NUM_THREADS={options['cores']}"]
    return {
        "processes": 1,
        **options,
        "worker_extra_args": [*options.get("worker_extra_args", []), *extra],
        "job_script_prologue": [*options.get("job_script_prologue", []), *prologue],
    }
