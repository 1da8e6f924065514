"""Nearest neighbours by matrix products equal a full distance matrix."""

import pytest
import torch

from extractors import neighbours
from extractors.neighbours import nearest


def rows(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 7, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("count", [1, 4, 30])
def test_nearest_equals_a_full_distance_matrix(count: int) -> None:
    queries, bank = rows(50, 0), rows(30, 1)
    expected = torch.cdist(queries.double(), bank.double()).sort(dim=1)
    distances, index = nearest(queries, bank, count)
    torch.testing.assert_close(distances.double(), expected.values[:, :count].square(), atol=1e-4, rtol=1e-5)
    assert torch.equal(index, expected.indices[:, :count])


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, bank = rows(50, 0), rows(30, 1)
    whole = nearest(queries, bank, 3)
    monkeypatch.setattr(neighbours, "CHUNK_BYTES", 7 * 4 * len(bank))
    for chunked, at_once in zip(nearest(queries, bank, 3), whole, strict=True):
        torch.testing.assert_close(chunked, at_once)


def test_a_remembered_row_is_at_distance_zero_and_never_below() -> None:
    bank = rows(30, 1) * 100
    distances, index = nearest(bank, bank)
    assert index[:, 0].tolist() == list(range(30))
    assert (distances >= 0).all()
    assert (distances[:, 0] <= 8 * torch.finfo(torch.float32).eps * bank.square().sum(1)).all()


def test_a_half_precision_bank_is_compared_in_single_precision() -> None:
    queries, bank = rows(50, 0), rows(30, 1).half()
    for half, single in zip(nearest(queries, bank), nearest(queries, bank.float()), strict=True):
        assert torch.equal(half, single)


@pytest.mark.parametrize("count", [0, 31])
def test_a_count_outside_the_bank_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"expected 1 <= neighbours <= 30 remembered patches, got {count}"):
        nearest(rows(2, 0), rows(30, 1), count)
