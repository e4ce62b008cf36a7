"""Confounds are learned from training rows, taken off both sides, and never the target itself."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from brainlm.errors import ConfigError, DataError
from brainlm.evaluation.phenotypes.adjusting import Adjustment, fold_features
from brainlm.evaluation.phenotypes.confounds import ConfoundRegression
from brainlm.evaluation.phenotypes.design import Design, check_confounds
from brainlm.evaluation.phenotypes.rotation import to_coordinates


@pytest.fixture
def table(rng):
    return pd.DataFrame(
        {"age": rng.uniform(7, 60, size=60), "site": np.tile(["A", "B", "C"], 20), "mean_fd": rng.uniform(size=60)}
    )


def test_numbers_stay_and_texts_become_one_column_a_category(table):
    design = Design.fit(table, ["age", "site"])
    assert design.names == ("age", "site=A", "site=B", "site=C")
    encoded_NC = design.encode(table)
    np.testing.assert_array_equal(encoded_NC[:, 0], table["age"])
    np.testing.assert_array_equal(encoded_NC[:3, 1:], np.eye(3))


def test_an_unseen_category_and_a_missing_number_become_the_training_mean_and_are_counted(table):
    design = Design.fit(table.iloc[:30], ["age", "site"])
    new = pd.DataFrame({"age": [30.0, np.nan, 20.0], "site": ["D", "A", None]})
    encoded_NC = design.encode(new)
    np.testing.assert_allclose(encoded_NC[0], [30.0, 1 / 3, 1 / 3, 1 / 3])
    np.testing.assert_allclose(encoded_NC[1], [table["age"][:30].mean(), 1, 0, 0])
    np.testing.assert_allclose(encoded_NC[2, 1:], 1 / 3)
    assert design.num_unseen(new) == 3
    assert design.num_unseen(table) == 0


def test_what_is_left_is_the_residual_of_a_linear_regression(table, rng):
    features = rng.normal(size=(60, 7)) + table["age"].to_numpy()[:, None] / 10
    regression = ConfoundRegression.fit(features[:40], table[:40], ["age", "mean_fd"], weights_M=np.ones(40))
    reference = LinearRegression().fit(table[["age", "mean_fd"]][:40], features[:40])
    expected = features - reference.predict(table[["age", "mean_fd"]]) + features[:40].mean(axis=0)
    np.testing.assert_allclose(regression.apply(features, table), expected)


def test_after_regression_training_features_know_nothing_linear_of_the_confounds(table, rng):
    features = (rng.normal(size=(60, 7)) + 3.0 * (table["site"] == "B").to_numpy()[:, None]).astype(np.float32)
    regression = ConfoundRegression.fit(features, table, ["age", "site"], weights_M=np.ones(60))
    left = regression.apply(features, table)
    assert left.dtype == np.float32
    design = regression.design.encode(table)
    np.testing.assert_allclose((design - design.mean(axis=0)).T @ left, 0.0, atol=1e-3)


def test_test_people_do_not_touch_the_regression(table, rng):
    features = rng.normal(size=(60, 90))
    train_M, test_L = np.arange(40), np.arange(40, 60)
    adjustment = Adjustment(confounds=("age", "site"))

    def prepared(features, table):
        return fold_features(
            features[train_M],
            features[test_L],
            adjustment=adjustment,
            table=table,
            train_M=train_M,
            test_L=test_L,
            weights_M=np.ones(40),
        )

    other_features, other_table = features.copy(), table.copy()
    other_features[40:], other_table.loc[40:, "age"], other_table.loc[40:, "site"] = 7.0, 99.0, "Z"
    before, after = prepared(features, table), prepared(other_features, other_table)
    np.testing.assert_array_equal(before.coordinates.train_MR, after.coordinates.train_MR)
    assert (before.num_unseen, after.num_unseen) == (0, 20)


def test_without_an_adjustment_features_are_only_rotated(table, rng):
    features = rng.normal(size=(60, 90))
    rows = {"train_M": np.arange(40), "test_L": np.arange(40, 60), "weights_M": np.ones(40)}
    plain = fold_features(features[:40], features[40:], adjustment=Adjustment(), table=table, **rows)
    np.testing.assert_array_equal(plain.coordinates.test_LR, to_coordinates(features[:40], features[40:]).test_LR)


@pytest.mark.parametrize("name", ["age", "age_days", "site"])
def test_the_target_is_refused_as_a_confound_under_any_name(table, name):
    table["age_days"] = table["age"] * 365.25
    values_N = table["age"].to_numpy()
    if name == "site":
        values_N = np.tile([2.0, 0.0, 1.0], 20)
    with pytest.raises(ConfigError, match="is the target itself"):
        check_confounds(table, ["mean_fd", name], target="age", values_N=values_N)


def test_other_confounds_are_let_through(table):
    check_confounds(table, ["site", "mean_fd"], target="age", values_N=table["age"].to_numpy())
    check_confounds(table, ["site", "age"], target="dx", values_N=np.tile([0.0, 1.0], 30))


def test_an_unknown_confound_is_refused_with_the_nearest_name(table):
    with pytest.raises(ConfigError, match="nearest: mean_fd"):
        Design.fit(table, ["mean_fdd"])


def test_a_column_of_names_or_without_values_is_refused(table):
    with pytest.raises(DataError, match="a text of its own"):
        Design.fit(table.assign(id=[f"person {n}" for n in range(60)]), ["id"])
    with pytest.raises(DataError, match="nobody in the training fold"):
        Design.fit(table.assign(iq=np.nan), ["iq"])
