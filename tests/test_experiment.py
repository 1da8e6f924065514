"""An experiment and its YAML: nothing is lost, nothing unknown passes, presets hold."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from combiners import FEATURE_COMBINERS
from ensemble_ad.build import parameter_defaults
from ensemble_ad.errors import ConfigError
from ensemble_ad.experiment import load_experiment, load_preset, preset_names, read_yaml, with_settings
from ensemble_ad.methods import METHODS
from extractors import EXTRACTORS

BASE: dict[str, Any] = {"detector": {"name": "feature_ensemble", "extractors": ["patchcore", "simplenet"]}}
of_every_preset = pytest.mark.parametrize("preset", preset_names())


def again(content: dict[str, Any]) -> dict[str, Any]:
    return yaml.safe_load(load_experiment(content).to_yaml())


def test_the_presets_are_named() -> None:
    assert preset_names() == ["cpu", "paper"]


@of_every_preset
@pytest.mark.parametrize("name", METHODS)
def test_every_preset_resolves_for_every_method(preset: str, name: str) -> None:
    experiment = load_experiment({"preset": preset, "detector": {"name": "standalone", "method": name}})
    method = experiment.detector["method"]
    given = load_preset(preset)["components"].get(name, {})
    defaults = vars(METHODS[name]())
    for key, value in method.items():
        if key not in ("name", "seed"):
            expected = given.get(key, defaults[key])
            assert value == (tuple(expected) if isinstance(expected, list) else expected), key


@of_every_preset
def test_every_name_in_a_preset_is_a_component(preset: str) -> None:
    assert set(load_preset(preset)["components"]) <= {*METHODS, *FEATURE_COMBINERS, "discriminator", "feature_ensemble"}


def test_the_paper_preset_names_the_published_weights_and_changes_nothing_else() -> None:
    for name, values in load_preset("paper")["components"].items():
        published = parameter_defaults(METHODS[name])["backbone"]
        assert list(values) == ["backbone"]
        assert values["backbone"].partition(".")[0] == published


@of_every_preset
@pytest.mark.parametrize("combiner", FEATURE_COMBINERS)
def test_yaml_gives_back_an_equal_experiment(preset: str, combiner: str) -> None:
    detector = {"name": "feature_ensemble", "extractors": list(EXTRACTORS), "combiner": combiner}
    experiment = load_experiment({"preset": preset, "seed": 4, "size": [96, 128], "detector": detector})
    assert load_experiment(yaml.safe_load(experiment.to_yaml())) == experiment
    assert load_experiment(yaml.safe_load(experiment.to_yaml())).to_yaml() == experiment.to_yaml()


def test_an_experiment_says_everything_so_that_a_changed_preset_changes_nothing(tmp_path: Path) -> None:
    preset = tmp_path / "mine.yaml"
    preset.write_text("size: [64, 64]\ncomponents: {patchcore: {neighbours: 5}}\n")
    before = load_experiment({"preset": str(preset), "detector": {"name": "standalone"}})
    assert before.detector["method"]["neighbours"] == 5
    preset.write_text("size: [99, 99]\ncomponents: {patchcore: {neighbours: 6}}\n")
    assert load_experiment(yaml.safe_load(before.to_yaml())) == before


def test_the_seed_reaches_every_component_that_has_one() -> None:
    detector = load_experiment({**BASE, "seed": 11}).detector
    assert [extractor["seed"] for extractor in detector["extractors"]] == [11, 11]
    assert detector["discriminator"]["seed"] == 11


def test_settings_reach_into_mappings_lists_and_bare_names() -> None:
    settings = ["seed=3", "detector.extractors.1.epochs=2", "detector.combiner.components=0.5", "size=[64, 96]"]
    changed = with_settings({**BASE, "detector": {**BASE["detector"], "combiner": "individual"}}, settings)
    experiment = load_experiment(changed)
    assert (experiment.seed, experiment.size) == (3, (64, 96))
    assert experiment.detector["extractors"][1]["epochs"] == 2
    assert (experiment.detector["combiner"]["name"], experiment.detector["combiner"]["components"]) == (
        "individual",
        0.5,
    )


def test_settings_replace_a_list_entry_or_the_whole_list() -> None:
    assert with_settings(BASE, ["detector.extractors.0=draem"])["detector"]["extractors"] == ["draem", "simplenet"]
    assert with_settings(BASE, ["detector.extractors=[ast, draem]"])["detector"]["extractors"] == ["ast", "draem"]


def test_settings_leave_the_content_they_were_given_alone() -> None:
    content = yaml.safe_load(yaml.safe_dump(BASE))
    with_settings(content, ["detector.extractors.0=draem", "seed=5"])
    assert content == BASE


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("seed", "--set 'seed': expected key.path=value"),
        ("=3", "--set '=3': expected key.path=value"),
        ("detector.extractors.2=ast", "expected a position 0 to 1, got '2'"),
        ("detector.extractors.last=ast", "expected a position 0 to 1, got 'last'"),
        ("seed.deep=1", "seed is a value, it has no 'deep'"),
    ],
)
def test_settings_that_lead_nowhere_are_refused(setting: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        with_settings({"seed": 0, **BASE}, [setting])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"sed": 1}, "experiment: unknown key 'sed' (did you mean 'seed'?); it takes preset, size, seed"),
        ({"preset": "gpu"}, "unknown preset 'gpu' (did you mean 'cpu'?); there are cpu, paper"),
        ({"seed": -1}, "experiment: seed: expected a number from 0 to"),
        ({"seed": True}, "experiment: seed: expected a number from 0 to"),
        ({"seed": 1.5}, "experiment: seed: expected a number from 0 to"),
        ({"quantile": 1.2}, "experiment: quantile: expected a number from 0.0 to 1.0, got 1.2"),
        ({"size": [256]}, "experiment: size: expected [height, width] in pixels, each at least 32, got [256]"),
        ({"size": [16, 64]}, "each at least 32, got [16, 64]"),
        ({"size": "big"}, "each at least 32, got 'big'"),
        ({"detector": {"name": "standalone", "method": "patchcor"}}, "did you mean 'patchcore'"),
    ],
)
def test_what_cannot_be_is_refused_with_key_and_cure(content: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        load_experiment(content)


def test_one_number_is_a_square() -> None:
    assert load_experiment({"size": 96}).size == (96, 96)


def test_the_file_is_named_in_what_is_wrong_with_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mine\.yaml: unknown key 'sed'"):
        load_experiment({"sed": 1}, "mine.yaml")
    broken = tmp_path / "broken.yaml"
    for text, said in [("a: [1", "not valid YAML: .*line"), ("- 1", "expected keys and values, got list")]:
        broken.write_text(text)
        with pytest.raises(ConfigError, match=rf"broken\.yaml: {said}"):
            read_yaml(broken)
    with pytest.raises(ConfigError, match=r"absent\.yaml: No such file"):
        read_yaml(tmp_path / "absent.yaml")


def test_no_object_is_built_from_yaml_tags(tmp_path: Path) -> None:
    (tmp_path / "tagged.yaml").write_text("a: !!python/object/apply:os.getcwd []")
    with pytest.raises(ConfigError, match="not valid YAML"):
        read_yaml(tmp_path / "tagged.yaml")
