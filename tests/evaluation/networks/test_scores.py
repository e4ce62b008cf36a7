"""Scores of parcels: against scikit-learn, pairs drawn as one, clusters around their value."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix

from brainlm.evaluation.networks.scores import ParcelScoring, balanced_accuracy


@pytest.fixture
def scoring(make_labels):
    return ParcelScoring.of(make_labels(3, 8), num_bootstrap=400, seed=0)


def predictions(scoring, rng, right: float = 0.7, repeats: int = 3):
    said = rng.integers(3, size=(repeats, len(scoring.number_Q)))
    return np.where(rng.random(said.shape) < right, scoring.number_Q, said).astype(np.int8)


def test_scores_are_the_mean_over_repeats(scoring, rng):
    predicted = predictions(scoring, rng)
    found = scoring.scores(predicted)
    assert found["accuracy"].value == pytest.approx((predicted == scoring.number_Q).mean())
    balanced = [balanced_accuracy_score(scoring.number_Q, each) for each in predicted]
    assert found["balanced_accuracy"].value == pytest.approx(np.mean(balanced))


def test_intervals_draw_pairs_as_one(scoring, rng):
    """Pairs that are right or wrong together leave half as many independent parcels."""
    right = np.repeat(rng.random(24) < 0.6, 2)
    together = np.where(right, scoring.number_Q, (scoring.number_Q + 1) % 3)[None].astype(np.int8)
    interval = scoring.scores(together)["accuracy"]
    value = interval.value
    expected = 2 * 1.96 * np.sqrt(value * (1 - value) / 24)
    assert interval.high - interval.low == pytest.approx(expected, rel=0.2)


def test_a_method_differs_from_itself_by_nothing(scoring, rng):
    predicted = predictions(scoring, rng)
    difference = scoring.difference("accuracy", predicted, predicted)
    assert (difference.value, difference.low, difference.high) == (0.0, 0.0, 0.0)
    better = scoring.difference("accuracy", predictions(scoring, rng, 0.99), predictions(scoring, rng, 0.2))
    assert better.low > 0


def test_networks_missing_in_a_resample_do_not_count():
    assert balanced_accuracy(np.array([4.0, 0.0, 2.0, 3.0, 0.0, 1.0])) == pytest.approx((0.75 + 0.5) / 2)


def test_the_confusion_has_the_truth_in_its_rows(scoring, rng):
    predicted = predictions(scoring, rng, repeats=1)
    expected = confusion_matrix(scoring.number_Q, predicted[0], normalize="true")
    np.testing.assert_allclose(scoring.confusion(predicted), expected)


def test_clusters_that_are_the_networks_agree_fully_in_every_resample(scoring):
    found = scoring.clustering(scoring.number_Q.astype(np.int8))
    for score in found.values():
        assert (score.value, score.low, score.high) == (1.0, 1.0, 1.0)


def test_the_interval_of_clusters_holds_their_value(scoring, rng):
    for name, score in scoring.clustering(predictions(scoring, rng, 0.5, 1)[0]).items():
        assert score.low < score.value < score.high, name
