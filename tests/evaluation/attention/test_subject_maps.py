"""Recordings become subjects, subjects a map with intervals; maps are compared by ranks."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from brainlm.evaluation.attention.subject_maps import (
    Subjects,
    consistency,
    map_intervals,
    mean_map,
    rank_correlation,
    rounded,
    spearman,
)
from brainlm.evaluation.statistics import SubjectBootstrap, expanded_tail


def test_recordings_of_a_subject_are_averaged_and_prefixes_do_not_matter():
    subjects = Subjects.of(pd.DataFrame({"subject": ["b", "sub-a", "a", "b"]}))
    assert subjects.names == ("a", "b")
    means = subjects.means(np.array([[1.0, 2], [3, np.nan], [5, 8], [3, 4]]))
    np.testing.assert_array_equal(means, [[4, 8], [2, 3]])


def test_a_parcel_nobody_has_stays_unknown():
    np.testing.assert_array_equal(mean_map(np.array([[1.0, np.nan], [3, np.nan]])), [2, np.nan])


def test_intervals_are_those_of_resampled_means(rng):
    maps_SP = rng.normal(size=(9, 4))
    maps_SP[2, 1] = np.nan
    resamples = SubjectBootstrap.draw(9, num_bootstrap=300, seed=0)
    found = map_intervals(resamples, maps_SP)
    by_hand = []
    for counts in resamples.counts_RS:
        drawn = np.repeat(maps_SP, counts, axis=0)
        by_hand.append(np.nanmean(drawn, axis=0))
    low, high = np.quantile(by_hand, [expanded_tail(9, 0.95), 1 - expanded_tail(9, 0.95)], axis=0)
    np.testing.assert_allclose([one.low for one in found], low)
    np.testing.assert_allclose([one.high for one in found], high)
    assert found[1].value == pytest.approx(np.nanmean(maps_SP[:, 1]))


def test_correlation_of_maps_is_spearmans_over_known_parcels(rng):
    first, second = rng.normal(size=(2, 3, 20))
    first[:, 4] = np.nan
    known = np.arange(20) != 4
    expected = [stats.spearmanr(a[known], b[known]).statistic for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(spearman(first, second), expected)
    assert np.isnan(spearman(np.ones((1, 5)), rng.normal(size=(1, 5))))[0]


def test_maps_that_are_the_same_but_for_noise_correlate_with_an_interval(rng):
    truth = rng.normal(size=40)
    maps, others = (truth + 0.3 * rng.normal(size=(12, 40)) for _ in range(2))
    found = rank_correlation(SubjectBootstrap.draw(12, num_bootstrap=200, seed=0), maps, others)
    assert 0.8 < found.low < found.value <= 1


def test_consistency_is_high_for_one_map_and_nothing_for_noise(rng):
    resamples = SubjectBootstrap.draw(20, num_bootstrap=200, seed=0)
    alike = rng.normal(size=50) + 0.5 * rng.normal(size=(20, 50))
    assert consistency(resamples, alike).low > 0.7
    noise = consistency(resamples, rng.normal(size=(20, 50)))
    assert noise.low < 0 < noise.high
    assert consistency(SubjectBootstrap.draw(1, num_bootstrap=5, seed=0), alike[:1]).as_dict()["value"] is None


def test_numbers_are_rounded_to_significant_digits():
    np.testing.assert_array_equal(rounded(np.array([[0.0012345678, np.nan]]), 3), [[0.00123, np.nan]])
