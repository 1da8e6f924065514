"""Remembered feature maps: found by content, bounded in memory, mended when a file is damaged."""

import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor

from extractors import checked_file, recall
from extractors.runtime import Runtime, using


@pytest.fixture(autouse=True)
def empty_memory():
    recall.forget()
    yield
    recall.forget()


@pytest.fixture
def cache(tmp_path: Path):
    with using(Runtime(cache=tmp_path)):
        yield tmp_path


def maps(seed: int = 0) -> Tensor:
    return torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(seed))


def same(first: Tensor | None, second: Tensor) -> bool:
    return first is not None and torch.equal(first, second)


def key(picture: Tensor, identity: str) -> str:
    [digest] = recall.digests(picture[None])
    return recall.key(digest, identity)


def only_file(folder: Path) -> Path:
    [path] = (path for path in folder.rglob("*") if path.is_file())
    return path


def test_key_depends_on_pixels_shape_and_backbone() -> None:
    picture = torch.rand(3, 4, 6)
    changed = picture.clone()
    changed[2, 3, 5] += 1e-6
    names = [key(picture, "a"), key(picture, "b"), key(changed, "a")]
    names += [key(picture.reshape(3, 6, 4), "a")]
    assert len(set(names)) == 4
    assert all(len(name) == 32 for name in names)


def test_key_does_not_depend_on_memory_layout_or_gradient() -> None:
    picture = torch.rand(4, 6, 3).permute(2, 0, 1)
    assert key(picture, "a") == key(picture.contiguous().requires_grad_(), "a")


def test_unknown_is_none_and_known_comes_back() -> None:
    assert recall.lookup("0" * 32) is None
    recall.remember("0" * 32, maps())
    assert same(recall.lookup("0" * 32), maps())


def test_the_latest_batch_is_computed_once() -> None:
    asked: list[int] = []

    def computed() -> Tensor:
        asked.append(1)
        return maps(len(asked))

    one, other = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    assert same(recall.latest("a", one, computed), maps(1))
    assert same(recall.latest("a", one.clone(), computed), maps(1))
    assert same(recall.latest("b", one, computed), maps(2))
    assert same(recall.latest("b", other, computed), maps(3))
    assert same(recall.latest("a", one, computed), maps(4))  # only the last ones are kept
    recall.forget()
    assert same(recall.latest("a", one, computed), maps(5))


def test_a_latest_batch_too_large_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "BYTES_OF_LATEST", maps().nbytes - 1)
    pictures, found = torch.rand(1, 3, 4, 4), [maps(1), maps(2)]
    assert [recall.latest("a", pictures, lambda own=own: own) is own for own in found] == [True, True]


def test_disk_outlives_the_memory(cache: Path) -> None:
    recall.remember("0" * 32, maps())
    recall.forget()
    assert same(recall.lookup("0" * 32), maps())


def test_without_a_cache_folder_nothing_outlives_the_memory() -> None:
    recall.remember("0" * 32, maps())
    recall.forget()
    assert recall.lookup("0" * 32) is None


@pytest.mark.parametrize("damage", ["flipped bit", "cut off", "empty", "garbage"])
def test_damaged_file_is_forgotten_and_can_be_rebuilt(cache: Path, damage: str) -> None:
    recall.remember("0" * 32, maps())
    path = only_file(cache)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(
        {"flipped bit": bytes(content), "cut off": bytes(content[:40]), "empty": b""}.get(damage, b"x" * 99)
    )
    recall.forget()
    assert recall.lookup("0" * 32) is None
    assert not path.exists()
    recall.remember("0" * 32, maps())
    recall.forget()
    assert same(recall.lookup("0" * 32), maps())


def test_memory_forgets_the_least_recently_used_first() -> None:
    memory = recall._Memory(limit=3 * 400)
    for name in "abc":
        memory.put(name, torch.zeros(100))
    memory.get("a")
    memory.put("d", torch.zeros(100))
    assert [name for name in "abcd" if memory.get(name) is not None] == ["a", "c", "d"]
    assert memory.size == 3 * 400


def test_memory_counts_a_replaced_entry_once_and_keeps_one_too_large() -> None:
    memory = recall._Memory(limit=500)
    memory.put("a", torch.zeros(100))
    memory.put("a", torch.zeros(50))
    assert memory.size == 200
    memory.put("b", torch.zeros(1000))
    assert (memory.get("a"), memory.size) == (None, 4000)


def test_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        checked_file.write(tmp_path / "sub" / "file", b"content")
    assert list((tmp_path / "sub").iterdir()) == []


def test_writers_may_race(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes([number]) * 100_000 for number in range(8)]
    writers = [threading.Thread(target=checked_file.write, args=(path, content)) for content in contents]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert checked_file.read(path) in contents
    assert list(tmp_path.iterdir()) == [path]


def test_absent_file_reads_as_none(tmp_path: Path) -> None:
    assert checked_file.read(tmp_path / "absent") is None
