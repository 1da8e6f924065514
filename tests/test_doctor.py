"""Every fault of an installation is found, and says how to mend it."""

import builtins
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from small_run import call

from ensemble_ad import diagnosis
from ensemble_ad.diagnosis import Check, diagnose
from extractors.weights import WeightsError


def found(checks: list[Check], what: str) -> Check:
    return next(check for check in checks if check.what.startswith(what))


def test_this_installation_is_sound() -> None:
    assert [check.what for check in diagnose() if not check.good and check.what != "free memory"] == []


def test_everything_asked_for_is_looked_at() -> None:
    names = [check.what for check in diagnose()]
    for what in ("Python", "torch", "torch and torchvision", "sibling packages", "weights of tf_efficientnet_lite0 "):
        assert any(name.startswith(what) for name in names)
    for what in ("ONNX Runtime", "cores", "free memory", "writing to "):
        assert any(name.startswith(what) for name in names)


def test_a_sound_installation_exits_with_0_and_a_fault_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = Check("Python", "3.11", good=True, mend="")
    monkeypatch.setattr(diagnosis, "diagnose", lambda: [sound])
    said = call("doctor")
    assert (said.code, said.out.split()) == (0, ["ok", "Python:", "3.11"])
    faulty = Check("weights", "none [here]", good=False, mend="pip install weights")
    monkeypatch.setattr(diagnosis, "diagnose", lambda: [sound, faulty])
    said = call("doctor")
    assert said.code == 1
    assert "fault weights: none [here]" in said.out
    assert "mend: pip install weights" in said.out


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    original = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ImportError(f"No module named {package!r}")
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)


def test_torchvision_that_does_not_fit_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "torchvision")
    check = found(diagnose(), "torch and torchvision")
    assert not check.good
    assert "torch torchvision" in check.mend


def test_no_onnx_runtime_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "onnxruntime")
    check = found(diagnose(), "ONNX Runtime")
    assert not check.good
    assert "pip install onnxruntime" in check.mend


def test_a_package_that_is_missing_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "installed_version", lambda package: "not installed" if package == "timm" else "1")
    assert [check.what for check in diagnose() if check.found == "not installed"] == ["timm"]
    assert not found(diagnose(), "timm").good


def test_weights_of_the_default_preset_must_be_there_and_others_need_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extractors.weights.weights_source", lambda _: None)
    checks = diagnose()
    assert not found(checks, "weights of tf_efficientnet_lite0").good
    assert found(checks, "weights of wide_resnet50_2").good


def test_weights_that_cannot_be_used_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> None:
        raise WeightsError("three ways to get them")

    monkeypatch.setattr("extractors.weights.weights_source", refuse)
    assert found(diagnose(), "weights of").found == "three ways to get them"


def test_too_little_memory_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = namedtuple("Memory", "available")
    monkeypatch.setattr(diagnosis.psutil, "virtual_memory", lambda: memory(100 * 2**20))
    check = found(diagnose(), "free memory")
    assert (check.found, check.good) == ("100 MiB", False)


def test_a_folder_that_cannot_be_written_is_a_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(diagnosis.tempfile, "TemporaryFile", refuse)
    monkeypatch.chdir(tmp_path)
    checks = [check for check in diagnose() if check.what.startswith("writing to")]
    assert [check.good for check in checks] == [False, False]
    assert "--cache" in checks[0].mend


def test_a_foreign_sibling_is_a_fault_and_nothing_of_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise ImportError("found 'extractors' elsewhere")

    monkeypatch.setattr(diagnosis, "check_siblings", refuse)
    checks = diagnose()
    assert not found(checks, "sibling packages").good
    assert not any(check.what.startswith("weights") for check in checks)
