"""Rows of feature maps: in memory or on disk, the same numbers in the same order."""

import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor

from extractors import rows
from extractors.rows import as_grid, as_rows, gather_rows


def batches() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(count, 3, 4, 5, generator=generator) for count in (2, 2, 1)]


def test_rows_go_picture_by_picture_and_row_by_row() -> None:
    maps = batches()[0]
    cells = itertools.product(range(2), range(4), range(5))
    assert torch.equal(as_rows(maps), torch.stack([maps[n, :, y, x] for n, y, x in cells]))


def test_a_grid_is_the_inverse_of_its_rows() -> None:
    maps = batches()[0]
    assert torch.equal(as_grid(as_rows(maps), maps), maps)


def test_gathered_rows_are_those_of_all_pictures() -> None:
    gathered = gather_rows(batches(), lambda maps: 2 * maps)
    assert torch.equal(gathered.rows, as_rows(torch.cat(batches())) * 2)
    assert gathered.grid == (4, 5)


def test_rows_on_disk_equal_rows_in_memory_and_leave_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    in_memory = gather_rows(batches())
    monkeypatch.setattr(rows, "BYTES_IN_MEMORY", 100)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    asked = []
    make = rows._scratch
    monkeypatch.setattr(rows, "_scratch", lambda shape: asked.append(shape) or make(shape))
    on_disk = gather_rows(batches())
    assert asked == [(3 * 2 * 20, 3)]
    assert torch.equal(on_disk.rows, in_memory.rows)
    assert on_disk.grid == in_memory.grid
    assert list(tmp_path.iterdir()) == []


def test_batches_of_unknown_number_are_gathered_too() -> None:
    assert torch.equal(gather_rows(iter(batches())).rows, gather_rows(batches()).rows)


def test_nothing_to_gather_is_refused() -> None:
    with pytest.raises(ValueError, match="expected normal pictures to fit on, got none"):
        gather_rows([])
