"""The shared training loop: it resumes to equal numbers, refuses NaN, and never trusts a bad checkpoint."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from extractors.training import Journal, TrainingError, journal, train


class Line:
    """A noisy linear fit with momentum and a schedule: everything an epoch can change."""

    def __init__(self, width: int = 3) -> None:
        self.generator = torch.Generator().manual_seed(1)
        self.network = nn.Linear(width, 1)
        nn.init.constant_(self.network.weight, 0.5)
        nn.init.zeros_(self.network.bias)
        self.optimizer = torch.optim.Adam(self.network.parameters(), 0.1)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 2, 0.5)
        self.epochs_run: list[int] = []

    def epoch(self, number: int) -> float:
        self.epochs_run.append(number)
        points = torch.randn(8, self.network.in_features, generator=self.generator)
        loss = (self.network(points) - points.sum(1, keepdim=True)).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return loss.item()

    def train(self, epochs: int, epoch: Callable[[int], float] | None = None) -> "Line":
        parts: dict[str, Any] = {"network": self.network, "optimizer": self.optimizer, "schedule": self.schedule}
        train("line", epochs, epoch or self.epoch, self.generator, **parts)
        return self

    def train_killed_in(self, epochs: int, killed: int) -> "Line":
        def epoch(number: int) -> float:
            if number == killed:
                raise KeyboardInterrupt
            return self.epoch(number)

        with pytest.raises(KeyboardInterrupt):
            self.train(epochs, epoch)
        return self


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with journal(Journal(tmp_path)):
        yield tmp_path


def test_every_epoch_runs_once_in_order_and_is_reported() -> None:
    heard: list[tuple[str, int, int]] = []
    line = Line()
    with journal(Journal(report=lambda name, done, epochs, loss: heard.append((name, done, epochs)))):
        line.train(3)
    assert line.epochs_run == [0, 1, 2]
    assert heard == [("line", 1, 3), ("line", 2, 3), ("line", 3, 3)]


def test_without_a_folder_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Line().train(2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("killed", [0, 1, 4])
def test_killed_training_goes_on_to_equal_numbers(folder: Path, killed: int) -> None:
    with journal(Journal()):
        whole = Line().train(5)
    Line().train_killed_in(5, killed)
    resumed = Line().train(5)
    assert resumed.epochs_run == list(range(killed, 5))
    assert torch.equal(resumed.network.weight, whole.network.weight)
    assert resumed.schedule.get_last_lr() == whole.schedule.get_last_lr()
    assert torch.equal(resumed.generator.get_state(), whole.generator.get_state())


def test_finished_training_is_not_run_again(folder: Path) -> None:
    first, second = Line().train(2), Line().train(2)
    assert second.epochs_run == []
    assert torch.equal(first.network.weight, second.network.weight)


def test_nothing_half_written_is_left(folder: Path) -> None:
    Line().train(2)
    assert [path.name for path in folder.iterdir()] == ["line.checkpoint"]


def test_failed_write_leaves_nothing_and_keeps_the_last_checkpoint(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Line().train(1)

    def full(path: Path, _content: bytes) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        Line().train(2)
    assert [path.name for path in folder.iterdir()] == ["line.checkpoint"]
    assert torch.load(folder / "line.checkpoint", weights_only=True)["done"] == 1


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
def test_loss_that_is_not_finite_is_refused_with_advice(loss: float) -> None:
    with pytest.raises(TrainingError, match=r"line: the loss became .* in epoch 2 of 4; try a lower learning rate"):
        Line().train(4, lambda number: loss if number else 0.0)


def test_epoch_with_a_bad_loss_is_not_kept(folder: Path) -> None:
    with pytest.raises(TrainingError):
        Line().train(4, lambda number: float("nan") if number == 2 else 0.0)
    assert torch.load(folder / "line.checkpoint", weights_only=True)["done"] == 2


@pytest.mark.parametrize("damage", [b"", b"garbage", b"PK\x03\x04 cut off"])
def test_damaged_checkpoint_starts_afresh_with_a_warning(
    folder: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with journal(Journal()):
        whole = Line().train(2)
    (folder / "line.checkpoint").write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        line = Line().train(2)
    assert line.epochs_run == [0, 1]
    assert torch.equal(line.network.weight, whole.network.weight)
    assert "line.checkpoint is damaged" in caplog.text


def test_truncated_checkpoint_starts_afresh(folder: Path) -> None:
    Line().train(1)
    path = folder / "line.checkpoint"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert Line().train(2).epochs_run == [0, 1]


def test_checkpoint_of_another_network_is_refused(folder: Path) -> None:
    Line(width=4).train(1)
    with pytest.raises(TrainingError, match=r"line\.checkpoint belongs to another training: delete it"):
        Line(width=3).train(2)


def test_checkpoint_of_something_else_is_refused(folder: Path) -> None:
    torch.save([1, 2], folder / "line.checkpoint")
    with pytest.raises(TrainingError, match="belongs to another training"):
        Line().train(2)


def test_checkpoint_of_a_longer_training_is_refused(folder: Path) -> None:
    Line().train(3)
    with pytest.raises(TrainingError, match=r"3 done, 2 wanted"):
        Line().train(2)


def test_checkpoint_is_never_unpickled(folder: Path) -> None:
    torch.save({"done": Line}, folder / "line.checkpoint")  # a class: weights_only refuses to import it
    assert Line().train(1).epochs_run == [0]


def test_journal_in_force_ends_with_its_block(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inside"), journal(Journal(tmp_path)):
        raise ValueError("inside")
    Line().train(1)
    assert list(tmp_path.iterdir()) == []
