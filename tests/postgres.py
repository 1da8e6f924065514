"""A PostgreSQL server of one's own, for as long as a test needs it."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SERVER_ROOTS = Path("/usr/lib/postgresql")
"""Where Debian puts the programs that are not on the path."""


def programs() -> Path | None:
    """The folder of initdb and pg_ctl, of the newest version; None where there is none."""
    found = sorted(SERVER_ROOTS.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


@contextmanager
def server(bin_folder: Path) -> Iterator[str]:
    """A server on loopback; yields its URL.

    Its data are in a folder of its own, since pytest closes those of all tests to other accounts whenever it starts.
    """
    account, folder = _account(), Path(tempfile.mkdtemp(prefix="postgres-"))
    if account:
        shutil.chown(folder, account)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def call(*words: str) -> None:
        subprocess.run([*words], check=True, user=account, cwd=folder, stdout=subprocess.DEVNULL, timeout=60)

    data, options = str(folder / "data"), f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    call(str(bin_folder / "initdb"), "-D", data, "-A", "trust", "-U", "tuner", "-N")
    call(str(bin_folder / "pg_ctl"), "start", "-w", "-D", data, "-o", options, "-l", str(folder / "log"))
    try:
        yield f"postgresql+psycopg://tuner@127.0.0.1:{port}/postgres"
    finally:
        call(str(bin_folder / "pg_ctl"), "stop", "-w", "-m", "fast", "-D", data)
        shutil.rmtree(folder)


def _account() -> str | None:
    """The server refuses to run as root: the account that Debian's package makes for it, else nobody."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
