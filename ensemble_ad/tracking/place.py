"""Whether records go to MLflow, and to which store. Nothing here imports mlflow."""

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import urlopen

from ensemble_ad.errors import ConfigError, StoreError

BOX = ".tracking"
"""Folder of the outbox, in the folder of all outputs; where it lies, the local store belongs."""
DATABASE = "mlflow.db"
PATIENCE = 2.0
"""Seconds within which a tracking server has to answer at all."""
SQLITE = "sqlite:///"
MAGIC = b"SQLite format 3\0"
"""How a database file begins."""

SETTINGS = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
}
"""Environment of every process of ours that imports or starts mlflow; what the user has set stays.

No telemetry, no bars and notices, short waits, and of a server its pages without the processes that it keeps for jobs.
"""


@dataclass(frozen=True)
class Tracking:
    """Where records are mirrored to."""

    home: Path
    """The folder of all outputs, absolute: the local store and the outbox lie there."""
    uri: str
    """MLflow's tracking URI."""

    @property
    def shown(self) -> str:
        """The URI without a password."""
        return without_password(self.uri)


def chosen(home: Path, *, track: bool | None = None, uri: str | None = None, written: Any = None) -> Tracking | None:
    """Return where to mirror, or None when tracking is off; it is on unless someone says no.

    Args:
        home: the folder of all outputs.
        track: `--track` or `--no-track`; None when neither was given. It has the last word.
        uri: `--tracking-uri`; goes before what YAML says.
        written: what YAML says under `tracking`: true, false or a URI.

    Raises:
        ConfigError: `written` is something else, or the URI has no scheme.
    """
    if written is not None and not isinstance(written, (bool, str)):
        raise ConfigError(f"tracking: expected true, false or a tracking URI, got {written!r}")
    if track is False or (track is None and uri is None and written is False):
        return None
    return tracking_in(home, uri or (written if isinstance(written, str) else None))


def tracking_in(home: Path, uri: str | None = None) -> Tracking:
    """Return the store of the outputs in `home`: `uri`, else MLFLOW_TRACKING_URI, else an SQLite file in `home`."""
    home = home.resolve()
    named = uri or os.environ.get("MLFLOW_TRACKING_URI")
    return Tracking(home, _checked(named or f"{SQLITE}{home / DATABASE}"))


def home_of(out: Path) -> Path:
    """Return the folder of all outputs to which `out` belongs: the nearest one upwards that tracks already, else `out`.

    A record's own folder is none: it is replaced when the experiment runs again.
    """
    out = out.resolve()
    start = out.parent if (out / "experiment.yaml").is_file() else out
    return next((folder for folder in (start, *start.parents) if (folder / BOX).is_dir()), start)


def sqlite_file(uri: str) -> Path | None:
    """Return the database file of an SQLite store; None for any other.

    >>> sqlite_file("sqlite:////data/out/mlflow.db")
    PosixPath('/data/out/mlflow.db')
    """
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def without_password(uri: str) -> str:
    """Return a URI without the name and the password that it may carry.

    >>> without_password("https://me:secret@tracking.example:5000/mlflow")
    'https://tracking.example:5000/mlflow'
    """
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else uri


def refuse_unusable(uri: str) -> None:
    """Raise StoreError when nothing can be written to a store; a server must answer within two seconds.

    MLflow itself goes on trying for minutes.
    """
    if urlsplit(uri).scheme in ("http", "https"):
        _refuse_silent(without_password(uri).rstrip("/"))
    elif file := sqlite_file(uri):
        _refuse_file(file)


def _refuse_silent(address: str) -> None:
    try:
        urlopen(f"{address}/health", timeout=PATIENCE).close()  # noqa: S310, the scheme is http
    except HTTPError:
        return
    except (URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        if not isinstance(reason, ssl.SSLError):  # what to trust is for MLflow to judge
            raise StoreError(
                f"{address}: the tracking server does not answer ({reason}); nothing is lost, `ensemble-ad track sync` "
                f"mirrors the records when it is back"
            ) from error


def _refuse_file(file: Path) -> None:
    nearest = next(place for place in (file, *file.parents) if place.exists())
    reason = "" if os.access(nearest, os.R_OK | os.W_OK) else f"no permission to write {nearest}"
    if not reason and nearest == file:
        with file.open("rb") as stream:
            reason = "" if stream.read(len(MAGIC)) in (b"", MAGIC) else "it is something else"
    if reason:
        raise StoreError(f"{file}: cannot be MLflow's database ({reason}); name another one with --tracking-uri")


def _checked(uri: str) -> str:
    """The URI, with an absolute path where it names a relative SQLite file."""
    if ":" not in uri:
        raise ConfigError(f"tracking URI: expected one like http://host:5000 or sqlite:///mlflow.db, got {uri!r}")
    file = sqlite_file(uri)
    if file is None:
        return uri
    if set("?%") & set(str(file.resolve())):
        raise ConfigError(
            f"{file.resolve()}: MLflow cannot use a database whose path contains ? or %; name another one with "
            f"--tracking-uri, or say --no-track"
        )
    return f"{SQLITE}{file.resolve()}"
