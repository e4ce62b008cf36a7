"""Asking the evaluation: who is ahead, and which condition the summary speaks of."""

import math

import pytest
from synthetic_run import evaluation_with


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.001, 0.02, "better"),
        (-0.02, -0.001, "worse"),
        (-0.02, 0.0, "level"),
        (0.0, 0.02, "level"),
        (-0.01, 0.01, "level"),
        (None, None, "unknown"),
    ],
)
def test_a_difference_counts_only_where_its_interval_excludes_zero(
    low: float | None, high: float | None, verdict: str
) -> None:
    evaluation = evaluation_with({"difference": {"r2": 0.0, "low": low, "high": high}})
    assert evaluation.conditions[0].verdict == verdict


def test_without_a_baseline_nothing_is_compared() -> None:
    assert evaluation_with({}).conditions[0].verdict == "unknown"


def test_the_headline_is_random_75_percent_where_there_is_one() -> None:
    evaluation = evaluation_with(
        {"mask": "parcel", "amount": 0.75, "label": "a"},
        {"mask": "random", "amount": 0.9, "label": "b"},
        {"mask": "random", "amount": 0.75, "label": "c"},
    )
    assert evaluation.headline is not None
    assert evaluation.headline.label == "c"


def test_an_evaluation_without_conditions_has_no_headline() -> None:
    assert evaluation_with().headline is None


def test_null_is_a_number_that_could_not_be_computed() -> None:
    method = {"name": "m", "is_model": True, "r2": None, "r2_per_parcel": [0.1, None]}
    score = evaluation_with({"methods": [method]}).conditions[0].methods[0]
    assert math.isnan(score.r2.value)
    assert score.r2_per_parcel is not None
    assert math.isnan(score.r2_per_parcel[1])


def test_methods_are_listed_once_with_the_model_first() -> None:
    baseline, model = {"name": "Zero", "is_model": False}, {"name": "BrainLM", "is_model": True}
    evaluation = evaluation_with({"methods": [baseline, model]}, {"methods": [model, baseline]})
    assert evaluation.method_names == ("BrainLM", "Zero")
