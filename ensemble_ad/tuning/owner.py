"""Whose trial it is, so that another process can tell whether anybody is still at work on it."""

import os
import socket
import time

import psutil


def this_process() -> str:
    """Return machine, process and time: different for every trial."""
    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time()} {time.time()}"


def process_of(owner: str) -> str:
    """Return the part of an owner that is the same for all trials of its process."""
    return owner.rpartition(" ")[0]


def announced_at(owner: str) -> float:
    """Return when the owner was made, in seconds since 1970.

    >>> announced_at("host 17 1000.0 1003.5")
    1003.5
    """
    return float(owner.rpartition(" ")[2])


def is_gone(owner: str) -> bool:
    """Whether the process was one of this machine and has ended; False for one that cannot be seen from here.

    >>> is_gone(this_process())
    False
    """
    host, pid, created, _now = owner.split()
    if host != socket.gethostname():
        return False
    try:
        return abs(psutil.Process(int(pid)).create_time() - float(created)) > 1
    except psutil.NoSuchProcess:
        return True
