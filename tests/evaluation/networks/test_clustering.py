"""Clusters and their agreement with labels, against scikit-learn."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from brainlm.evaluation.networks.clustering import adjusted_rand, clusters_of, contingency, normalised_information


def test_agreement_is_that_of_scikit_learn(rng):
    for _ in range(5):
        cluster, number = rng.integers(4, size=50).astype(np.int8), rng.integers(3, size=50)
        table = contingency(cluster, number, np.ones((1, 50)))
        assert adjusted_rand(table)[0] == pytest.approx(adjusted_rand_score(number, cluster))
        assert normalised_information(table)[0] == pytest.approx(normalized_mutual_info_score(number, cluster))


def test_weights_are_repetitions(rng):
    cluster, number = rng.integers(3, size=30).astype(np.int8), rng.integers(3, size=30)
    weights = rng.integers(3, size=30)
    table = contingency(cluster, number, weights[None].astype(float))
    repeated = np.repeat(np.arange(30), weights)
    assert adjusted_rand(table)[0] == pytest.approx(adjusted_rand_score(number[repeated], cluster[repeated]))


def test_the_same_partition_agrees_fully_whatever_it_is_called():
    table = contingency(np.array([2, 2, 0, 0, 1], np.int8), np.array([0, 0, 1, 1, 2]), np.ones((1, 5)))
    assert adjusted_rand(table)[0] == normalised_information(table)[0] == 1.0


def test_planted_clusters_are_found_from_distances_alone(rng):
    number = np.repeat(np.arange(4), 10)
    places = rng.normal(size=(4, 6))[number] * 8 + rng.normal(size=(40, 6))
    squared = cdist(places, places, "sqeuclidean").astype(np.float32)
    found = clusters_of(squared, num_clusters=4, seed=0)
    assert adjusted_rand_score(number, found) == 1.0
    np.testing.assert_array_equal(found, clusters_of(squared, num_clusters=4, seed=0))


def test_parcels_that_are_all_the_same_are_one_cluster():
    assert set(clusters_of(np.zeros((12, 12), np.float32), num_clusters=3, seed=0)) == {0}


def test_fewer_different_parcels_than_clusters_are_no_warning():
    number = np.repeat(np.arange(2), 6)
    squared = (number[:, None] != number[None]).astype(np.float32)
    found = clusters_of(squared, num_clusters=5, seed=0)
    assert adjusted_rand_score(number, found) == 1.0
