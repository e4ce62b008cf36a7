"""R2, MAE and within-fold r against scikit-learn and scipy, with weights, and what pooling would do."""

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import mean_absolute_error, r2_score

from brainlm.evaluation.phenotypes.outcomes import Outcomes
from brainlm.evaluation.phenotypes.regression_scores import mae, r2, within_fold_r

NUM = 80


def outcomes(truth_N, predicted_N, fold_N) -> Outcomes:
    return Outcomes(truth_N, predicted_N[:, None], fold_N, np.zeros((len(truth_N), 0)))


@pytest.fixture
def ages(rng):
    """Far from 0, as ages and volumes are, in four folds."""
    truth_N = 1000.0 + 8 * rng.standard_normal(NUM)
    return outcomes(truth_N, 0.5 * truth_N + 500 + 3 * rng.standard_normal(NUM), rng.integers(2, 6, NUM))


def test_r2_and_mae_are_those_of_scikit_learn(ages, rng):
    weights_NB = rng.poisson(1.0, (NUM, 6)) * rng.choice([0.5, 1.0], (NUM, 1))
    for weight, one, other in zip(weights_NB.T, r2(ages, weights_NB), mae(ages, weights_NB), strict=True):
        assert one == pytest.approx(r2_score(ages.truth_N, ages.predicted_NK[:, 0], sample_weight=weight))
        assert other == pytest.approx(mean_absolute_error(ages.truth_N, ages.predicted_NK[:, 0], sample_weight=weight))


def test_r_is_that_of_deviations_from_the_means_of_folds(ages, rng):
    weights_NB = rng.poisson(1.0, (NUM, 6)).astype(float)
    for weight, found in zip(weights_NB.T, within_fold_r(ages, weights_NB), strict=True):
        people = np.repeat(np.arange(NUM), weight.astype(int))
        y, p, fold = ages.truth_N[people], ages.predicted_NK[people, 0], ages.fold_N[people]
        for number in np.unique(fold):
            y[fold == number] -= y[fold == number].mean()
            p[fold == number] -= p[fold == number].mean()
        assert found == pytest.approx(pearsonr(y, p).statistic)


def test_r_of_one_fold_is_that_of_scipy(ages):
    alone = outcomes(ages.truth_N, ages.predicted_NK[:, 0], np.zeros(NUM, dtype=np.int64))
    expected = pearsonr(ages.truth_N, ages.predicted_NK[:, 0]).statistic
    assert within_fold_r(alone, np.ones((NUM, 1)))[0] == pytest.approx(expected)


def test_who_predicts_the_mean_has_no_r_and_an_r2_just_below_0(rng):
    truth_N, fold_N = 1000.0 + rng.standard_normal(NUM), rng.integers(0, 5, NUM)
    mean_N = np.array([truth_N[fold_N != fold].mean() for fold in fold_N])
    tested = outcomes(truth_N, mean_N, fold_N)
    assert np.isnan(within_fold_r(tested, np.ones((NUM, 1)))).all()
    assert -0.2 < r2(tested, np.ones((NUM, 1)))[0] < 0
    assert pearsonr(truth_N, mean_N).statistic < -0.1  # what pooling would have said


def test_offsets_between_folds_do_not_move_r(ages):
    moved = outcomes(ages.truth_N, ages.predicted_NK[:, 0] + 50.0 * ages.fold_N, ages.fold_N)
    weights_NB = np.ones((NUM, 1))
    np.testing.assert_allclose(within_fold_r(moved, weights_NB), within_fold_r(ages, weights_NB))


def test_r2_is_not_clipped(ages):
    far = outcomes(ages.truth_N, ages.predicted_NK[:, 0] + 100.0, ages.fold_N)
    assert r2(far, np.ones((NUM, 1)))[0] < -50


def test_a_resample_in_which_a_fold_is_empty_is_judged_by_the_others(ages):
    weight_N = (ages.fold_N != 2).astype(float)
    rest = np.flatnonzero(weight_N)
    alone = outcomes(ages.truth_N[rest], ages.predicted_NK[rest, 0], ages.fold_N[rest])
    assert within_fold_r(ages, weight_N[:, None])[0] == pytest.approx(within_fold_r(alone, np.ones((len(rest), 1)))[0])
