"""Where pieces of work run: in this process, in processes beside it, or on a Dask cluster. One interface for all three.

What is submitted is a module-level function with plain arguments. A worker that dies (killed, out of memory) loses its
piece of work, which is begun again on a fresh one; a piece that ends `DEATHS` workers raises WorkerDiedError.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from multiprocessing import get_context, parent_process
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from ensemble_ad.environment import available_cores
from ensemble_ad.errors import ConfigError

DEATHS = 3
"""Workers that one piece of work may take with it."""


class WorkerDiedError(RuntimeError):
    """A piece of work ended every worker that tried it."""


class InProcess(Executor):
    """Does what is submitted at once, in the calling thread."""

    at_once = 1
    """Calls that can be worked on together."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Return a future that is done.

        >>> InProcess().submit(max, 1, 2).result()
        2
        """
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # the future hands it on
            future.set_exception(error)
        return future


class Processes(Executor):
    """Fresh processes beside this one, each with its share of the cores.

    Each is a pool of its own: one that dies takes no other with it, and nobody has to guess whose fault it was.
    """

    def __init__(self, workers: int) -> None:
        threads = max(1, available_cores() // workers)
        self.at_once = workers
        self._callers = ThreadPoolExecutor(workers, thread_name_prefix="worker")
        self._workers = [_Worker(threads) for _ in range(workers)]
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Queue the call; the first idle process takes it."""
        return self._callers.submit(self._on_idle_worker, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002, the base's
        """End the processes; with `cancel_futures` at once, whatever they are doing."""
        if cancel_futures:
            self._callers.shutdown(wait=False, cancel_futures=True)
            for worker in self._workers:
                worker.stop()
        self._callers.shutdown(wait=wait)
        for worker in self._workers:
            worker.close()

    def _on_idle_worker(self, fn: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        worker = self._idle.get()
        try:
            return worker.call(fn, args, kwargs)
        finally:
            self._idle.put(worker)


class _Worker:
    """One process at a time, opened when it is needed and again when it died."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.pool: ProcessPoolExecutor | None = None
        self.pid: int | None = None
        self.stopped = False

    def call(self, fn: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
        """Return what the process answers; raises WorkerDiedError when it died every time."""
        for _ in range(DEATHS):
            try:
                return self._opened().submit(fn, *args, **kwargs).result()
            except BrokenProcessPool:
                self.close()
                if self.stopped:
                    raise
        raise WorkerDiedError(f"its worker process died {DEATHS} times: killed, or out of memory")

    def stop(self) -> None:
        """Kill the process and open no other."""
        self.stopped = True
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Wait for the process to end."""
        if self.pool is not None:
            self.pool.shutdown()
        self.pool = self.pid = None

    def _opened(self) -> ProcessPoolExecutor:
        if self.pool is None:
            spawn = get_context("spawn")
            self.pool = ProcessPoolExecutor(1, spawn, initializer=_begin_worker, initargs=(self.threads,))
            self.pid = self.pool.submit(os.getpid).result()
        if self.stopped:  # meanwhile
            self.stop()
            raise BrokenProcessPool("stopped")
        return self.pool


def _begin_worker(threads: int) -> None:
    """Take a share of the cores, leave Ctrl-C to the parent, and go when the parent goes, however it ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    threads = min(threads, int(os.environ.get("OMP_NUM_THREADS") or threads))
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if torch := sys.modules.get("torch"):  # the main module's doing; else it will obey the variable when it comes
        torch.set_num_threads(threads)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def opened(executor: Executor) -> Iterator[Executor]:
    """Close an executor at the end of the block; at once, with what it is doing, when the block fails (Ctrl-C)."""
    try:
        yield executor
    except BaseException:
        executor.shutdown(cancel_futures=True)
        raise
    executor.shutdown()


def open_executor(
    workers: int = 1,
    scheduler: str | None = None,
    *,
    device: str = "cpu",
    queue: str | None = None,
    job: Mapping[str, Any] | None = None,
    shared: Path | None = None,
) -> Executor:
    """Return what does the work: this process for one worker, processes beside it for more, or a Dask cluster.

    Args:
        workers: processes on this machine, or jobs in a queue.
        scheduler: address of a Dask scheduler, whose workers are used instead.
        device: where networks run; on a GPU a Dask worker has to have the resource `GPU`.
        queue: slurm, pbs or lsf: ask it for the workers.
        job: what a job in that queue needs, see `ensemble_ad.cluster.open_queue`.
        shared: a folder that every worker has to see.

    Raises:
        ConfigError: no scheduler there, an unknown queue or option, a worker that cannot see the folder, no dask.
    """
    if scheduler is None and queue is None:
        return InProcess() if workers == 1 else Processes(workers)
    if find_spec("distributed") is None:
        raise ConfigError("Dask is not installed: pip install 'ensemble-ad[cluster]'")
    from ensemble_ad.cluster import DaskExecutor, open_queue  # dask is an extra

    executor = DaskExecutor(scheduler, device) if queue is None else open_queue(queue, job or {}, workers, device)
    if shared is not None:
        executor.refuse_other_worlds(shared)
    return executor
