"""The command line: what it promises to print, write and answer."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from loco_folder import build_class
from small_run import ALONE, FUSED, PATCHCORE, Called, call, files_in, without_times, write_experiment

from ensemble_ad.cli import app, is_expected
from ensemble_ad.errors import ConfigError, StoreError
from extractors import EXTRACTORS
from extractors.patchcore import MemoryBankError
from extractors.training import TrainingError
from extractors.weights import WeightsError

TYPES = {"logical_anomalies", "structural_anomalies", "mean"}
COMMANDS = (
    ["run"], ["predict"], ["evaluate"], ["list"], ["doctor"], ["data", "check"], ["data", "render"],
    ["survey"], ["compare"], ["attribute"], ["tune"],
    ["track", "sync"], ["track", "ui"],
)  # fmt: skip


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_class(tmp_path_factory.mktemp("data") / "parts")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("base")


@pytest.fixture(scope="module")
def finished(base: Path, parts: Path) -> Called:
    """A run with every output asked for."""
    outputs = ["--json", base / "result.json", "--export-maps", base / "maps"]
    return call("run", write_experiment(base / "fused.yaml"), "--data", parts, *places(base), *outputs)


def places(base: Path) -> list[object]:
    return ["--out", base / "run", "--cache", base / "cache"]


def plan(base: Path, parts: Path, *words: object) -> tuple[dict[str, Any], list[str]]:
    """The resolved experiment and the stages that a dry run prints."""
    said = call("run", *words, "--data", parts, "--cache", base / "cache", "--dry-run")
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(("run  ", "reuse")))
    return yaml.safe_load("\n".join(lines[:first])), lines[first:-1]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_help_of_every_command_has_an_example_that_names_it(command: list[str]) -> None:
    said = call(*command, "--help")
    assert said.code == 0
    assert "Example" in said.out
    assert f"ensemble-ad {' '.join(command)}" in said.out


def test_no_command_is_forgotten_here() -> None:
    named = [entry.name for entry in app.registered_commands] + [group.name for group in app.registered_groups]
    assert {command[0] for command in COMMANDS} == set(named)


def test_help_imports_nothing_heavy_and_answers_in_a_second() -> None:
    heavy = {"torch", "timm", "numpy", "pandas", "cv2", "onnxruntime", "extractors", "combiners", "data_loco"}
    script = (
        "import sys; sys.argv = ['ensemble-ad', '--help']\n"
        "from ensemble_ad.cli import main\n"
        "try: main()\n"
        f"finally: print(sorted({heavy} & set(sys.modules)), file=sys.stderr)"
    )
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert "First steps" in done.stdout
        assert done.stderr.strip() == "[]"
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)  # others may compute, too
    assert min(seconds) < 1.0


def test_a_run_prints_a_table_and_where_to_go_on(finished: Called, base: Path) -> None:
    assert finished.code == 0, finished.err
    for words in ("image AUROC", "AU-sPRO@0.05", "logical", "structural", "seed 0", "ensemble-ad data check DIR"):
        assert words in finished.out
    assert f"report: {base / 'run' / 'report.html'}" in finished.out
    assert f"ensemble-ad predict {base / 'run'} PICTURE" in finished.out


def test_the_json_keeps_its_schema(finished: Called, base: Path) -> None:
    result = json.loads((base / "result.json").read_text())
    assert result == json.loads((base / "run" / "result.json").read_text())
    for metric in ("image_auroc", "pixel_auroc", "au_pr"):
        assert set(result[metric]) == TYPES
    assert set(result["au_pro"]) == {"0.3"}
    assert set(result["au_spro"]) == {"0.01", "0.05", "0.1", "0.3", "1.0"}
    for limits in (result["au_pro"], result["au_spro"]):
        assert all(set(values) == TYPES for values in limits.values())
    assert "per_defect" in result
    assert all(isinstance(seconds, float) for seconds in result["seconds"].values())


def test_exported_maps_evaluate_to_the_same_numbers(finished: Called, base: Path, parts: Path) -> None:
    said = call("evaluate", base / "maps", "--data", parts, "--json", base / "again.json")
    assert said.code == 0, said.err
    run, again = (json.loads((base / name).read_text()) for name in ("result.json", "again.json"))
    assert set(again) <= set(run)
    for limit, values in run["au_spro"].items():
        assert again["au_spro"][limit] == pytest.approx(values, abs=1e-6)
    assert again["pixel_auroc"] == pytest.approx(run["pixel_auroc"], abs=1e-6)


def test_the_same_command_again_computes_nothing(finished: Called, base: Path, parts: Path) -> None:
    said = call("run", base / "fused.yaml", "--data", parts, *places(base), "--json", base / "second.json")
    assert "everything was there already" in said.out
    first, second = (json.loads((base / name).read_text()) for name in ("result.json", "second.json"))
    assert without_times(first) == without_times(second)


def test_a_dry_run_writes_nothing_and_lists_every_stage(base: Path, parts: Path, tmp_path: Path) -> None:
    file = write_experiment(base / "dry.yaml")
    content, steps = plan(tmp_path, parts, file, "--out", tmp_path / "run", "--json", tmp_path / "result.json")
    assert content["size"] == [64, 64]
    assert [step.split()[0] for step in steps] == ["run"] * 6
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_knows_what_is_there(finished: Called, base: Path, parts: Path) -> None:
    assert {step.split()[0] for step in plan(base, parts, base / "fused.yaml")[1]} == {"reuse"}
    _, steps = plan(base, parts, base / "fused.yaml", "--set", "detector.discriminator.epochs=1")
    assert [step.split(maxsplit=1)[1][:12] for step in steps if step.startswith("run")] == [
        "fit the head",
        "predict patc",
    ]


def test_a_dry_run_predicts_memory(base: Path, parts: Path) -> None:
    said = call("run", write_experiment(base / "m.yaml"), "--data", parts, "--cache", base / "none", "--dry-run")
    assert "predicted memory:" in said.out.splitlines()[-1]
    assert said.out.splitlines()[-1].endswith("MiB")


def test_options_change_the_experiment(base: Path, parts: Path) -> None:
    file = write_experiment(base / "options.yaml")
    words = ["--seed", 5, "--set", "quantile=0.5", "--set", "detector.extractors.0.coreset_ratio=0.5"]
    content, _ = plan(base, parts, file, *words)
    assert (content["seed"], content["quantile"]) == (5, 0.5)
    assert content["detector"]["extractors"][0]["coreset_ratio"] == 0.5
    assert content["detector"]["extractors"][1]["seed"] == 5


@pytest.mark.parametrize(
    ("words", "names", "block"),
    [
        ((), ["patchcore", "draem", "cs_flow", "simplenet"], "global"),
        (
            ("--extractors", "simplenet, patchcore", "--combiner", "individual"),
            ["simplenet", "patchcore"],
            "individual",
        ),
        (("--extractors", "patchcore"), ["patchcore"], "global"),
        (("--combiner", "none"), ["patchcore", "draem", "cs_flow", "simplenet"], "none"),
    ],
)
def test_members_and_block_by_option(
    base: Path, parts: Path, words: tuple[str, ...], names: list[str], block: str
) -> None:
    detector = plan(base, parts, *words)[0]["detector"]
    assert [entry["name"] for entry in detector["extractors"]] == names
    assert detector["combiner"]["name"] == block


def test_one_member_without_a_block_stands_alone(base: Path, parts: Path) -> None:
    detector = plan(base, parts, "--extractors", " simplenet ", "--combiner", "none")[0]["detector"]
    assert (detector["name"], detector["method"]["name"]) == ("standalone", "simplenet")


def test_a_block_may_be_given_to_a_method_that_stood_alone(base: Path, parts: Path) -> None:
    file = write_experiment(base / "alone.yaml", ALONE)
    detector = plan(base, parts, file, "--combiner", "global")[0]["detector"]
    assert detector["extractors"][0]["coreset_ratio"] == PATCHCORE["coreset_ratio"]
    named = plan(base, parts, write_experiment(base / "named.yaml", "standalone"), "--combiner", "none")[0]["detector"]
    assert named["name"] == "feature_ensemble"


def test_an_ensemble_keeps_its_head_when_members_change(base: Path, parts: Path) -> None:
    file = write_experiment(base / "head.yaml", {**FUSED, "sigma": 2.0})
    detector = plan(base, parts, file, "--extractors", "patchcore")[0]["detector"]
    assert (detector["sigma"], detector["discriminator"]["hidden"]) == (2.0, 8)


def test_a_path_with_brackets_and_spaces_is_printed_as_it_is(tmp_path: Path, parts: Path) -> None:
    out = tmp_path / "my [old] run"
    file = write_experiment(tmp_path / "e.yaml", ALONE)
    said = call("run", file, "--data", parts, "--out", out, "--cache", tmp_path / "cache")
    assert str(out / "report.html") in said.out
    assert f"ensemble-ad predict '{out}' PICTURE" in said.out


def test_list_names_every_component_with_defaults() -> None:
    said = call("list")
    assert said.code == 0
    for name in [*EXTRACTORS, "global", "individual", "discriminator", "feature_ensemble", "standalone"]:
        assert f" {name}:" in said.out
    assert "presets: cpu, paper" in said.out


def test_list_of_one_component_shows_only_that() -> None:
    said = call("list", "patchcore")
    assert "coreset_ratio" in said.out
    assert "simplenet" not in said.out
    unknown = call("list", "patchcor")
    assert unknown.code == 2
    assert "did you mean 'patchcore'?" in unknown.err


def test_data_check_counts_and_finds(parts: Path, tmp_path: Path) -> None:
    good = call("data", "check", parts)
    assert good.code == 0
    assert "no errors" in good.out
    assert "missing_hole" in good.out
    bad = build_class(tmp_path / "bad")
    (bad / "ground_truth" / "logical_anomalies" / "000" / "000.png").unlink()
    said = call("data", "check", bad)
    assert said.code == 1
    assert "1 errors" in said.out


def test_data_render_makes_a_class_that_checks(tmp_path: Path) -> None:
    count = ["--count", 2, 2, 1, 1, 1, "--size", 256, 160]
    said = call("data", "render", "flat_connector", tmp_path, *count)
    assert said.code == 0, said.err
    assert f"ensemble-ad run --data {tmp_path / 'flat_connector'}" in said.out
    assert call("data", "check", tmp_path / "flat_connector").code == 0
    twice = call("data", "render", "flat_connector", tmp_path, *count)
    assert (twice.code, twice.err.count("\n")) == (2, 1)
    unknown = call("data", "render", "flat_conector", tmp_path)
    assert unknown.code == 2
    assert "flat_connector" in unknown.err


@pytest.mark.parametrize("kind", [ConfigError, StoreError, WeightsError, MemoryBankError, TrainingError])
def test_errors_written_for_users_end_in_a_sentence(kind: type[Exception]) -> None:
    assert is_expected(kind("a sentence"))
    assert is_expected(type("Special", (kind,), {})("a subclass"))


@pytest.mark.parametrize("kind", [ValueError, RuntimeError, KeyError, FileExistsError, FileNotFoundError, TypeError])
def test_faults_of_the_program_keep_their_traceback(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise kind("a fault")

    assert not is_expected(kind("a fault"))
    monkeypatch.setattr("ensemble_ad.diagnosis.diagnose", broken)
    with pytest.raises(kind, match="a fault"):
        call("doctor")


def test_a_namesake_of_our_errors_is_not_ours() -> None:
    assert not is_expected(type("ConfigError", (ValueError,), {})("a namesake"))


def test_out_of_memory_says_what_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("ensemble_ad.diagnosis.diagnose", full)
    said = call("doctor")
    assert said.code == 2
    assert "smaller size" in said.err


def test_ctrl_c_answers_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ensemble_ad.diagnosis.diagnose", interrupted)
    said = call("doctor")
    assert said.code == 130
    assert said.err.count("\n") == 1
    assert "goes on from there" in said.err


def test_results_do_not_depend_on_where_the_cache_comes_from(base: Path, parts: Path, tmp_path: Path) -> None:
    variable = {"ENSEMBLE_AD_CACHE": str(tmp_path / "shared")}
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(os.environ, *next(iter(variable.items())))
        said = call("run", write_experiment(tmp_path / "e.yaml", ALONE), "--data", parts, "--out", tmp_path / "run")
    assert said.code == 0, said.err
    assert (tmp_path / "shared" / "fit").is_dir()
    assert "cache" not in {path.name for path in tmp_path.iterdir()}
    assert files_in(tmp_path / "run")
