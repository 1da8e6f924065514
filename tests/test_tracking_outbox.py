"""Nobody waits for MLflow, and nothing is lost on the way to it."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from filelock import FileLock

from ensemble_ad.errors import ConfigError, StoreError
from ensemble_ad.tracking import Tracking, chosen, home_of, mirroring, outbox, overdue
from ensemble_ad.tracking import mirror as mirrors
from ensemble_ad.tracking.mirror import Summary
from ensemble_ad.tracking.place import BOX, refuse_unusable, without_password

URI = "http://tracking.example:5000"


@pytest.fixture(autouse=True)
def _no_server_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def tracking(tmp_path: Path) -> Tracking:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    return Tracking(tmp_path, URI)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Homes for which a background process would have been started."""
    homes: list[Path] = []
    monkeypatch.setattr(outbox, "start", homes.append)
    return homes


class Mirror:
    """Stands for MLflow: notes what it is given, fails or is silent when told to."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str]] = []
        self.failing: set[str] = set()
        self.silent = False

    def __call__(self, folder: Path, uri: str, _progress: Any) -> Summary:
        self.got.append((folder.name, uri))
        if self.silent:
            raise StoreError("does not answer")
        return Summary(failures=[f"{folder}: no"] if folder.name in self.failing else [])


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Mirror:
    stand_in = Mirror()
    monkeypatch.setattr(mirrors, "mirror_all", stand_in)
    return stand_in


def notes(home: Path) -> list[str]:
    """Names of the folders that wait."""
    return sorted(Path(json.loads(note.read_text())["folder"]).name for note in (home / BOX).glob("*.json"))


def post_all(tracking: Tracking, *names: str) -> None:
    for name in names:
        outbox.post(tracking, tracking.home / name)


@pytest.mark.parametrize(
    ("track", "uri", "written", "variable", "expected"),
    [
        (None, None, None, None, "sqlite:///{home}/mlflow.db"),
        (True, None, False, None, "sqlite:///{home}/mlflow.db"),
        (None, None, True, None, "sqlite:///{home}/mlflow.db"),
        (None, None, False, None, None),
        (False, URI, URI, URI, None),
        (None, None, None, "http://env", "http://env"),
        (None, None, "http://yaml", "http://env", "http://yaml"),
        (None, URI, "http://yaml", "http://env", URI),
        (None, URI, False, None, URI),
        (None, "sqlite:///a.db", None, None, "sqlite:///{cwd}/a.db"),
        (None, "sqlite:////b/a.db", None, None, "sqlite:////b/a.db"),
    ],
)
def test_the_nearest_word_decides_where_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, track: Any, uri: Any, written: Any, variable: Any, expected: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    if variable:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", variable)
    found = chosen(tmp_path / "out", track=track, uri=uri, written=written)
    wanted = expected and expected.format(home=tmp_path / "out", cwd=tmp_path)
    assert (found and found.uri) == wanted


@pytest.mark.parametrize("written", [3, ["http://a"], "out/mlflow.db"])
def test_nonsense_is_refused_in_words(written: Any) -> None:
    with pytest.raises(ConfigError, match=r"tracking.*expected.*got"):
        chosen(Path("out"), written=written)


def test_a_path_that_mlflow_would_misread_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match=r"out 50%/mlflow\.db: MLflow cannot use .*, or say --no-track"):
        chosen(Path("out 50%"))
    assert chosen(Path("out 50%"), uri=URI) == Tracking(Path("out 50%").resolve(), URI)


def test_a_store_lies_where_one_is_already_and_never_in_a_record(tmp_path: Path) -> None:
    (tmp_path / BOX).mkdir()
    assert home_of(tmp_path / "runs" / "parts") == tmp_path
    run = tmp_path / "inner" / "run"
    run.mkdir(parents=True)
    (run / "experiment.yaml").write_text("")
    (tmp_path / BOX).rmdir()
    assert home_of(run) == run.parent
    assert home_of(tmp_path / "new") == tmp_path / "new"


def test_passwords_are_not_shown(tmp_path: Path) -> None:
    assert Tracking(tmp_path, "http://me:secret@host:5000/a").shown == "http://host:5000/a"
    assert without_password("sqlite:////a@b/mlflow.db") == "sqlite:////a@b/mlflow.db"


def test_without_tracking_nothing_is_noted_or_started(tmp_path: Path, started: list[Path]) -> None:
    with mirroring(None) as mirror:
        mirror(tmp_path)
    assert started == []
    assert list(tmp_path.iterdir()) == []
    assert overdue(None) == []


def test_a_note_is_written_before_the_process_starts(tracking: Tracking, started: list[Path]) -> None:
    with mirroring(tracking) as mirror:
        mirror(tracking.home / "one")
        assert (notes(tracking.home), started) == (["one"], [tracking.home])
    assert started == [tracking.home]
    assert all(note.stat().st_mode & 0o077 == 0 for note in (tracking.home / BOX).glob("*.json"))


def test_many_records_start_few_processes_and_the_last_is_not_forgotten(
    tracking: Tracking, started: list[Path]
) -> None:
    with mirroring(tracking) as mirror:
        for _ in range(5):
            mirror(tracking.home / "one")
        assert len(started) == 1
    assert len(started) == 2
    assert notes(tracking.home) == ["one"]


def test_an_interrupted_survey_hands_on_what_it_noted(tracking: Tracking, started: list[Path]) -> None:
    def survey() -> None:
        with mirroring(tracking) as mirror:
            mirror(tracking.home / "one")
            mirror(tracking.home / "two")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        survey()
    assert len(started) == 2


def test_a_full_disk_does_not_stop_a_run(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outbox, "post", full)
    with mirroring(tracking) as mirror:
        mirror(tracking.home / "one")
    assert "one is not tracked ([Errno 28] No space left on device); `ensemble-ad track sync`" in caplog.text


def test_what_waits_is_delivered_once(tracking: Tracking, mirror: Mirror) -> None:
    post_all(tracking, "one", "two")
    outbox.deliver(tracking.home)
    outbox.deliver(tracking.home)
    assert sorted(mirror.got) == [("one", URI), ("two", URI)]
    assert notes(tracking.home) == []


def test_what_fails_waits_and_the_others_go(
    tracking: Tracking, mirror: Mirror, caplog: pytest.LogCaptureFixture
) -> None:
    mirror.failing = {"one"}
    post_all(tracking, "one", "two")
    outbox.deliver(tracking.home)
    assert notes(tracking.home) == ["one"]
    assert "one: no" in caplog.text
    mirror.failing = set()
    outbox.deliver(tracking.home)
    assert notes(tracking.home) == []


def test_a_store_that_does_not_answer_is_asked_once(tracking: Tracking, mirror: Mirror) -> None:
    mirror.silent = True
    post_all(tracking, "one", "two")
    outbox.deliver(tracking.home)
    assert len(mirror.got) == 1
    assert notes(tracking.home) == ["one", "two"]


def test_what_a_killed_process_held_is_taken_up_again(tracking: Tracking, mirror: Mirror) -> None:
    post_all(tracking, "one")
    note = outbox.note_of(tracking, tracking.home / "one")
    note.rename(note.with_suffix(".taken"))
    outbox.deliver(tracking.home)
    assert mirror.got == [("one", URI)]


def test_a_record_that_comes_while_others_are_delivered_goes_too(
    tracking: Tracking, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(folder: Path, uri: str, progress: Any) -> Summary:
        if folder.name == "one":
            post_all(tracking, "two")
        return mirror(folder, uri, progress)

    monkeypatch.setattr(mirrors, "mirror_all", meanwhile)
    post_all(tracking, "one")
    outbox.deliver(tracking.home)
    assert [name for name, _ in mirror.got] == ["one", "two"]


def test_a_deleted_record_and_a_damaged_note_do_no_harm(tracking: Tracking, mirror: Mirror) -> None:
    post_all(tracking, "gone", "one")
    (tracking.home / BOX / "damaged.json").write_text("{")
    outbox.deliver(tracking.home)
    assert mirror.got == [("one", URI)]
    assert [note.name for note in (tracking.home / BOX).glob("*.json")] == ["damaged.json"]


def test_a_third_process_leaves_the_work_to_the_one_that_waits(tracking: Tracking, mirror: Mirror) -> None:
    post_all(tracking, "one")
    with FileLock(tracking.home / BOX / "next.lock"):
        outbox.deliver(tracking.home)
    assert notes(tracking.home) == ["one"]


TURNS = """
import sys, time
from pathlib import Path
from ensemble_ad.tracking import Tracking, outbox
from ensemble_ad.tracking import mirror as mirrors

home, own = Path(sys.argv[1]), sys.argv[2]

def stand_in(folder, uri, progress):
    time.sleep(0.01)
    (folder / f"by {own}").touch(exist_ok=False)
    return mirrors.Summary()

mirrors.mirror_all = stand_in
for number in range(5):
    folder = home / f"record {own} {number}"
    folder.mkdir()
    outbox.post(Tracking(home, "sqlite:////nowhere"), folder)
    outbox.deliver(home)
"""


def test_processes_take_turns_and_miss_nothing(tracking: Tracking) -> None:
    workers = [subprocess.Popen([sys.executable, "-c", TURNS, str(tracking.home), str(own)]) for own in range(4)]
    assert [worker.wait() for worker in workers] == [0] * 4
    assert [len(list(folder.iterdir())) for folder in tracking.home.glob("record *")] == [1] * 20
    assert notes(tracking.home) == []


def test_what_waits_for_long_is_said(tracking: Tracking) -> None:
    post_all(tracking, "one", "two")
    assert overdue(tracking) == []
    os.utime(outbox.note_of(tracking, tracking.home / "one"), (0, 0))
    said = "earlier results that still wait to be mirrored to MLflow: 1; "
    assert overdue(tracking) == [said + "`ensemble-ad track sync` does it now"]
    (tracking.home / ".tracking" / "log").write_text("WARNING no answer")
    assert overdue(tracking) == [said + f"{tracking.home}/.tracking/log says what failed"]


def free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def forbidding() -> Iterator[str]:
    """A server that answers everything with 403."""

    class Forbid(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(403)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Forbid)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_any_answer_of_a_server_will_do(forbidding: str) -> None:
    refuse_unusable(forbidding)
    refuse_unusable(forbidding.replace("//", "//me:secret@"))


def test_a_file_that_cannot_be_a_database_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow would try for two minutes."""
    file = tmp_path / "new" / "mlflow.db"
    refuse_unusable(f"sqlite:///{file}")
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as database:
        refuse_unusable(f"sqlite:///{file}")
        database.execute("create table t (x)")
    refuse_unusable(f"sqlite:///{file}")
    monkeypatch.setattr("os.access", lambda path, _mode: path != file)
    with pytest.raises(StoreError, match=r"cannot be MLflow's database \(no permission to write .*mlflow\.db\)"):
        refuse_unusable(f"sqlite:///{file}")
    (tmp_path / "picture.png").write_text("no database")
    with pytest.raises(StoreError, match=r"picture\.png: cannot be MLflow's database \(it is something else\)"):
        refuse_unusable(f"sqlite:///{tmp_path / 'picture.png'}")


def test_no_server_is_said_at_once() -> None:
    start = time.monotonic()
    with pytest.raises(StoreError, match=r"does not answer.*nothing is lost") as caught:
        refuse_unusable(f"http://me:secret@127.0.0.1:{free_port()}")
    assert "secret" not in str(caught.value)
    assert time.monotonic() - start < 2.5


def test_a_server_that_never_answers_costs_two_seconds() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as deaf:
        start = time.monotonic()
        with pytest.raises(StoreError, match="does not answer"):
            refuse_unusable(f"http://127.0.0.1:{deaf.getsockname()[1]}")
    assert 1.5 < time.monotonic() - start < 4
