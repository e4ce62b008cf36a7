"""Reading results.json of forecasts: order, what is missing, what is damaged."""

import json
from pathlib import Path

import numpy as np
import pytest
from synthetic_forecast import AR, LAST, MAIN, VAR, make_bare_forecast, make_forecast, write_forecast

from brainlm.errors import DataError
from brainlm.report.forecast_file import read_forecast, read_forecasts
from brainlm.report.forecast_study import GROUPS


def test_methods_come_by_kind_and_the_best_of_each_kind_first() -> None:
    cohort = read_forecast(make_forecast(), "x").cohorts[0]
    assert list(dict.fromkeys(method.group for method in cohort.methods)) == list(GROUPS)
    assert [method.name for method in cohort.methods if method.group == "linear"] == [VAR, AR]


def test_forecasts_come_by_how_far_they_look(tmp_path: Path) -> None:
    for horizon, context in ((20, 80), (5, 160), (5, 80)):
        write_forecast(tmp_path, make_bare_forecast(horizon=horizon, context=context, cohorts=[]))
    assert [one.folder for one in read_forecasts(tmp_path)] == ["80-5", "160-5", "80-20"]


def test_a_forecast_with_nothing_optional_is_read() -> None:
    forecast = read_forecast(make_bare_forecast(), "x")
    (cohort,) = forecast.cohorts
    assert cohort.difference is None
    assert cohort.ceiling is None
    assert cohort.verdict == "unknown"
    assert not cohort.has_intervals
    assert forecast.common_tr_s is None
    assert forecast.confidence_percent == "95 %"
    steps = cohort.methods[0].by_step["r2"]
    np.testing.assert_array_equal(np.isfinite(steps.value_H), [True, True, False])
    assert np.isnan(steps.low_H).all()


def test_what_could_not_be_computed_is_nan() -> None:
    cohort = read_forecast(make_forecast(), "x").cohorts[0]
    main = cohort.method(MAIN)
    assert main is not None
    assert main.r2_P is not None
    assert np.flatnonzero(np.isnan(main.r2_P)).tolist() == [3]
    assert np.isnan(cohort.examples[0].truth_T[5])
    assert cohort.method(VAR).minus_best_baseline is None  # type: ignore[union-attr]
    assert np.all(np.diff(cohort.method(LAST).r2_subject_N) >= 0)  # type: ignore[union-attr]


def test_seconds_are_those_of_the_cohort() -> None:
    content = make_forecast()
    content["cohorts"][1]["tr_s"] = [0.8]
    forecast = read_forecast(content, "x")
    assert [cohort.common_tr_s for cohort in forecast.cohorts] == [2.0, 0.8]
    assert forecast.common_tr_s is None
    content["cohorts"][1]["tr_s"] = [0.8, 2.0]
    assert read_forecast(content, "x").cohorts[1].common_tr_s is None
    for cohort in content["cohorts"]:
        del cohort["tr_s"]
    assert read_forecast(content, "x").common_tr_s == 2.0


def _without(content: dict, *path: str | int) -> dict:
    place = content
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return content


def _with(content: dict, value: object, *path: str | int) -> dict:
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return content


METHOD = ("cohorts", 0, "methods", 0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (make_bare_forecast(format_version=2), "format version 2, this program reads 1"),
        (make_bare_forecast(cohorts=None), "NoneType"),
        (make_bare_forecast(horizon=4), "numbers of 3 steps, the horizon is 4"),
        (_with(make_bare_forecast(), "magic", *METHOD, "group"), "group 'magic'"),
        (_without(make_bare_forecast(), *METHOD, "scores"), "scores"),
        (_without(make_bare_forecast(), "context"), "context"),
        (_with(make_forecast(), [0.1], "cohorts", 0, "ceiling", "r2_by_step"), "the ceiling has numbers of 1 steps"),
        (_with(make_forecast(), [0.8], *METHOD, "coverage", "by_step"), "numbers of 1 steps"),
        (_with(make_forecast(), 3, "cohorts", 0, "examples", 0, "origin"), "forecasts of 20, 20, 20 steps from 3"),
        (_with(make_forecast(), [0.0], "cohorts", 0, "examples", 0, "methods", 0, "low"), "a band of 1 and 20"),
    ],
)
def test_content_this_program_does_not_know_is_an_error_that_names_the_file(
    tmp_path: Path, content: dict, said: str
) -> None:
    path = tmp_path / "forecasts" / "80-20" / "results.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"results.json cannot be read") as caught:
        read_forecasts(tmp_path)
    assert str(path) in str(caught.value)
    assert said in (caught.value.found or "")
    assert "brainlm forecast" in (caught.value.remedy or "")


@pytest.mark.parametrize("content", [b"\x00\x01junk\xff", b'{"format_version": 1, "cohorts": [', b"[]", b""])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = write_forecast(tmp_path, make_bare_forecast())
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_forecasts(tmp_path)
    assert str(path) in str(caught.value)
