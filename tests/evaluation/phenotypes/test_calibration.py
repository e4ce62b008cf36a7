"""Decisions and calibration against scikit-learn with weights, and their edges."""

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, brier_score_loss

from brainlm.evaluation.phenotypes.calibration import (
    balanced_accuracy,
    brier,
    calibration_slope,
    decisions,
    expected_calibration_error,
)
from brainlm.evaluation.phenotypes.outcomes import Outcomes

NUM = 120


def binary(rng, *, prior: float = 0.5, sharpness: float = 1.0) -> Outcomes:
    p_N = 1 / (1 + np.exp(-rng.standard_normal(NUM)))
    truth_N = (rng.random(NUM) < p_N).astype(float)
    given_N = 1 / (1 + ((1 - p_N) / p_N) ** sharpness)
    return Outcomes(truth_N, given_N[:, None], np.zeros(NUM, dtype=np.int64), np.tile([1 - prior, prior], (NUM, 1)))


def several(rng) -> Outcomes:
    truth_N = rng.integers(0, 3, NUM).astype(float)
    return Outcomes(truth_N, rng.dirichlet(np.ones(3), NUM), np.zeros(NUM, dtype=np.int64), np.full((NUM, 3), 1 / 3))


@pytest.fixture
def drawn(rng):
    """Weights in 8 resamples, 0 among them."""
    return rng.poisson(1.0, (NUM, 8)) * rng.choice([0.5, 1.0], (NUM, 1))


@pytest.mark.parametrize("make", [binary, several])
def test_balanced_accuracy_and_brier_are_those_of_scikit_learn(make, rng, drawn):
    weights_NB = drawn
    tested = make(rng)
    called_N = decisions(tested)
    probability = tested.predicted_NK[:, 0] if make is binary else tested.predicted_NK
    for weight, accuracy, error in zip(
        weights_NB.T, balanced_accuracy(tested, weights_NB), brier(tested, weights_NB), strict=True
    ):
        assert accuracy == pytest.approx(balanced_accuracy_score(tested.truth_N, called_N, sample_weight=weight))
        assert error == pytest.approx(brier_score_loss(tested.truth_N, probability, sample_weight=weight))


def test_with_equal_shares_the_likelier_class_is_called(rng):
    tested = binary(rng)
    np.testing.assert_array_equal(decisions(tested), tested.predicted_NK[:, 0] > 0.5)


def test_a_rare_class_is_called_above_its_share_among_the_training_people(rng):
    tested = binary(rng, prior=0.1)
    np.testing.assert_array_equal(decisions(tested), tested.predicted_NK[:, 0] > 0.1)


def test_who_predicts_the_share_has_a_balanced_accuracy_of_chance(rng):
    prior_NC = np.tile([0.7, 0.3], (NUM, 1))
    tested = Outcomes(
        (rng.random(NUM) < 0.3).astype(float), prior_NC[:, 1:] + 1e-15, np.zeros(NUM, dtype=int), prior_NC
    )
    assert balanced_accuracy(tested, np.ones((NUM, 1)))[0] == 0.5


def test_the_slope_is_that_of_a_logistic_regression_on_the_logit(rng, drawn):
    weights_NB = drawn
    tested = binary(rng, sharpness=2.0)
    logit_N1 = np.log(tested.predicted_NK / (1 - tested.predicted_NK))
    for weight, slope in zip(weights_NB.T, calibration_slope(tested, weights_NB), strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
            reference.fit(logit_N1, tested.truth_N, sample_weight=weight)
        assert slope == pytest.approx(reference.coef_[0, 0], rel=1e-4)


def test_the_slope_is_1_for_right_probabilities_and_halved_for_twice_too_extreme_ones(rng):
    weights_NB = np.full((NUM, 1), 1.0)
    state = rng.bit_generator.state
    right = calibration_slope(binary(rng), weights_NB)[0]
    rng.bit_generator.state = state
    assert calibration_slope(binary(rng, sharpness=2.0), weights_NB)[0] == pytest.approx(right / 2, rel=1e-6)
    assert right == pytest.approx(1.0, abs=0.5)


def test_there_is_no_slope_without_variation_within_folds(rng):
    fold_N = rng.integers(0, 5, NUM)
    tested = Outcomes(
        (rng.random(NUM) < 0.5).astype(float), 0.4 + 0.05 * fold_N[:, None], fold_N, np.full((NUM, 2), 0.5)
    )
    assert np.isnan(calibration_slope(tested, np.ones((NUM, 3)))).all()


def test_there_is_no_slope_where_the_prediction_separates_the_classes_or_one_class_is_left(rng):
    p_N = np.linspace(0.01, 0.99, NUM)
    truth_N = (p_N > 0.5).astype(float)
    tested = Outcomes(truth_N, p_N[:, None], np.zeros(NUM, dtype=np.int64), np.full((NUM, 2), 0.5))
    assert np.isnan(calibration_slope(tested, np.ones((NUM, 2)))).all()
    mixed = binary(rng)
    weights_NB = np.stack([np.ones(NUM), mixed.truth_N], axis=1)
    known, unknown = np.isfinite(calibration_slope(mixed, weights_NB))
    assert known
    assert not unknown


def test_certainty_has_a_finite_slope_and_no_warning(rng):
    truth_N = (rng.random(NUM) < 0.5).astype(float)
    p_N = np.where(rng.random(NUM) < 0.8, truth_N, 1 - truth_N)
    tested = Outcomes(truth_N, p_N[:, None], np.zeros(NUM, dtype=np.int64), np.full((NUM, 2), 0.5))
    assert 0 < calibration_slope(tested, np.ones((NUM, 1)))[0] < 0.5


def test_the_calibration_error_is_a_loop_over_bins(rng, drawn):
    weights_NB = drawn
    tested = several(rng)
    top_N, right_N = tested.predicted_NK.max(axis=1), tested.predicted_NK.argmax(axis=1) == tested.truth_N
    for weight, found in zip(weights_NB.T, expected_calibration_error(tested, weights_NB), strict=True):
        expected = 0.0
        for low in np.arange(10) / 10:
            inside = (top_N >= low) & (top_N < low + 0.1)
            if weight[inside].sum() > 0:
                gap = np.average(top_N[inside] - right_N[inside], weights=weight[inside])
                expected += weight[inside].sum() / weight.sum() * abs(gap)
        assert found == pytest.approx(expected)
