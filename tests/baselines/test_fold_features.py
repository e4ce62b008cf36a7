"""Units in rows, fitted to nobody outside the training part."""

import numpy as np
import pytest

from brainlm.baselines.fold_features import FittedFeatures, FixedFeatures, FoldFeatures, mean_by_unit
from brainlm.baselines.raw_series import PrincipalFeatures
from brainlm.baselines.tangent import Tangent


def spread_covariances(rng, num: int) -> np.ndarray:
    root = rng.standard_normal((num, 5, 20))
    return (root @ root.transpose(0, 2, 1) / 20).astype(np.float32)


def every_kind(rng) -> dict[str, FoldFeatures]:
    one_each = [np.array([unit]) for unit in range(12)]
    return {
        "fixed": FixedFeatures(rng.standard_normal((12, 4)).astype(np.float32)),
        "components": PrincipalFeatures(rng.standard_normal((12, 30)).astype(np.float32), num_components=3),
        "tangent": Tangent(spread_covariances(rng, 12), one_each),
    }


@pytest.mark.parametrize("kind", ["fixed", "components", "tangent"])
def test_units_that_are_not_trained_on_change_nothing_but_their_own_rows(kind):
    features, changed = every_kind(np.random.default_rng(0))[kind], every_kind(np.random.default_rng(0))[kind]
    values = changed.covariances_RPP if kind == "tangent" else changed.values_NF
    values[8:] *= 3  # the test units
    train, everybody = np.arange(8), np.arange(12)
    rows, rows_changed = (each.fit(train).transform(everybody) for each in (features, changed))
    np.testing.assert_array_equal(rows[:8], rows_changed[:8])
    assert not np.allclose(rows[8:], rows_changed[8:])


@pytest.mark.parametrize("kind", ["fixed", "components", "tangent"])
def test_rows_come_in_the_order_asked_for_and_one_by_one_alike(rng, kind):
    features = every_kind(rng)[kind]
    assert isinstance(features, FoldFeatures)
    assert features.num_units == 12
    fitted = features.fit(np.arange(8))
    assert isinstance(fitted, FittedFeatures)
    rows = fitted.transform(np.array([10, 3, 7]))
    assert rows.dtype == np.float32
    for row, unit in zip(rows, (10, 3, 7), strict=True):
        np.testing.assert_allclose(row, fitted.transform(np.array([unit]))[0], atol=1e-5)


def test_means_leave_out_what_is_missing():
    values = np.array([[1, np.nan, np.nan], [3, 5, np.nan], [7, 8, 9]], np.float32)
    means = mean_by_unit(values, [np.array([2]), np.array([0, 1])])
    np.testing.assert_array_equal(means, np.array([[7, 8, 9], [2, 5, np.nan]], np.float32))


def test_units_of_one_recording_are_their_recordings(rng):
    values = rng.standard_normal((3, 4)).astype(np.float32)
    values[1, 2] = np.nan
    np.testing.assert_array_equal(mean_by_unit(values, [np.array([2]), np.array([1])]), values[[2, 1]])


def test_one_recording_a_unit_in_order_costs_no_copy():
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert mean_by_unit(values, [np.array([row]) for row in range(3)]) is values
