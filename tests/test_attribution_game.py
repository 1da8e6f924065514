"""The game of an ensemble's members: chance, subsets, and what `ensemble-ad attribute` leaves."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from loco_folder import build_class
from scipy.stats import binom
from small_run import ALONE, FUSED, PATCHCORE, SIMPLENET, call, files_in, small_experiment, write_experiment

from data_loco import open_class
from data_loco.sample import Defect
from ensemble_ad.attribution import report
from ensemble_ad.attribution.chance import chance_levels
from ensemble_ad.attribution.figure import member_figure, save_figure, synergy_figure
from ensemble_ad.attribution.game import Game, game_of, plan_game, subset_name
from ensemble_ad.attribution.members import member_names, restricted
from ensemble_ad.attribution.report import page
from ensemble_ad.attribution.sampling import draw_orders, visited
from ensemble_ad.attribution.solution import over_seeds, solve
from ensemble_ad.errors import ConfigError
from ensemble_ad.metrics import ScoredPicture, au_spro
from ensemble_ad.outcome import outcome
from ensemble_ad.stages import Stages
from ensemble_ad.store import Store
from ensemble_ad.survey.classes import surveyed_classes

LIMITS = (0.01, 0.05, 0.1, 0.3, 1.0)
WIDE: dict[str, Any] = {**FUSED, "combiner": {"name": "global", "components": 90}}
"""More components than either member has channels."""


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_class(tmp_path_factory.mktemp("data") / "parts")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, parts: Path) -> Path:
    """A folder with an attribution in `out`."""
    base = tmp_path_factory.mktemp("base")
    done = attribute(base, parts)
    assert done.code == 0, done.err
    return base


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "_figures", lambda *_: {})


def attribute(base: Path, parts: Path, *words: object) -> Any:
    experiment = write_experiment(base / "experiment.yaml", WIDE)
    folders = ("--out", base / "out", "--cache", base / "cache")
    return call("attribute", experiment, "--data", parts, "--seeds", "0,1", *folders, *words)


def test_chance_is_half_for_auroc_and_half_the_limit_for_areas(parts: Path, tmp_path: Path) -> None:
    levels = chance_levels(open_class(parts), Store(tmp_path))
    expected = {"image AUROC": 0.5, "pixel AUROC": 0.5, "AU-PRO@0.3": 0.15}
    expected |= {f"AU-sPRO@{limit}": limit / 2 for limit in LIMITS}
    whole = {row: value for row, value in levels.items() if row[0] in expected}
    assert {kind for _, kind, _ in whole} == {"logical_anomalies", "structural_anomalies", "mean"}
    assert {defect for _, _, defect in whole} == {"", "missing_hole", "scratch"}
    assert {row: pytest.approx(expected[row[0]]) for row in whole} == whole


def test_chance_of_au_pr_is_the_share_of_defective_pixels(parts: Path, tmp_path: Path) -> None:
    levels = chance_levels(open_class(parts), Store(tmp_path))
    hole = 4 * 5 / (3 * 12 * 20)  # one anomalous picture and two good ones
    assert levels["AU-PR", "logical_anomalies", ""] == pytest.approx(hole)
    assert levels["F1-max", "logical_anomalies", ""] == pytest.approx(2 * hole / (1 + hole))


@pytest.mark.parametrize("saturation", [400, 20])
def test_noise_reaches_more_than_a_constant_map_only_where_areas_saturate_early(saturation: int) -> None:
    """Of independent pixels, a share t of which is positive, a region of A pixels has Binomial(A, t)."""
    rates = (np.arange(2000) + 0.5) / 2000 * 0.05
    pixels = np.arange(401)
    found = [binom.pmf(pixels, 400, rate) @ np.minimum(pixels / saturation, 1) for rate in rates]
    measured = [noise_au_spro(saturation, seed) for seed in range(12)]
    assert np.mean(measured) == pytest.approx(np.mean(found), abs=0.02)
    assert (np.mean(found) == pytest.approx(0.025)) == (saturation == 400)


def noise_au_spro(saturation: int, seed: int) -> float:
    mask = np.zeros((120, 120), bool)
    mask[:20, :20] = True
    scores = np.random.default_rng(seed).random(mask.shape)
    return au_spro([ScoredPicture("logical_anomalies", "0", scores, [Defect("hole", 255, mask, saturation)])], 0.05)


def test_members_are_called_by_method_and_by_what_differs() -> None:
    both = small_experiment({**FUSED, "extractors": [PATCHCORE, SIMPLENET, {**PATCHCORE, "cut": "distance"}]}).detector
    assert member_names(both) == ("patchcore cut=embedding", "simplenet", "patchcore cut=distance")
    nested = {"name": "standalone", "method": {"name": "draem", "epochs": 2}}
    fused = {"name": "feature_ensemble", "extractors": [{"name": "a"}, {"name": "b"}], "combiner": {"name": "global"}}
    more = {"name": "standalone", "method": {"name": "draem", "epochs": 3}}
    output = {"name": "output_ensemble", "detectors": [nested, fused, more], "combiner": {"name": "mean"}}
    assert member_names(output) == ("draem epochs=2", "a+b global", "draem epochs=3")


def test_equal_members_and_single_ones_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected different members, got patchcore more than once"):
        member_names(small_experiment({**FUSED, "extractors": [PATCHCORE, PATCHCORE]}).detector)
    with pytest.raises(
        ConfigError, match="expected an ensemble of at least two members, got 'feature_ensemble' with 1"
    ):
        member_names(small_experiment({**FUSED, "extractors": [PATCHCORE]}).detector)
    with pytest.raises(ConfigError, match="got 'standalone' with 0"):
        member_names({"name": "standalone", "method": {"name": "patchcore"}})


def test_a_subset_keeps_settings_order_and_its_own_weights() -> None:
    detectors = [{"name": name} for name in "abc"]
    weighted = {"name": "weighted_mean", "weights": [0.5, 0.3, 0.2]}
    whole = {"name": "output_ensemble", "detectors": detectors, "combiner": weighted, "score_combiner": None}
    found = restricted(whole, frozenset([2, 0]))
    assert found["detectors"] == [{"name": "a"}, {"name": "c"}]
    assert found["combiner"]["weights"] == [0.5, 0.2]
    assert whole["combiner"] == {"name": "weighted_mean", "weights": [0.5, 0.3, 0.2]}


def test_above_six_members_subsets_are_drawn(parts: Path) -> None:
    members = [{**PATCHCORE, "neighbours": count} for count in range(1, 9)]
    crowd = {**FUSED, "extractors": members}
    plan = plan_game([small_experiment(crowd)], surveyed_classes([parts]), permutations=2)
    assert len(plan.orders) == 2
    assert set(plan.coalitions) == set(visited(plan.orders))
    assert len(plan.cells) == len(plan.coalitions) < 30
    assert "subsets: those met by 2 orders, there and back" in plan.summary()


def test_every_row_sums_to_ensemble_minus_chance(base: Path) -> None:
    shapley, subsets = read(base, "shapley"), read(base, "subsets")
    row = ["class", "seed", "metric", "type", "defect_kind"]
    total = shapley.groupby(row)["value"].sum()
    by_size = {size: subsets[subsets["members"] == size].set_index(row)["value"] for size in (0, 2)}
    np.testing.assert_allclose(total.sort_index(), (by_size[2] - by_size[0]).sort_index(), atol=1e-12)
    assert {"image AUROC", "AU-PR", "AU-PRO@0.3", "AU-sPRO@0.05", "F1-max"} <= set(shapley["metric"])
    assert set(shapley["defect_kind"]) == {"", "missing_hole", "scratch"}
    assert set(shapley.loc[shapley["oracle"], "metric"]) == {"F1-max"}


def test_two_members_share_by_hand(base: Path) -> None:
    subsets = read(base, "subsets")
    chosen = subsets[(subsets["metric"] == "AU-sPRO@0.05") & (subsets["type"] == "mean") & (subsets["seed"] == 1)]
    worth = chosen.set_index("subset")["value"]
    both, nothing = worth["patchcore + simplenet"], worth["(chance)"]
    patchcore = ((worth["patchcore"] - nothing) + (both - worth["simplenet"])) / 2
    shapley = read(base, "shapley").query("metric == 'AU-sPRO@0.05' and type == 'mean' and seed == 1")
    found = shapley.set_index("member").loc["patchcore"]
    assert found["value"] == pytest.approx(patchcore)
    assert found["alone"] == pytest.approx(worth["patchcore"] - nothing)
    assert found["last"] == pytest.approx(both - worth["simplenet"])
    synergy = read(base, "synergy").query("metric == 'AU-sPRO@0.05' and type == 'mean' and seed == 1")
    assert synergy["value"].item() == pytest.approx(both - worth["patchcore"] - worth["simplenet"] + nothing)


def test_a_subset_reaches_what_an_ordinary_run_of_it_does(base: Path, parts: Path) -> None:
    alone = small_experiment({**WIDE, "extractors": [SIMPLENET], "combiner": {"name": "global", "components": 80}})
    stages = Stages(open_class(parts), alone.size, Store(base / "own cache"))
    result = outcome(stages, alone.detector, stages.prediction(alone.detector, "test")).result
    subsets = read(base, "subsets")
    own = subsets[(subsets["subset"] == "simplenet") & (subsets["seed"] == 0) & (subsets["defect_kind"] == "")]
    values = own.set_index(["metric", "type"])["value"]
    assert values["AU-sPRO@0.05", "logical_anomalies"] == result["au_spro"]["0.05"]["logical_anomalies"]
    assert values["image AUROC", "mean"] == result["image_auroc"]["mean"]


def test_detectors_of_an_output_ensemble_are_members_too(base: Path, parts: Path, no_figures: None) -> None:
    """Calibration of one detector moves no ranking: alone it reaches what the method itself does."""
    outputs = {"name": "output_ensemble", "detectors": [PATCHCORE, SIMPLENET], "combiner": "mean"}
    experiment = write_experiment(base / "outputs.yaml", outputs)
    folders = ("--out", base / "outputs", "--cache", base / "cache")
    done = call("attribute", experiment, "--data", parts, "--seeds", "0", *folders)
    assert done.code == 0, done.err
    subsets = pd.read_csv(base / "outputs" / "subsets.csv").fillna({"defect_kind": ""})
    assert set(subsets["subset"]) == {"(chance)", "patchcore", "simplenet", "patchcore + simplenet"}
    alone = small_experiment(ALONE)
    stages = Stages(open_class(parts), alone.size, Store(base / "cache"))
    result = outcome(stages, alone.detector, stages.prediction(alone.detector, "test")).result
    own = subsets[(subsets["subset"] == "patchcore") & (subsets["defect_kind"] == "")]
    values = own.set_index(["metric", "type"])["value"]
    for kind in ("logical_anomalies", "structural_anomalies"):
        assert values["image AUROC", kind] == pytest.approx(result["image_auroc"][kind])
        assert values["AU-sPRO@0.05", kind] == pytest.approx(result["au_spro"]["0.05"][kind], abs=1e-6)


def test_the_second_call_measures_nothing(base: Path, parts: Path) -> None:
    before = {name: (base / "out" / name).read_bytes() for name in files_in(base / "out")}
    stages = files_in(base / "cache")
    dry = attribute(base, parts, "--dry-run")
    assert "2 members (patchcore, simplenet), 3 subsets: all there are" in dry.out
    assert dry.out.count(": done") == 6
    assert attribute(base, parts).code == 0
    assert files_in(base / "cache") == stages
    after = {name: (base / "out" / name).read_bytes() for name in files_in(base / "out")}
    assert {name for name in before if before[name] != after.get(name)} <= {"subsets/index.html"}


def test_the_page_says_who_adds_what_and_that_choosing_by_it_is_an_oracle(base: Path) -> None:
    text = (base / "out" / "attribution.md").read_text()
    assert "Shapley values are exact, from all 3 subsets" in text
    assert "95 % interval of the mean over seeds" in text
    assert "oracle" in text
    for name in ("members_AU-sPRO_at_0.05", "defects_image_AUROC", "synergy_AU-sPRO_at_0.05"):
        assert (base / "out/figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (base / "out/figures" / f"{name}.svg").read_text()


def toy(orders: int = 0, seeds: tuple[int, ...] = (0, 1, 2), players: int = 3) -> Game:
    """Additive: player i brings i / 10, and a little more with every seed."""
    rows = pd.DataFrame(
        [
            {"class": "parts", "seed": seed, "metric": "AU-sPRO@0.05", "type": kind, "defect_kind": "", "oracle": False}
            for seed in seeds
            for kind in ("logical_anomalies", "mean")
        ]
    )
    drawn = draw_orders(players, orders, seed=0)
    everyone = [frozenset(), *visited(drawn or draw_orders(players, 30, seed=0))]
    worth = {who: 0.025 + sum(who) / 10 + rows["seed"].to_numpy() * len(who) / 100 for who in everyone}
    return Game(tuple("abcdefgh"[:players]), tuple(drawn), rows, worth)


def test_intervals_are_students_over_seeds() -> None:
    summary = over_seeds(solve(toy()).shapley).query("type == 'mean'").set_index("member")
    assert summary.loc["b", "mean"] == pytest.approx(0.1 + 0.01)
    assert summary.loc["b", "high"] - summary.loc["b", "mean"] == pytest.approx(4.302653 * 0.01 / np.sqrt(3), rel=1e-6)
    assert over_seeds(solve(toy(seeds=(0,))).shapley)[["low", "high"]].isna().all(axis=None)


def test_an_estimate_says_so_and_has_no_synergies() -> None:
    solution = solve(toy(orders=4, players=8))
    summary = over_seeds(solution.shapley)
    assert summary["standard_error"].max() < 1e-12
    assert solution.synergy.empty
    text = page(solution, summary, over_seeds(solution.synergy))
    assert "estimated from 4 orders of coming" in text
    assert "Synergy" not in text


def test_figures_hold_a_cell_per_member_and_column() -> None:
    solution = solve(toy())
    figure = member_figure(over_seeds(solution.shapley), "title")
    assert len(figure.axes[0].texts) == 3 * 2
    assert "+0.110\n±" in {text.get_text().rsplit("±")[0] + "±" for text in figure.axes[0].texts}
    pairs = synergy_figure(over_seeds(solution.synergy), solution.members, "title")
    assert [len(axes.texts) for axes in pairs.axes[:2]] == [6, 6]


def test_equal_figures_are_equal_files(tmp_path: Path) -> None:
    summary = over_seeds(solve(toy()).shapley)
    for name in "ab":
        save_figure(member_figure(summary, "title"), tmp_path, name)
    for suffix in (".png", ".svg"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_a_subset_that_failed_is_named_with_its_reason(parts: Path, tmp_path: Path) -> None:
    plan = plan_game([small_experiment(WIDE)], surveyed_classes([parts]), permutations=2)
    line = {"class": "parts", "detector": subset_name(plan.members, frozenset([1])), "seed": 0, "failure": "too little"}
    with pytest.raises(ConfigError, match="1 subsets could not be measured: parts, simplenet, seed 0: too little"):
        game_of(plan, pd.DataFrame([line]), Store(tmp_path))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--seeds", "0,x"], "--seeds: expected whole numbers such as 0,1,2, got '0,x'"),
        (["--seeds", "1,1"], "expected different seeds, got 1, 1"),
        (["--set", "seed=3"], "expected different seeds, got 3, 3"),
        (["--extractors", "patchcore"], "expected an ensemble of at least two members"),
        (["--set", "detector.combiner.component=3"], "did you mean 'components'?"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_ends_in_a_sentence(base: Path, parts: Path, words: list[str], says: str) -> None:
    done = attribute(base, parts, *words)
    assert done.code == 2
    assert says in done.err
    assert "Traceback" not in done.err


def test_no_data_and_foreign_folders_are_refused(base: Path, parts: Path, tmp_path: Path) -> None:
    assert "--data: expected class folders" in call("attribute").err
    (tmp_path / "mine.txt").write_text("")
    done = attribute(base, parts, "--out", tmp_path)
    assert done.code == 2
    assert "is not an attribution's folder" in done.err
    assert files_in(tmp_path) == ["mine.txt"]


def read(base: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(base / "out" / f"{name}.csv").fillna({"defect_kind": ""})
