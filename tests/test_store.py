"""Finished stages are whole, found again, computed once, and thrown away when damaged."""

import errno
import logging
import threading
import time
from pathlib import Path

import pytest
from small_run import files_in, flip_byte

from ensemble_ad.errors import StoreError
from ensemble_ad.store import RECORD, Store, as_store_error, key_of

KEY = {"component": {"name": "patchcore"}, "size": (64, 96)}


class Maker:
    """Writes two files and counts how often it was asked."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.calls = 0
        self.seconds = seconds

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        time.sleep(self.seconds)
        (folder / "a.bin").write_bytes(bytes(range(100)))
        (folder / "deep").mkdir()
        (folder / "deep" / "b.txt").write_text("b")


def test_a_stage_is_made_once_and_found_again_by_another_process(tmp_path: Path) -> None:
    make = Maker()
    first = Store(tmp_path).stage("fit", KEY, make, "patchcore")
    again = Store(tmp_path).stage("fit", KEY, make, "patchcore")
    assert make.calls == 1
    assert (first.reused, again.reused) == (False, True)
    assert (again.folder, again.key, again.seconds) == (first.folder, first.key, first.seconds)
    assert (again.folder / "deep" / "b.txt").read_text() == "b"


def test_the_log_names_every_stage_asked_for(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.stage("fit", KEY, Maker(), "patchcore")
    store.stage("fit", KEY, Maker())
    assert [(name, entry.reused) for name, entry in store.log] == [("fit patchcore", False), ("fit", True)]


@pytest.mark.parametrize("other", [{**KEY, "size": (96, 64)}, {**KEY, "more": None}, {"size": (64, 96)}])
def test_another_dependency_is_another_stage(tmp_path: Path, other: dict) -> None:
    make, store = Maker(), Store(tmp_path)
    store.stage("fit", KEY, make)
    store.stage("fit", other, make)
    store.stage("features", KEY, make)
    assert make.calls == 3


def test_a_key_does_not_depend_on_order_or_on_the_kind_of_sequence() -> None:
    assert key_of({"a": (1, 2), "b": {"c": 1, "d": 2}}) == key_of({"b": {"d": 2, "c": 1}, "a": [1, 2]})
    assert key_of({"a": 1}) != key_of({"a": 1.5})
    with pytest.raises(ValueError, match=r"[Oo]ut of range"):
        key_of({"a": float("nan")})


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), MemoryError()])
def test_a_stage_that_fails_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise error

    with pytest.raises(type(error)):
        Store(tmp_path).stage("fit", KEY, fail)
    assert [name for name in files_in(tmp_path) if name != "fit"] == []
    assert not Store(tmp_path).has("fit", KEY)


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    folder = Store(tmp_path).stage("fit", KEY, Maker()).folder
    partial = folder.with_name(f".{folder.name}.partial")
    folder.rename(partial)
    (partial / RECORD).unlink()
    assert not Store(tmp_path).stage("fit", KEY, Maker()).reused
    assert files_in(tmp_path / "fit") == [f"{folder.name}/{name}" for name in ("a.bin", "deep/b.txt", RECORD)]


DAMAGES = {
    "a flipped byte": lambda folder: flip_byte(folder / "a.bin"),
    "a truncated file": lambda folder: (folder / "a.bin").write_bytes(b"1"),
    "a missing file": lambda folder: (folder / "deep" / "b.txt").unlink(),
    "a foreign file": lambda folder: (folder / "c.txt").write_text("c"),
    "no record": lambda folder: (folder / RECORD).unlink(),
    "an empty record": lambda folder: (folder / RECORD).write_text(""),
    "a truncated record": lambda folder: (folder / RECORD).write_text((folder / RECORD).read_text()[:30]),
    "a record that is no text": lambda folder: flip_byte(folder / RECORD, 2),
    "a record that is no YAML": lambda folder: (folder / RECORD).write_text("{seconds: ["),
    "a record without its time": lambda folder: (folder / RECORD).write_text(
        (folder / RECORD).read_text().replace("seconds", "reconds")
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_noticed_and_mended(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    make = Maker()
    folder = Store(tmp_path).stage("fit", KEY, make).folder
    before = files_in(folder)
    DAMAGES[damage](folder)
    assert not Store(tmp_path).has("fit", KEY)
    assert folder.exists(), "looking must not throw anything away"
    with caplog.at_level(logging.WARNING):
        entry = Store(tmp_path).stage("fit", KEY, make)
    assert not entry.reused
    assert make.calls == 2
    assert files_in(folder) == before
    assert "is damaged: it is thrown away and computed again" in caplog.text
    assert Store(tmp_path).has("fit", KEY)


@pytest.mark.parametrize("damaged", [False, True])
def test_many_who_want_the_same_at_once_share_one_computation(tmp_path: Path, damaged: bool) -> None:
    if damaged:
        flip_byte(Store(tmp_path).stage("fit", KEY, Maker()).folder / "a.bin")
    make, entries = Maker(seconds=0.05), []
    threads = [
        threading.Thread(target=lambda: entries.append(Store(tmp_path).stage("fit", KEY, make))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert make.calls == 1
    assert sorted(entry.reused for entry in entries) == [False, True, True, True]


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.ENOSPC, "disk is full; free some space"), (errno.EACCES, "Permission denied"), (errno.EIO, "/output")],
)
def test_what_the_system_refuses_becomes_a_sentence_and_leaves_nothing(tmp_path: Path, number: int, says: str) -> None:
    def refused(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise OSError(number, "Permission denied" if number == errno.EACCES else "Input/output error", "some/file")

    with pytest.raises(StoreError, match=says) as caught:
        Store(tmp_path).stage("fit", KEY, refused)
    assert "\n" not in str(caught.value)
    assert [name for name in files_in(tmp_path) if name != "fit"] == []


def test_a_refusal_names_the_way_out() -> None:
    full = str(as_store_error(Path("cache"), OSError(errno.ENOSPC, "No space left on device")))
    assert full.startswith("cache: ")
    assert "--cache" in full
    denied = str(as_store_error(Path("cache"), PermissionError(errno.EACCES, "Permission denied", "cache/fit")))
    assert denied.startswith("cache/fit: Permission denied")
    assert "--out" in denied


def test_a_store_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        Store(tmp_path / "file").stage("fit", KEY, Maker())


def test_checkpoints_lie_apart_and_belong_to_one_stage(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folders = {store.checkpoints("fit", KEY), store.checkpoints("head", KEY), store.checkpoints("fit", {"a": 1})}
    assert len(folders) == 3
    assert {folder.parent for folder in folders} == {tmp_path / "checkpoints"}
    assert files_in(tmp_path) == []


def test_a_stage_is_not_charged_for_the_stages_inside_it(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def outer(_folder: Path) -> None:
        store.stage("inner", {}, lambda _inside: time.sleep(0.2))
        time.sleep(0.05)

    entry = store.stage("outer", {}, outer)
    seconds = {name: finished.seconds for name, finished in store.log}
    assert seconds["inner"] >= 0.2
    assert 0.05 <= entry.seconds < 0.2
