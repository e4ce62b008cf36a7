"""k-NN on given distances against scikit-learn's, and against itself label map by label map."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier

from brainlm.evaluation.networks.distances import METRICS
from brainlm.evaluation.networks.neighbours import NUM_NEIGHBOURS, most_often, predict
from brainlm.evaluation.networks.parcel_folds import draw_folds


@pytest.fixture
def planted(make_labels, rng):
    """Labels, a fold, and three distances of which the second tells networks best."""
    labels = make_labels(3, 12)
    fold = draw_folds(labels.units, labels.numbers, folds=4, repeats=1, seed=0)[0]
    apart = labels.numbers[:, None] != labels.numbers[None]
    noise = rng.random((3, *apart.shape))
    noise = noise + noise.transpose(0, 2, 1)
    return labels, fold, (noise + np.array([0.05, 0.6, 0.1])[:, None, None] * apart).astype(np.float32)


def slow(distance_DQQ, fold, number_Q):
    """By scikit-learn: every metric and k in every inner fold, then the best of them."""
    train, number_M = fold.train_M, number_Q[fold.train_M]
    best = (-1.0, 0, 0)
    for metric in range(len(METRICS)):
        for k in NUM_NEIGHBOURS:
            said = np.empty(len(train), int)
            for inner in np.unique(fold.inner_M):
                learn, judge = train[fold.inner_M != inner], train[fold.inner_M == inner]
                said[fold.inner_M == inner] = votes(distance_DQQ[metric], learn, judge, number_Q, k)
            score = balanced_accuracy_score(number_M, said)
            if score > best[0] + 1e-6:
                best = (score, metric, k)
    return votes(distance_DQQ[best[1]], train, fold.test_N, number_Q, best[2]), best[1:]


def votes(distance_QQ, learn, judge, number_Q, k):
    """Ties go to whom the nearer neighbours vote for: a weight that falls a trifle from neighbour to neighbour."""
    ranked = KNeighborsClassifier(
        k, metric="precomputed", weights=lambda d: 1 + (d.shape[1] - np.argsort(np.argsort(d, axis=1), axis=1)) / 256
    )
    return ranked.fit(distance_QQ[np.ix_(learn, learn)], number_Q[learn]).predict(distance_QQ[np.ix_(judge, learn)])


def test_predictions_and_choices_are_those_of_a_slow_search(planted):
    labels, fold, distance_DQQ = planted
    found = predict(distance_DQQ, fold, labels.numbers.astype(np.int8)[None], num_networks=3)
    expected, (metric, k) = slow(distance_DQQ, fold, labels.numbers)
    assert (found.metric_L[0], found.k_L[0]) == (metric, k)
    assert metric == 1
    np.testing.assert_array_equal(found.number_LN[0], expected)


def test_many_label_maps_at_once_are_each_one_alone(planted, rng):
    labels, fold, distance_DQQ = planted
    maps = np.stack([rng.permutation(labels.numbers) for _ in range(5)]).astype(np.int8)
    together = predict(distance_DQQ, fold, maps, num_networks=3)
    for number in range(5):
        alone = predict(distance_DQQ, fold, maps[number : number + 1], num_networks=3)
        np.testing.assert_array_equal(together.number_LN[number], alone.number_LN[0])
        assert (together.k_L[number], together.metric_L[number]) == (alone.k_L[0], alone.metric_L[0])


def test_the_labels_of_test_parcels_change_nothing(planted):
    labels, fold, distance_DQQ = planted
    number_LQ = labels.numbers.astype(np.int8)[None]
    changed = number_LQ.copy()
    changed[:, fold.test_N] = (changed[:, fold.test_N] + 1) % 3
    one, other = (predict(distance_DQQ, fold, each, num_networks=3) for each in (number_LQ, changed))
    np.testing.assert_array_equal(one.number_LN, other.number_LN)


def test_few_training_parcels_leave_few_choices_of_k(make_labels, rng):
    labels = make_labels(2, 3)
    fold = draw_folds(labels.units, labels.numbers, folds=3, repeats=1, seed=0)[0]
    distance_DQQ = rng.random((3, 12, 12)).astype(np.float32)
    found = predict(distance_DQQ, fold, labels.numbers.astype(np.int8)[None], num_networks=2)
    assert found.k_L[0] <= fold.apart.sum(axis=1).min()


def test_what_was_chosen_most_often_is_a_pair():
    assert most_often(np.array([0, 0, 1, 1, 1]), np.array([1, 3, 5, 5, 3])) == ("cosine", 5)
