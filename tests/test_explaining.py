"""Sentences of the members that have any: through nested ensembles, into the table of `predict`, onto the page."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from loco_folder import build_class
from small_run import ALONE, call, write_experiment
from torch import Tensor

from ensemble_ad.detectors import FeatureEnsemble, OutputEnsemble, Standalone
from ensemble_ad.explaining import explained, explaining
from ensemble_ad.methods import METHODS
from extractors.patchcore import PatchCore


class Counter:
    """Says how bright a picture is."""

    def __init__(self, name: str) -> None:
        self.name = name

    def explain(self, images: Tensor) -> list[list[str]]:
        return [[f"{self.name}: {image.mean():.1f}"] if image.mean() > 0 else [] for image in images]


class Silent:
    """Cannot say why."""


def test_sentences_of_all_members_stand_side_by_side_whatever_the_nesting() -> None:
    inner = OutputEnsemble([Standalone(Counter("inner")), FeatureEnsemble([])])
    outer = OutputEnsemble([Standalone(Silent()), inner, Standalone(Counter("outer"))])
    assert [method.name for method in explaining(outer)] == ["inner", "outer"]
    images = torch.stack([torch.zeros(3, 4, 4), torch.ones(3, 4, 4)])
    assert explained(outer, images) == [[], ["inner: 1.0", "outer: 1.0"]]


def test_members_without_sentences_say_nothing() -> None:
    assert explained(Standalone(Silent()), torch.ones(2, 3, 4, 4)) == [[], []]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("explained")
    build_class(base / "parts")
    write_experiment(base / "e.yaml", ALONE)
    words = ("run", base / "e.yaml", "--data", base / "parts", "--cache", base / "cache", "--out", base / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            PatchCore, "explain", lambda _, images: [["two <b>bolts</b> are missing"]] * len(images), raising=False
        )
        assert call(*words).code == 0
    return base


def test_the_page_shows_them_as_text(run: Path) -> None:
    page = next((run / "run").rglob("report.html")).read_text()
    assert "two &lt;b&gt;bolts&lt;/b&gt; are missing" in page


def test_predict_writes_them_into_the_table(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatchCore, "explain", lambda _, images: [["one", "two"]] * len(images), raising=False)
    pictures = run / "parts" / "validation" / "good"
    called = call("predict", run / "run", pictures, "--out", tmp_path / "out", "--explain")
    assert called.code == 0
    assert set(pd.read_csv(tmp_path / "out" / "scores.csv").explanation) == {"one; two"}
    assert "one; two" in called.out


def test_a_run_that_cannot_explain_says_so(run: Path, tmp_path: Path) -> None:
    called = call("predict", run / "run", run / "parts" / "validation" / "good", "--out", tmp_path / "out", "--explain")
    assert called.code == 2
    assert "can say why; metrology can" in called.err
    assert hasattr(METHODS["metrology"], "explain")
    assert not (tmp_path / "out").exists()
