"""Predictions as a table: numbers and classes, recordings of a person, names that look like formulas."""

import numpy as np
import pandas as pd
import pytest

from brainlm.evaluation.phenotypes.folds import Fold
from brainlm.evaluation.phenotypes.predictions import Predictions
from brainlm.evaluation.phenotypes.score_table import prediction_table
from brainlm.evaluation.phenotypes.targets import Cohort, Target
from brainlm.files import csv_text

FOLDS = (Fold("1", 0, np.array([2, 3]), np.array([0, 1])), Fold("2", 0, np.array([0, 1]), np.array([2, 3])))


def cohort_of(kind, values, classes=(), level="subject"):
    table = pd.DataFrame({"subject": ["=A1", "b", "c", "d"], "site": ["x", "x", "y", "y"]})
    if level == "recording":
        table = table.assign(session="", task="rest", run=["1", "2", "1", "2"])
    target = Target("dx", kind, np.asarray(values, dtype=float), classes)
    return Cohort(table, tuple(np.array([row]) for row in range(4)), target, level)


def predictions_of(values):
    return Predictions("Main", "model", "", 0.0, "", False, np.asarray(values, dtype=float)[None])


def test_numbers_stand_beside_what_was_observed():
    predictions = predictions_of([[1.5], [2.5], [3.5], [4.5]])
    table = prediction_table(cohort_of("regression", [1, 2, 3, 4], level="recording"), FOLDS, [predictions])
    assert list(table.columns[:5]) == ["subject", "session", "task", "run", "site"]
    assert table["predicted"].tolist() == [1.5, 2.5, 3.5, 4.5]
    assert table["observed"].tolist() == [1, 2, 3, 4]
    assert table["fold"].tolist() == ["1", "1", "2", "2"]


@pytest.mark.parametrize("num_classes", [2, 3])
def test_classes_have_the_likeliest_and_probabilities(num_classes):
    classes = ("low", "mid", "high")[:num_classes]
    values = [[0.9], [0.1], [0.8], [0.2]] if num_classes == 2 else np.eye(3)[[0, 1, 2, 0]] * 0.7 + 0.1
    kind = "binary" if num_classes == 2 else "multiclass"
    table = prediction_table(cohort_of(kind, [1, 0, 1, 0], classes), FOLDS, [predictions_of(values)])
    expected = ["mid", "low", "mid", "low"] if num_classes == 2 else ["low", "mid", "high", "low"]
    assert table["predicted"].tolist() == expected
    assert table["observed"].tolist() == ["mid", "low", "mid", "low"]
    assert table.filter(like="probability_").shape[1] == (1 if num_classes == 2 else 3)


def test_a_name_that_is_a_formula_is_written_as_text():
    table = prediction_table(cohort_of("regression", [1, 2, 3, -4]), FOLDS, [predictions_of([[1.0], [2], [3], [-4]])])
    lines = csv_text(table).splitlines()
    assert lines[1].startswith("'=A1,")
    assert lines[4].endswith("-4.0")
