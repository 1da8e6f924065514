"""Detectors: an ensemble gives what its parts give by hand."""

from typing import Any

import pytest
import torch
from torch import Tensor

from combiners.blocks import GlobalBlock, IndividualBlocks
from ensemble_ad.detectors import Each, FeatureEnsemble, Standalone, picture_scores
from ensemble_ad.discriminator import Discriminator
from ensemble_ad.prediction import Prediction
from extractors import recall
from extractors.backbone import Backbone
from extractors.patchcore import PatchCore
from extractors.simplenet import SimpleNet
from extractors.smoothing import to_picture

SETTINGS: dict[str, Any] = {"backbone": "test_resnet", "weights": "random", "embedding": "concatenation"}


def members() -> tuple[PatchCore, SimpleNet]:
    patchcore = PatchCore(**SETTINGS, layers=("layer2",), cut="residual", coreset_ratio=0.2)
    return patchcore, SimpleNet(**SETTINGS, layers=("layer3",), hidden=8, epochs=2)


def head() -> Discriminator:
    return Discriminator(hidden=8, epochs=2, batch=64)


def pictures(count: int = 4, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, 64, 96, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def ensemble() -> FeatureEnsemble:
    return FeatureEnsemble(members(), GlobalBlock(6), head()).fit(pictures().split(2), [])


def test_an_ensemble_equals_its_parts_by_hand(ensemble: FeatureEnsemble) -> None:
    extractors, combiner, discriminator = members(), GlobalBlock(6), head()
    batches = pictures().split(2)
    for extractor in extractors:
        extractor.fit(batches)
    features = [[extractor.features(batch) for extractor in extractors] for batch in batches]
    combiner.fit(features)
    discriminator.fit([combiner.transform(batch) for batch in features])
    unseen = pictures(3, seed=1)
    cells = discriminator.score(combiner.transform([extractor.features(unseen) for extractor in extractors]))

    prediction = ensemble.predict(unseen)
    assert torch.equal(prediction.scores, cells.amax((1, 2)))
    assert torch.equal(prediction.maps, to_picture(cells, (64, 96), 4.0))


def test_predicting_together_equals_predicting_apart(ensemble: FeatureEnsemble) -> None:
    unseen = pictures(4, seed=1)
    together = ensemble.predict(unseen)
    recall.forget()
    apart = [ensemble.predict(part) for part in unseen.split([1, 3])]
    torch.testing.assert_close(torch.cat([part.scores for part in apart]), together.scores, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.cat([part.maps for part in apart]), together.maps, atol=1e-5, rtol=1e-5)


def test_members_on_one_network_share_its_pass(ensemble: FeatureEnsemble, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    run = Backbone._run
    monkeypatch.setattr(Backbone, "_run", lambda self, images: passes.append(len(images)) or run(self, images))
    recall.forget()
    ensemble.predict(pictures(2, seed=9))
    assert passes == [2]


def test_the_head_is_fitted_anew_and_the_extractors_stay(ensemble: FeatureEnsemble) -> None:
    before = [{key: tensor.clone() for key, tensor in member.state().items()} for member in ensemble.extractors]
    other = FeatureEnsemble(ensemble.extractors, IndividualBlocks(3), head())
    other.fit_head([other.features(batch) for batch in pictures().split(2)])
    assert other.predict(pictures(1)).maps.shape == (1, 64, 96)
    for state, member in zip(before, ensemble.extractors, strict=True):
        assert all(torch.equal(state[key], tensor) for key, tensor in member.state().items())


def test_a_single_extractor_is_an_ensemble_too() -> None:
    single = FeatureEnsemble(members()[:1], GlobalBlock(4), head()).fit([pictures()], [])
    assert single.predict(pictures(2)).scores.shape == (2,)


def test_standalone_is_the_methods_own_rule() -> None:
    detector = Standalone(members()[0]).fit([pictures()], [])
    maps, scores = members()[0].fit([pictures()]).detect(pictures(2, seed=1))
    prediction = detector.predict(pictures(2, seed=1))
    assert torch.equal(prediction.maps, maps)
    assert torch.equal(prediction.scores, scores)


@pytest.mark.parametrize(("height", "width", "top"), [(20, 20, 4), (5, 5, 1), (32, 32, 10)])
def test_top_mean_is_the_mean_of_the_largest_hundredth(height: int, width: int, top: int) -> None:
    cells = torch.randn(3, height, width, generator=torch.Generator().manual_seed(0))
    expected = [sum(sorted(picture.flatten().tolist())[-top:]) / top for picture in cells]
    torch.testing.assert_close(picture_scores(cells, "top_mean"), torch.tensor(expected))
    assert picture_scores(cells, "maximum").tolist() == [max(picture.flatten().tolist()) for picture in cells]


def test_the_score_rule_is_the_ensembles(ensemble: FeatureEnsemble) -> None:
    other = FeatureEnsemble(ensemble.extractors, ensemble.combiner, ensemble.discriminator, image_score="top_mean")
    cells = ensemble.discriminator.score(ensemble.combiner.transform(ensemble.features(pictures(2))))
    torch.testing.assert_close(other.predict(pictures(2)).scores, picture_scores(cells, "top_mean"))


def test_each_can_be_iterated_again_and_knows_its_length() -> None:
    doubled = Each([1, 2, 3], lambda number: 2 * number)
    assert (list(doubled), list(doubled), len(doubled)) == ([2, 4, 6], [2, 4, 6], 3)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_prediction_that_is_not_finite_names_the_picture(bad: float) -> None:
    maps = torch.zeros(3, 4, 4)
    maps[1, 2, 2] = bad
    with pytest.raises(ValueError, match=r"got NaN or infinity in pictures \[1\]"):
        Prediction(torch.zeros(3), maps)
    with pytest.raises(ValueError, match=r"got NaN or infinity in pictures \[2\]"):
        Prediction(torch.tensor([0.0, 0.0, bad]), torch.zeros(3, 4, 4))


def test_a_prediction_of_mismatched_shapes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected scores \[N\] and maps \[N, H, W\], got \[2\] and \[3, 4, 4\]"):
        Prediction(torch.zeros(2), torch.zeros(3, 4, 4))
