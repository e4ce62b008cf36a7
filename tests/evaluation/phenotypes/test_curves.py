"""Curves have the areas that the scores say, and points no names."""

import numpy as np
import pytest

from brainlm.evaluation.phenotypes.curves import class_curves, predicted_points
from brainlm.evaluation.phenotypes.scores import Scoring

NUM, REPEATS = 200, 2


@pytest.fixture(params=[2, 3])
def judged(request, rng):
    """(scoring, predictions of a real but imperfect method)."""
    num_classes = request.param
    truth_N = rng.integers(0, num_classes, NUM).astype(float)
    strength = 1.5 * (truth_N[:, None] == np.arange(num_classes)) + rng.standard_normal((REPEATS, NUM, num_classes))
    values_RNK = np.exp(strength) / np.exp(strength).sum(axis=2, keepdims=True)
    fold_RN = np.stack([rng.integers(0, 5, NUM), rng.integers(5, 10, NUM)])
    prior_RNC = np.full((REPEATS, NUM, num_classes), 1 / num_classes)
    kind = "binary" if num_classes == 2 else "multiclass"
    scoring = Scoring(kind, truth_N, fold_RN, prior_RNC, rng.choice([0.5, 1.0], NUM), np.arange(NUM))
    return scoring, values_RNK[:, :, 1:] if num_classes == 2 else values_RNK


def test_areas_under_the_curves_are_the_scores(judged):
    scoring, values_RNK = judged
    curves = class_curves(scoring, values_RNK)
    everyone_N = np.ones(NUM, dtype=bool)
    scores = scoring._score(values_RNK, ["auroc", "auprc"], scoring.weights_N[:, None], everyone_N)
    fpr, tpr = np.array(curves["roc"]).T
    assert np.trapezoid(tpr, fpr) == pytest.approx(scores["auroc"][0], abs=0.005)
    recall, precision = np.array(curves["pr"]).T
    assert precision.mean() == pytest.approx(scores["auprc"][0], abs=0.01)
    assert len(fpr) <= 200
    assert len(recall) <= 200


def test_curves_rise_from_0_to_1(judged):
    fpr, tpr = np.array(class_curves(*judged)["roc"]).T
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert (np.diff(fpr) >= 0).all()
    assert (np.diff(tpr) >= 0).all()


def test_calibration_holds_everyone_once(judged):
    scoring, values_RNK = judged
    rows = np.array(class_curves(scoring, values_RNK)["calibration"])
    assert len(rows) == 10
    assert (np.diff(rows[:, 0]) > 0).all()
    assert rows[:, 2].sum() == pytest.approx(scoring.weights_N.sum(), rel=0.01)
    assert ((rows[:, 1] >= 0) & (rows[:, 1] <= 1)).all()


def test_a_constant_prediction_is_one_point_of_calibration_and_the_diagonal(judged):
    scoring, values_RNK = judged
    curves = class_curves(scoring, np.full_like(values_RNK, 1 / scoring.prior_RNC.shape[2]))
    assert len(curves["calibration"]) == 1
    np.testing.assert_allclose(*np.array(curves["roc"]).T, atol=1e-4)


def test_predicted_values_are_means_over_the_repeats_in_which_somebody_was_tested():
    fold_RN = np.array([[0, 0, -1], [1, -1, -1]])
    scoring = Scoring("regression", np.array([1.0, 2.0, 3.0]), fold_RN, np.zeros((2, 3, 0)), np.ones(3), np.arange(3))
    values_RNK = np.array([[[1.0], [5.0], [np.nan]], [[3.0], [np.nan], [np.nan]]])
    points = predicted_points(scoring, values_RNK, ["x", "y", "z"])
    assert points == {"true": [1.0, 2.0], "predicted": [2.0, 5.0], "site": ["x", "y"]}
