"""A PostgreSQL server of one's own, for as long as a test needs it."""

import os
import pwd
import shutil
import socket
import subprocess
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
def server(bin_folder: Path, folder: Path) -> Iterator[str]:
    """A server on loopback with its data in `folder`; yields its URL."""
    account = _account()
    folder.mkdir()
    if account:
        shutil.chown(folder, account)
        for above in folder.parents[: len(folder.parts) - 2]:  # pytest's folders are closed to others
            if above.owner() == pwd.getpwuid(os.geteuid()).pw_name and str(above) != "/tmp":
                above.chmod(above.stat().st_mode | 0o011)
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


def _account() -> str | None:
    """The server refuses to run as root: the account that Debian's package makes for it, else nobody."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
