"""Output appears whole or not at all."""

from pathlib import Path

import pytest
from small_run import files_in

from ensemble_ad.errors import StoreError
from ensemble_ad.whole import adding_to, replacing, write_text


def failing(folder: Path) -> None:
    (folder / "half").write_text("half")
    raise ZeroDivisionError


def test_replacing_leaves_only_the_new(tmp_path: Path) -> None:
    out = tmp_path / "runs" / "run"
    for name in ("old", "new"):
        with replacing(out) as folder:
            (folder / name).write_text(name)
    assert files_in(tmp_path) == ["runs/run/new"]


def test_what_fails_leaves_the_old(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with replacing(out) as folder:
        (folder / "old").write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(out) as folder:
        failing(folder)
    assert files_in(tmp_path) == ["run/old"]


def test_replacing_follows_a_link_and_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / ".real.partial").mkdir()
    (tmp_path / ".real.partial" / "half").write_text("half")
    with replacing(tmp_path / "link") as folder:
        (folder / "new").write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert files_in(tmp_path / "real") == ["new"]
    assert not (tmp_path / ".real.partial").exists()


def test_adding_keeps_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "deep" / "other").write_text("mine")
    (tmp_path / "out" / "same").write_text("old")
    with adding_to(tmp_path / "out") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "one").write_text("1")
        (folder / "same").write_text("new")
    assert files_in(tmp_path) == ["out/deep/one", "out/deep/other", "out/same"]
    assert (tmp_path / "out" / "same").read_text() == "new"


@pytest.mark.parametrize("exists", [True, False])
def test_adding_nothing_when_it_fails(tmp_path: Path, exists: bool) -> None:
    if exists:
        (tmp_path / "out").mkdir()
    with pytest.raises(ZeroDivisionError), adding_to(tmp_path / "out") as folder:
        failing(folder)
    assert files_in(tmp_path) == (["out"] if exists else [])


@pytest.mark.parametrize("context", [replacing, adding_to])
def test_the_systems_refusals_become_sentences(tmp_path: Path, context) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"), context(tmp_path / "file" / "out"):
        pass
    with pytest.raises(StoreError, match="disk is full"), context(tmp_path / "out"):
        raise OSError(28, "No space left on device")


def test_a_text_file_is_replaced_whole_and_not_by_a_folder(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "result.json", "1")
    write_text(tmp_path / "new" / "result.json", "2")
    assert (tmp_path / "new" / "result.json").read_text() == "2"
    with pytest.raises(StoreError, match="directory"):
        write_text(tmp_path / "new", "3")
    assert files_in(tmp_path) == ["new/result.json"]
