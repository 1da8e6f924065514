import json

import pytest

from data_loco.errors import DataError
from data_loco.saturation import DefectKind, read_defects_config

VALID = {"defect_name": "scratch", "pixel_value": 255, "saturation_threshold": 1.0, "relative_saturation": True}


@pytest.mark.parametrize(("area", "expected"), [(2, 1), (3, 1), (5, 2)])
def test_relative_saturation_truncates_as_in_mvtecs_evaluation(area, expected):
    assert DefectKind("scratch", 255, 0.5, relative=True).saturation_area(area) == expected


def test_relative_saturation_of_a_tiny_region_is_one_pixel_instead_of_zero():
    assert DefectKind("scratch", 255, 0.5, relative=True).saturation_area(1) == 1


@pytest.mark.parametrize(("area", "expected"), [(1, 1), (99, 99), (100, 100), (5000, 100)])
def test_absolute_saturation_is_at_most_the_area(area, expected):
    assert DefectKind("hole", 255, 100, relative=False).saturation_area(area) == expected


def test_empty_region_is_refused():
    with pytest.raises(ValueError, match="at least 1 pixel, got 0"):
        DefectKind("hole", 255, 100, relative=False).saturation_area(0)


def test_config_maps_pixel_values_to_kinds(tmp_path):
    path = tmp_path / "defects_config.json"
    hole = {"defect_name": "hole", "pixel_value": 7, "saturation_threshold": 40, "relative_saturation": False}
    path.write_text(json.dumps([VALID, hole]))
    assert read_defects_config(path) == {
        255: DefectKind("scratch", 255, 1.0, relative=True),
        7: DefectKind("hole", 7, 40, relative=False),
    }


def test_config_with_a_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "defects_config.json"
    path.write_text(json.dumps([VALID]), encoding="utf-8-sig")
    assert set(read_defects_config(path)) == {255}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"defect_name": ""}, "defect_name"),
        ({"pixel_value": 0}, "from 1 to 255, got 0"),
        ({"pixel_value": 256}, "from 1 to 255, got 256"),
        ({"pixel_value": True}, "got True"),
        ({"pixel_value": "255"}, "got '255'"),
        ({"relative_saturation": 1}, "true or false, got 1"),
        ({"saturation_threshold": 1.5}, r"share in \(0, 1\].*got 1.5"),
        ({"saturation_threshold": 0.0}, r"share in \(0, 1\].*got 0.0"),
        ({"saturation_threshold": float("nan")}, r"share in \(0, 1\].*got nan"),
        ({"saturation_threshold": "1.0"}, "got '1.0'"),
        ({"relative_saturation": False}, "whole pixels.*got 1.0"),
        ({"relative_saturation": False, "saturation_threshold": 0}, "whole pixels.*got 0"),
        ({"saturation_treshold": 1.0}, "'saturation_treshold'"),
    ],
)
def test_faulty_entry_is_named_with_its_file_and_number(tmp_path, change, said):
    path = tmp_path / "defects_config.json"
    path.write_text(json.dumps([VALID | {"pixel_value": 254}, VALID | change]))
    with pytest.raises(DataError, match=said) as caught:
        read_defects_config(path)
    assert caught.value.path == path
    assert caught.value.reason.startswith("entry 2: ")


@pytest.mark.parametrize("missing", list(VALID))
def test_missing_key_is_named(tmp_path, missing):
    path = tmp_path / "defects_config.json"
    path.write_text(json.dumps([{key: value for key, value in VALID.items() if key != missing}]))
    with pytest.raises(DataError, match=f"missing {missing}"):
        read_defects_config(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [("[{]", "no JSON"), ("{}", "expected a list"), ("[3]", "entry 1: expected an object"), ("", "no JSON")],
)
def test_file_that_is_no_list_of_objects_is_refused(tmp_path, text, said):
    path = tmp_path / "defects_config.json"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        read_defects_config(path)


def test_pixel_value_used_twice_is_refused(tmp_path):
    path = tmp_path / "defects_config.json"
    path.write_text(json.dumps([VALID, VALID | {"defect_name": "dent"}]))
    with pytest.raises(DataError, match="entry 2: pixel_value 255 already belongs to 'scratch'"):
        read_defects_config(path)


def test_missing_and_binary_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="is missing"):
        read_defects_config(tmp_path / "defects_config.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(DataError, match="cannot be read"):
        read_defects_config(tmp_path / "binary.json")
