"""Coordinates of a fold: exact for linear models, and fitted on training rows alone."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from brainlm.evaluation.phenotypes.imputing import fill_gaps
from brainlm.evaluation.phenotypes.rotation import to_coordinates


def sides(rng, num_features, *, num_train=24, num_test=7):
    mixing = rng.normal(size=(num_features, num_features)) / np.sqrt(num_features)
    return rng.normal(size=(num_train, num_features)) @ mixing + 3.0, rng.normal(size=(num_test, num_features)) @ mixing


@pytest.mark.parametrize("num_features", [5, 90, 2500])
def test_ridge_in_coordinates_is_ridge_on_standardised_features(rng, num_features):
    train, test = (
        sides(rng, num_features) if num_features < 1000 else (rng.normal(size=(24, 2500)), rng.normal(size=(7, 2500)))
    )
    values_M, weights_M = rng.normal(size=24), rng.uniform(0.2, 2.0, size=24)
    shares_M = weights_M / weights_M.sum()
    mean, sd = shares_M @ train, np.sqrt(shares_M @ (train - shares_M @ train) ** 2)
    direct = Ridge(30.0).fit((train - mean) / sd, values_M, sample_weight=weights_M).predict((test - mean) / sd)
    coordinates = to_coordinates(train, test, weights_M=weights_M)
    assert coordinates.train_MR.shape[1] <= min(num_features, 23)
    short = Ridge(30.0 * coordinates.scale**2).fit(coordinates.train_MR, values_M, sample_weight=weights_M)
    np.testing.assert_allclose(short.predict(coordinates.test_LR), direct, rtol=1e-7)


def test_logistic_regression_and_a_linear_svm_are_the_same_in_coordinates(rng):
    train, test = sides(rng, 90)
    classes_M = (train[:, 0] + rng.normal(size=24) > 3.0).astype(int)
    scaler = StandardScaler().fit(train)
    coordinates = to_coordinates(train, test)
    for make in (
        lambda scale: LogisticRegression(C=0.01 / scale**2, tol=1e-10, max_iter=5000),
        lambda scale: SVC(kernel="linear", C=0.01 / scale**2, tol=1e-8),
    ):
        direct = make(1.0).fit(scaler.transform(train), classes_M).decision_function(scaler.transform(test))
        short = make(coordinates.scale).fit(coordinates.train_MR, classes_M)
        np.testing.assert_allclose(short.decision_function(coordinates.test_LR), direct, rtol=1e-4, atol=1e-6)


def test_coordinates_have_mean_variance_one_and_mean_zero(rng):
    for num_features in (6, 300):
        train_MR = to_coordinates(*sides(rng, num_features)).train_MR
        np.testing.assert_allclose(train_MR.mean(axis=0), 0.0, atol=1e-10)
        assert train_MR.var(axis=0).mean() == pytest.approx(1.0)


def test_a_test_row_changes_neither_the_training_rows_nor_another_test_row(rng):
    train, test = sides(rng, 90)
    outlying = test.copy()
    outlying[0] = 1e4
    before, after = to_coordinates(train, test), to_coordinates(train, outlying)
    np.testing.assert_array_equal(before.train_MR, after.train_MR)
    np.testing.assert_allclose(before.test_LR[1:], after.test_LR[1:], rtol=1e-10)


def test_columns_that_are_constant_among_training_rows_are_dropped(rng):
    train, test = sides(rng, 8)
    train[:, 2], train[:, 5] = 0.1, np.nan
    coordinates = to_coordinates(train, test)
    assert coordinates.num_constant == 2
    assert coordinates.train_MR.shape[1] == 6
    assert np.isfinite(coordinates.test_LR).all()


def test_features_without_any_variation_leave_one_silent_coordinate():
    coordinates = to_coordinates(np.ones((4, 3)), np.ones((2, 3)))
    np.testing.assert_array_equal(coordinates.train_MR, np.zeros((4, 1)))
    assert coordinates.num_constant == 3


def test_gaps_become_the_median_of_training_rows(rng):
    train, test = rng.normal(size=(9, 4)), rng.normal(size=(3, 4))
    train[[0, 3, 4], 1], train[7, 2], test[1, 0], test[2, 3] = np.nan, np.inf, np.nan, np.nan
    filled = fill_gaps(train, test)
    known = np.where(np.isfinite(train), train, np.nan)
    for column in range(4):
        median = np.nanmedian(known[:, column])
        gaps = ~np.isfinite(train[:, column])
        np.testing.assert_allclose(filled.train_MF[gaps, column], median)
        np.testing.assert_allclose(filled.test_LF[~np.isfinite(test[:, column]), column], median)


def test_features_without_gaps_are_not_copied(rng):
    train, test = rng.normal(size=(5, 3)), rng.normal(size=(2, 3))
    filled = fill_gaps(train, test)
    assert filled.train_MF is train
    assert filled.test_LF is test


def test_single_precision_features_give_the_same_coordinates(rng):
    train, test = sides(rng, 90)
    double, single = to_coordinates(train, test), to_coordinates(train.astype(np.float32), test.astype(np.float32))
    np.testing.assert_allclose(single.test_LR @ single.train_MR.T, double.test_LR @ double.train_MR.T, atol=1e-4)
