"""The words around a forecast: what they call a loss, where they are silent, and what they say of filters."""

from typing import Any

import numpy as np
import pytest
from synthetic_forecast import LAST, MAIN, VAR, ZERO_SHOT, make_bare_forecast, make_forecast

from brainlm.report import forecast_words
from brainlm.report.forecast_file import read_forecast
from brainlm.report.forecast_study import Forecast
from brainlm.report.forecast_tables import shown_steps


def plain(text: str) -> str:
    """Without the spaces that keep numbers and units together."""
    return text.replace(forecast_words.NO_BREAK, " ")


def forecast_of(content: dict[str, Any]) -> Forecast:
    return read_forecast(content, "x")


def test_the_title_says_how_far_and_from_what() -> None:
    assert plain(forecast_words.title(forecast_of(make_forecast(horizon=20)))) == "Forecasting 20 points (40 s) from 80"
    assert plain(forecast_words.title(forecast_of(make_bare_forecast()))) == "Forecasting 3 points from 40"


def test_where_the_ceiling_leaves_nothing_it_is_said() -> None:
    told = plain(forecast_words.about_course(forecast_of(make_forecast()).cohorts[0]))
    assert "below 0.02 from step 3 (6 s) on: beyond, next to nothing is left to forecast linearly" in told
    assert f"R² of {MAIN} is" in told
    assert f"{VAR} at" in told
    assert "(not tested)" in told


def test_a_ceiling_of_nothing_is_called_that() -> None:
    content = make_forecast()
    content["cohorts"][0]["ceiling"]["r2_by_step"] = [0.01] * 20
    told = forecast_words.about_course(forecast_of(content).cohorts[0])
    assert "next to nothing to forecast" in told


def test_only_methods_whose_interval_is_above_the_ceiling_are_said_to_exceed_it() -> None:
    content = make_forecast(is_filtered=True)
    cohort = content["cohorts"][0]
    for method in cohort["methods"]:
        is_above = method["name"] == VAR
        value = cohort["ceiling"]["r2"] + (0.1 if is_above else 0.01)
        method["scores"]["r2"] = {"value": value, "low": value - 0.02, "high": value + 0.02}
    told = forecast_words.about_course(forecast_of(content).cohorts[0])
    assert f"Over all steps {VAR} is clearly above it" in told


def test_steps_without_a_number_are_not_taken_for_bad_ones() -> None:
    told = plain(forecast_words.about_course(forecast_of(make_bare_forecast()).cohorts[0]))
    assert "is 0.180 at step 1 and 0.080 at step 2." in told
    assert f"at each of 2 steps: {ZERO_SHOT} at 2" in told


def test_a_single_step_is_no_course() -> None:
    told = plain(forecast_words.about_course(forecast_of(make_forecast(horizon=1)).cohorts[0]))
    assert "at step 1 (2 s)." in told
    assert "(not tested)" not in told


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.05, "better for 20 points from 80"),
        (-0.05, -0.01, "worse for 20 points from 80"),
        (-0.05, 0.01, "not clearly different for 20 points from 80"),
        (0.0, 0.02, "not clearly different for 20 points from 80"),
    ],
)
def test_the_summary_calls_a_win_only_where_the_interval_excludes_zero(low: float, high: float, said: str) -> None:
    content = make_forecast(is_two=False)
    content["cohorts"][0]["difference"] = {"value": (low + high) / 2, "low": low, "high": high}
    told = forecast_words.tally([forecast_of(content)])
    assert said in told
    assert sum(word in told for word in ("better for", "worse for", "not clearly")) == 1
    assert "band-limited" not in told


def test_the_summary_names_cohorts_and_warns_of_filters() -> None:
    told = forecast_words.tally([forecast_of(make_forecast(is_filtered=True))])
    assert "(test)" in told
    assert "(second store)" in told
    assert "band-limited" in told


def test_the_summary_is_silent_where_nothing_was_compared() -> None:
    assert forecast_words.tally([forecast_of(make_bare_forecast())]) == ""
    assert forecast_words.tally([]) == ""


def test_a_filter_is_explained_where_the_results_do_not() -> None:
    bands = forecast_of(make_forecast(is_filtered=True)).bands
    told = forecast_words.band_text(bands[:1], is_named=False)
    assert told.startswith("The signal was low-passed at 0.1 Hz (0.4 % of the power is left above).")
    named = forecast_words.band_text(bands, is_named=True)
    assert "Test: " in named
    assert "Second store: " in named
    assert forecast_words.band_text([], is_named=True) == ""


def test_one_subject_has_no_intervals_and_that_is_said() -> None:
    forecast = forecast_of(make_bare_forecast())
    assert "No intervals" in forecast_words.interval_note(forecast, forecast.cohorts[0])
    forecast = forecast_of(make_forecast())
    assert forecast_words.interval_note(forecast, forecast.cohorts[0]).endswith("over subjects, 1,000 resamples")


@pytest.mark.parametrize("horizon", [1, 3, 8, 9, 20, 60, 200])
def test_the_steps_of_the_table_begin_with_the_first_and_end_with_the_last(horizon: int) -> None:
    steps = shown_steps(horizon)
    assert steps[0] == 1
    assert steps[-1] == horizon
    assert len(steps) <= 8
    assert np.all(np.diff(steps) > 0)


def test_a_method_never_judged_by_step_is_left_out() -> None:
    content = make_bare_forecast()
    for method in content["cohorts"][0]["methods"]:
        method["by_step"] = {}
    assert forecast_words.about_course(forecast_of(content).cohorts[0]) == ""
    assert LAST in [method.name for method in forecast_of(content).cohorts[0].methods]
