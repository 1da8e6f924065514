"""Whose trial it is, so that another process can tell whether anybody is still at work on it."""

import os
import socket
import time

import psutil


def this_process() -> str:
    """Return machine, process and time: different for every trial."""
    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time()} {time.time()}"


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
