"""A foreign package with a sibling's name is noticed before anything of it runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ensemble_ad
from ensemble_ad._siblings import SIBLINGS, check_siblings, is_command

COMMAND = "import sys; sys.argv = ['ensemble-ad', {words}]; from ensemble_ad.cli import main; main()"


def python(code: str, front: Path) -> subprocess.CompletedProcess[str]:
    """Run `code` with `front` first on the path, and ours behind it."""
    home = Path(ensemble_ad.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{front}{os.pathsep}{home}"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, cwd=front, env=environment, check=False)


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    (tmp_path / "extractors").mkdir()
    (tmp_path / "extractors" / "__init__.py").write_text("print('foreign code runs')\n")
    return tmp_path


def test_ours_are_found() -> None:
    check_siblings()


def test_a_missing_one_is_named() -> None:
    with pytest.raises(ImportError, match=r"expected the package 'no_such_package' in .*, found it nowhere"):
        check_siblings((*SIBLINGS, "no_such_package"))


def test_the_command_says_it_in_a_sentence(foreign: Path) -> None:
    done = python(COMMAND.format(words="'list'"), foreign)
    assert done.returncode == 2
    assert "expected the package 'extractors'" in done.stderr
    assert str(foreign) in done.stderr
    assert "Traceback" not in done.stderr
    assert "foreign code runs" not in done.stdout


@pytest.mark.slow
def test_the_doctor_lists_it_among_its_findings(foreign: Path) -> None:
    done = python(COMMAND.format(words="'doctor'"), foreign)
    assert done.returncode == 1
    assert "fault sibling packages: expected the package 'extractors'" in done.stdout
    assert "ok    ONNX Runtime" in done.stdout
    assert "foreign code runs" not in done.stdout


def test_importing_the_package_raises(foreign: Path) -> None:
    done = python("import ensemble_ad", foreign)
    assert done.returncode == 1
    assert "ImportError: expected the package 'extractors'" in done.stderr


def test_a_folder_without_code_in_front_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "extractors").mkdir()
    assert python("import ensemble_ad", tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [("/usr/bin/ensemble-ad", True), ("ensemble-ad.exe", True), ("-c", False), ("pytest", False), ("", False)],
)
def test_the_command_is_known_by_its_name(monkeypatch: pytest.MonkeyPatch, name: str, expected: bool) -> None:
    monkeypatch.setattr(sys, "argv", [name])
    assert is_command() is expected
    monkeypatch.setattr(sys, "argv", [])
    assert not is_command()
