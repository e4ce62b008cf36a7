"""Distances of parcels in a fold, against scikit-learn and scipy, and what they must not depend on."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.preprocessing import StandardScaler

from brainlm.evaluation.networks.distances import FARTHEST, METRICS, comparable
from brainlm.evaluation.networks.parcel_features import ParcelFeatures

TRAIN = np.arange(14)
ALL = np.arange(20)


@pytest.fixture
def values(rng):
    """Four recordings, 20 parcels, 7 numbers of very different spread."""
    return (rng.normal(size=(4, 20, 7)) * np.logspace(-2, 3, 7) + 5).astype(np.float32)


def features(values, combine) -> ParcelFeatures:
    return ParcelFeatures("made up", "signal", values, combine)


def equal(num: int = 4) -> np.ndarray:
    return np.full((1, num), 1 / num, np.float32)


def slow(flat, metric):
    """By the libraries, from one row a parcel."""
    scaled = StandardScaler().fit(flat[TRAIN]).transform(flat)
    found = cdist(scaled, scaled, metric)
    return found**2 / flat.shape[1] if metric == "euclidean" else found


@pytest.mark.parametrize("combine", ["mean", "concatenate"])
@pytest.mark.parametrize("metric", METRICS)
def test_distances_are_those_of_the_libraries(values, combine, metric):
    found = comparable(features(values, combine), ALL, equal()).sums(TRAIN).distances()[METRICS.index(metric)]
    wide = values.astype(float)
    flat = wide.mean(axis=0) if combine == "mean" else np.concatenate(list(wide), axis=1)
    np.testing.assert_allclose(found, slow(flat, metric), atol=2e-4)


@pytest.mark.parametrize("combine", ["mean", "concatenate"])
def test_weights_are_repetitions(values, combine):
    weights = np.array([[0.25, 0.25, 0.25, 0.25], [0.5, 0.0, 0.25, 0.25]], np.float32)
    both = comparable(features(values, combine), ALL, weights).sums(TRAIN)
    for weighting, chosen in enumerate(([0, 1, 2, 3], [0, 0, 2, 3])):
        alone = comparable(features(values[chosen], combine), ALL, equal()).sums(TRAIN)
        np.testing.assert_allclose(both.distances(weighting), alone.distances(), atol=2e-4)


@pytest.mark.parametrize("combine", ["mean", "concatenate"])
def test_training_parcels_do_not_know_the_test_parcels(values, combine):
    before = comparable(features(values, combine), ALL, equal()).sums(TRAIN).distances()
    changed = values.copy()
    changed[:, 14:] = 1e3 * changed[:, 14:] - 7
    after = comparable(features(changed, combine), ALL, equal()).sums(TRAIN).distances()
    np.testing.assert_array_equal(before[:, :14, :14], after[:, :14, :14])


def test_a_parcel_with_itself_is_compared_with_nobody(rng):
    """Two parcels are compared in the numbers that both know: without their own columns."""
    profile = rng.normal(size=(20, 20)).astype(np.float32)
    profile[ALL, ALL] = np.nan
    found = comparable(features(profile[None], "mean"), ALL, equal(1)).sums(TRAIN).distances()
    mean, spread = np.nanmean(profile[TRAIN], axis=0), np.nanstd(profile[TRAIN], axis=0)
    scaled = (profile - mean) / spread
    for metric, name in enumerate(METRICS):
        for one, other in ((0, 1), (3, 17), (18, 19)):
            shared = np.setdiff1d(ALL, [one, other])
            expected = cdist(scaled[[one]][:, shared], scaled[[other]][:, shared], name)[0, 0]
            expected = expected**2 / len(shared) if name == "euclidean" else expected
            assert found[metric, one, other] == pytest.approx(expected, abs=1e-4)


def test_a_parcel_without_signal_in_one_recording_is_compared_in_the_others(values):
    holed = values.copy()
    holed[1, 5] = np.nan
    found = comparable(features(holed, "concatenate"), ALL, equal()).sums(TRAIN).distances()
    others = np.concatenate(list(values[[0, 2, 3]].astype(float)), axis=1)
    for metric, name in enumerate(METRICS):
        expected = slow(others, name)
        assert found[metric, 5, 16] == pytest.approx(expected[5, 16], abs=1e-4)  # 5 as those see it who have it
    assert np.isfinite(found).all()


def test_a_parcel_without_any_signal_is_far_from_everybody(values):
    values[:, 5] = np.nan
    for combine in ("mean", "concatenate"):
        found = comparable(features(values, combine), ALL, equal()).sums(TRAIN).distances()
        assert (found[:, 5] == FARTHEST).all()
        assert np.isfinite(found).all()


def test_a_number_that_never_varies_does_not_count(values):
    constant = np.concatenate((values, np.full((4, 20, 1), 1234.5678, np.float32)), axis=2)
    for combine in ("mean", "concatenate"):
        found = [comparable(features(one, combine), ALL, equal()).sums(TRAIN).distances() for one in (values, constant)]
        np.testing.assert_allclose(found[0], found[1], atol=1e-5)
