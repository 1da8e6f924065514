import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from loco_folder import SHAPE, build_class

from data_loco import ClassFolder, open_class
from ensemble_ad.submission import SubmissionError, check_submission, evaluate_submission, read_map


@pytest.fixture
def parts(tmp_path: Path) -> ClassFolder:
    return open_class(build_class(tmp_path / "parts"))


@pytest.fixture
def maps(parts: ClassFolder, tmp_path: Path) -> Path:
    """Perfect float32 TIFFs of every test picture."""
    for sample in parts.test:
        path = tmp_path / "maps" / "test" / sample.kind / f"{sample.id}.tiff"
        path.parent.mkdir(parents=True, exist_ok=True)
        scores = np.sum([np.zeros(SHAPE), *(defect.mask for defect in sample.defects())], axis=0)
        tifffile.imwrite(path, scores.astype(np.float32))
    return tmp_path / "maps"


def test_a_complete_submission_is_evaluated(maps: Path, parts: ClassFolder) -> None:
    assert list(check_submission(maps, parts)) == []
    assert evaluate_submission(maps, parts).to_json()["au_spro"]["0.05"]["mean"] == 1.0


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_every_named_format_is_read(maps: Path, parts: ClassFolder, suffix: str) -> None:
    for path in list(maps.glob("test/*/*.tiff")):
        scores = tifffile.imread(path)
        if suffix == ".npy":
            np.save(path.with_suffix(suffix), scores.astype(np.float64))
            path.unlink()
        else:
            path.rename(path.with_suffix(suffix))
    assert evaluate_submission(maps, parts).to_json()["pixel_auroc"]["mean"] == 1.0


@pytest.mark.parametrize("compression", [cv2.IMWRITE_TIFF_COMPRESSION_LZW, cv2.IMWRITE_TIFF_COMPRESSION_ADOBE_DEFLATE])
def test_compressed_tiffs_are_read_and_missed_when_truncated(maps: Path, parts: ClassFolder, compression: int) -> None:
    path = maps / "test/good/000.tiff"
    scores = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    cv2.imwrite(str(path), scores, [cv2.IMWRITE_TIFF_COMPRESSION, compression])
    assert (read_map(path) == scores).all()
    path.write_bytes(path.read_bytes()[:-300])
    assert len(list(check_submission(maps, parts))) == 1


def test_mvtecs_folder_above_the_classes_is_accepted(maps: Path, parts: ClassFolder, tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    shutil.move(maps, tmp_path / "all" / parts.name)
    assert list(check_submission(tmp_path / "all", parts)) == []
    assert evaluate_submission(tmp_path / "all", parts).to_json()["au_pr"]["mean"] == 1.0


def test_everything_wrong_is_said_at_once(maps: Path, parts: ClassFolder) -> None:
    test = maps / "test"
    (test / "good/000.tiff").unlink()
    tifffile.imwrite(test / "good/001.tiff", np.zeros((6, 10), np.float32))
    spoilt = np.zeros(SHAPE, np.float32)
    spoilt[0, :3] = np.nan, np.inf, -np.inf
    tifffile.imwrite(test / "logical_anomalies/000.tiff", spoilt)
    np.save(test / "structural_anomalies/000.npy", np.zeros(SHAPE))
    np.save(test / "good/777.npy", np.zeros(SHAPE))
    with pytest.raises(SubmissionError) as caught:
        evaluate_submission(maps, parts)
    expected = [
        "good/000.tiff: missing, and so are .tif and .npy",
        "good/001.tiff: expected the picture's original size [12, 20] (height, width), got [6, 10]",
        "logical_anomalies/000.tiff: 3 of 240 scores are NaN or infinite",
        "structural_anomalies/000.tiff: there is also 000.npy; keep one of them",
        f"good/777.npy: no test picture good/777 in {parts.root}",
    ]
    assert caught.value.problems == tuple(f"{test}/{problem}" for problem in expected)
    assert "5 problems with these maps" in str(caught.value)
    assert all(problem in str(caught.value) for problem in expected)


@pytest.mark.parametrize("content", [b"", b"not a picture"])
def test_a_damaged_tiff_is_named(maps: Path, parts: ClassFolder, content: bytes) -> None:
    (maps / "test/good/000.tiff").write_bytes(content)
    assert [problem.split(": ")[1] for problem in check_submission(maps, parts)] == ["cannot be read"]


def test_a_truncated_tiff_is_named(maps: Path, parts: ClassFolder) -> None:
    path = maps / "test/good/000.tiff"
    path.write_bytes(path.read_bytes()[:-100])
    assert len(list(check_submission(maps, parts))) == 1


def test_pickled_arrays_are_never_loaded(maps: Path, parts: ClassFolder) -> None:
    (maps / "test/good/000.tiff").unlink()
    np.save(maps / "test/good/000.npy", np.array([{"a": 1}], object), allow_pickle=True)
    (problem,) = check_submission(maps, parts)
    assert "cannot be read" in problem
    assert "allow_pickle=False" in problem


def test_complex_scores_are_refused(maps: Path, parts: ClassFolder) -> None:
    (maps / "test/good/000.tiff").unlink()
    np.save(maps / "test/good/000.npy", np.zeros(SHAPE, complex))
    (problem,) = check_submission(maps, parts)
    assert problem.endswith("expected real numbers, got complex128")


def test_a_folder_that_is_not_there_is_one_problem(parts: ClassFolder, tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match=r"1 problem with these maps:\n.*no such folder; expected the maps in"):
        evaluate_submission(tmp_path / "nowhere", parts)
