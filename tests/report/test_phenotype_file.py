"""Reading results.json of clinical variables: order, what is missing, what is damaged."""

import json
from pathlib import Path

import numpy as np
import pytest
from synthetic_study import MAIN, make_bare_study, make_study, write_study

from brainlm.errors import DataError
from brainlm.report.phenotype_file import read_studies, read_study, unfinished_studies
from brainlm.report.phenotype_study import GROUPS


def test_methods_come_by_kind_and_the_best_of_each_kind_first() -> None:
    study = read_study(make_study("binary"), "x")
    groups = [method.group for method in study.methods]
    assert list(dict.fromkeys(groups)) == list(GROUPS)
    connectivity = [m.scores["auroc"].value for m in study.methods if m.group == "connectivity"]
    assert connectivity == sorted(connectivity, reverse=True)


def test_a_study_with_nothing_optional_is_read() -> None:
    study = read_study(make_bare_study(), "x")
    assert study.difference is None
    assert study.permutation is None
    assert not study.curves
    assert np.isnan(study.methods[1].scores["auroc"].value)
    assert study.confidence_percent == "95 %"


def test_knowing_nothing_has_the_level_of_the_file_or_that_of_the_chance_method() -> None:
    study = read_study(make_study("regression"), "x")
    assert study.reference("r2") == 0
    assert study.reference("mae") == pytest.approx(6.4)
    assert read_study(make_study("binary"), "x").reference("calibration_slope") is None


def test_points_that_could_not_be_computed_are_left_out() -> None:
    content = make_study("binary")
    content["curves"][MAIN]["roc"] = [[0.0, 0.0], [None, 0.5], [1.0, 1.0]]
    roc = read_study(content, "x").curves[MAIN].roc
    assert roc is not None
    assert roc.tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format_version": 2}, "format version 2, this program reads 1"),
        ({"methods": [{"name": "m", "group": "magic", "scores": {}}]}, "group 'magic'"),
        ({"target": {"name": "age", "kind": "ordinal"}}, "kind 'ordinal'"),
        ({"curves": {MAIN: {"roc": [[0, 0, 0]]}}}, "2 numbers a point are expected"),
        ({"predicted": {MAIN: {"true": [1, 2], "predicted": [1]}}}, "2 true and 1 predicted"),
        ({"methods": None}, "NoneType"),
    ],
)
def test_content_this_program_does_not_know_is_an_error_that_names_the_file(
    tmp_path: Path, change: dict, said: str
) -> None:
    path = write_study(tmp_path, make_study("binary"))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=r"results.json cannot be read") as caught:
        read_studies(tmp_path)
    assert str(path) in str(caught.value)
    assert said in (caught.value.found or "")
    assert "brainlm probe" in (caught.value.remedy or "")


@pytest.mark.parametrize("content", [b"\x00\x01junk\xff", b'{"format_version": 1, "methods": [', b"[]", b""])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = write_study(tmp_path, make_bare_study())
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_studies(tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("field", ["target", "folds", "methods", "main_metric", "metrics", "chance"])
def test_a_missing_field_is_named(tmp_path: Path, field: str) -> None:
    content = make_bare_study()
    path = write_study(tmp_path, content)
    del content[field]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError) as caught:
        read_studies(tmp_path)
    assert field in (caught.value.found or "")


def test_studies_that_were_begun_are_told_from_finished_ones(tmp_path: Path) -> None:
    write_study(tmp_path, make_bare_study())
    for name in ("iq.5-fold", "sex.leave-site-out"):
        folder = tmp_path / "phenotypes" / name
        folder.mkdir(exist_ok=True)
        (folder / "folds.json").write_text("{}")
    assert [study.folder for study in read_studies(tmp_path)] == ["sex.leave-site-out"]
    assert unfinished_studies(tmp_path) == ("iq.5-fold",)
