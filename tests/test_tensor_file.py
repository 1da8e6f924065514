"""Tensors on disk: a full disk is the same error as for any other file."""

import errno
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ensemble_ad import tensor_file
from ensemble_ad.tensor_file import write_tensors


def test_what_is_written_comes_back_whatever_its_layout(tmp_path: Path) -> None:
    turned = torch.arange(6.0).view(2, 3).T
    write_tensors(tmp_path / "a.safetensors", {"turned": turned, "half": turned.half()})
    back = load_file(tmp_path / "a.safetensors")
    assert torch.equal(back["turned"], turned)
    assert back["half"].dtype == torch.float16


def test_no_such_folder_is_an_ordinary_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write_tensors(tmp_path / "nowhere" / "a.safetensors", {"a": torch.zeros(1)})


def test_a_full_disk_is_enospc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(tensor_file, "save_file", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_tensors(tmp_path / "a.safetensors", {"a": torch.zeros(1)})
    assert caught.value.errno == errno.ENOSPC


def test_other_refusals_of_the_format_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise SafetensorError("invalid dtype")

    monkeypatch.setattr(tensor_file, "save_file", refuse)
    with pytest.raises(SafetensorError, match="invalid dtype"):
        write_tensors(tmp_path / "a.safetensors", {"a": torch.zeros(1)})
