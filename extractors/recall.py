"""Remembers feature maps by what the picture shows, in memory and on disk: a pure function, computed once.

Every extractor that reads the same layers of the same frozen network asks here first, in training and in testing, in
this process or the next. A damaged file is noticed by its checksum, forgotten and computed again.
"""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import xxhash
from safetensors.torch import load, save
from torch import Tensor

from extractors import checked_file
from extractors.runtime import runtime

BYTES_IN_MEMORY = 256 * 2**20
"""What is kept in memory at most; older maps are forgotten first."""
BYTES_OF_LATEST = 64 * 2**20
"""What `latest` keeps at most; of a larger batch it keeps nothing."""


def digests(images: Tensor) -> list[bytes]:
    """Return what names each picture of `[N, 3, H, W]`: 16 bytes of its size and content."""
    size = str(tuple(images.shape[1:])).encode()
    pictures = images.detach().cpu().contiguous().numpy()
    return [xxhash.xxh3_128_digest(size + picture.tobytes()) for picture in pictures]


def key(picture: bytes, identity: str) -> str:
    """Return the name of one map: a picture's digest and the identity of network and layer -> 32 hexadecimal digits.

    >>> key(b"picture", "layer1") == key(b"picture", "layer2")
    False
    """
    return xxhash.xxh3_128_hexdigest(picture + identity.encode())


def lookup(name: str) -> Tensor | None:
    """Return the map `[C, h, w]` remembered under `name`, or None."""
    found = _memory.get(name)
    if found is None and (path := _path(name)) is not None:
        found = _read(path)
        if found is not None:
            _memory.put(name, found)
    return found


def remember(name: str, feature_map: Tensor) -> None:
    """Keep the map `[C, h, w]` under `name`."""
    _memory.put(name, feature_map)
    if (path := _path(name)) is not None:
        checked_file.write(path, save({"map": feature_map.cpu().contiguous()}))


def latest(name: str, images: Tensor, compute: Callable[[], Tensor]) -> Tensor:
    """Return what `compute` makes of the pictures `[N, 3, H, W]`, from memory if nothing else was asked for since.

    The members of an ensemble ask for the same maps of the same batch one after the other; none may change them.
    """
    key = name.encode() + b"".join(digests(images))
    if (found := _latest.get(key)) is None:
        found = compute()
        _latest.clear()
        if found.nbytes <= BYTES_OF_LATEST:
            _latest[key] = found
    return found


def forget() -> None:
    """Empty the memory; what lies on disk stays."""
    _memory.clear()
    _latest.clear()


class _Memory:
    """The most recently used maps, up to a number of bytes."""

    def __init__(self, limit: int) -> None:
        self.limit, self.size = limit, 0
        self.maps: OrderedDict[str, Tensor] = OrderedDict()

    def get(self, name: str) -> Tensor | None:
        if name in self.maps:
            self.maps.move_to_end(name)
        return self.maps.get(name)

    def put(self, name: str, feature_map: Tensor) -> None:
        if name in self.maps:
            self.size -= self.maps.pop(name).nbytes
        self.maps[name] = feature_map
        self.size += feature_map.nbytes
        while self.size > self.limit and len(self.maps) > 1:
            self.size -= self.maps.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        self.maps.clear()
        self.size = 0


_memory = _Memory(BYTES_IN_MEMORY)
_latest: dict[bytes, Tensor] = {}


def _path(name: str) -> Path | None:
    folder = runtime().cache
    return None if folder is None else folder / "maps" / name[:2] / f"{name}.safetensors"


def _read(path: Path) -> Tensor | None:
    content = checked_file.read(path)
    return None if content is None else load(content)["map"]
