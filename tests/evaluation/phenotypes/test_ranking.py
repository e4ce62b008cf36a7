"""Within-fold AUROC and average precision against scikit-learn, with weights and ties, and against chance."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from brainlm.evaluation.phenotypes.outcomes import Outcomes
from brainlm.evaluation.phenotypes.ranking import auprc, auroc, average_precision, within_fold_auroc


@pytest.fixture(params=["distinct", "tied"])
def ranked(request, rng):
    """(score, positive, weights of 12 resamples) of 60 units; weights of 0 are among them."""
    score_N = rng.standard_normal(60) if request.param == "distinct" else rng.integers(0, 4, 60) / 4.0
    positive_N = rng.random(60) < 0.4
    return score_N, positive_N, rng.poisson(1.0, (60, 12)) * rng.choice([0.5, 1.0], (60, 1))


def test_auroc_of_one_fold_is_that_of_scikit_learn(ranked):
    score_N, positive_N, weights_NB = ranked
    found = within_fold_auroc(score_N, positive_N, np.zeros(60, dtype=np.int64), weights_NB)
    expected = [roc_auc_score(positive_N, score_N, sample_weight=weight) for weight in weights_NB.T]
    np.testing.assert_allclose(found, expected)


def test_auroc_of_several_folds_is_a_count_over_their_own_pairs(ranked, rng):
    score_N, positive_N, weights_NB = ranked
    fold_N = rng.integers(3, 7, 60)
    found = within_fold_auroc(score_N, positive_N, fold_N, weights_NB)
    for weight, value in zip(weights_NB.T, found, strict=True):
        won, total = 0.0, 0.0
        for i in np.flatnonzero(positive_N):
            for j in np.flatnonzero(~positive_N & (fold_N == fold_N[i])):
                pair = weight[i] * weight[j]
                won += pair * ((score_N[i] > score_N[j]) + 0.5 * (score_N[i] == score_N[j]))
                total += pair
        assert value == pytest.approx(won / total)


def test_average_precision_is_that_of_scikit_learn(ranked):
    score_N, positive_N, weights_NB = ranked
    found = average_precision(score_N, positive_N, weights_NB)
    expected = [average_precision_score(positive_N, score_N, sample_weight=weight) for weight in weights_NB.T]
    np.testing.assert_allclose(found, expected)


def test_several_classes_are_averaged_one_against_the_rest(rng):
    truth_N = rng.integers(0, 3, 90).astype(float)
    probability_NK = rng.dirichlet(np.ones(3), 90)
    tested = Outcomes(truth_N, probability_NK, np.zeros(90, dtype=np.int64), np.full((90, 3), 1 / 3))
    weights_NB = rng.poisson(1.0, (90, 5)).astype(float)
    for weight, area, precision in zip(weights_NB.T, auroc(tested, weights_NB), auprc(tested, weights_NB), strict=True):
        # scikit-learn takes no weights for several classes: one by one.
        each = [(truth_N == c, probability_NK[:, c]) for c in range(3)]
        assert area == pytest.approx(np.mean([roc_auc_score(*one, sample_weight=weight) for one in each]))
        assert precision == pytest.approx(
            np.mean([average_precision_score(*one, sample_weight=weight) for one in each])
        )


def test_a_resample_with_one_class_has_no_auroc():
    score_N, positive_N = np.array([0.1, 0.9, 0.4]), np.array([False, True, False])
    weights_NB = np.array([[1.0, 1.0], [1.0, 0.0], [1.0, 2.0]])
    found = within_fold_auroc(score_N, positive_N, np.zeros(3, dtype=np.int64), weights_NB)
    np.testing.assert_array_equal(found, [1.0, np.nan])
    assert np.isnan(average_precision(score_N, positive_N, weights_NB)[1])


def test_a_fold_of_one_class_adds_nothing(rng):
    score_N, positive_N = rng.random(40), rng.random(40) < 0.5
    fold_N = np.repeat([0, 1], 20)
    positive_N[fold_N == 1] = True
    alone = within_fold_auroc(score_N[:20], positive_N[:20], fold_N[:20], np.ones((20, 1)))
    np.testing.assert_allclose(within_fold_auroc(score_N, positive_N, fold_N, np.ones((40, 1))), alone)


def test_who_knows_only_the_share_of_a_class_is_at_chance_within_folds_and_below_it_pooled(rng):
    positive_N = rng.random(200) < 0.5
    fold_N = rng.integers(0, 10, 200)
    share_N = np.array([positive_N[fold_N != fold].mean() for fold in fold_N])
    weights_NB = np.ones((200, 1))
    assert within_fold_auroc(share_N, positive_N, fold_N, weights_NB)[0] == 0.5
    assert within_fold_auroc(share_N, positive_N, np.zeros_like(fold_N), weights_NB)[0] < 0.45


def test_offsets_between_folds_do_not_move_auroc(rng):
    score_N, positive_N, fold_N = rng.random(80), rng.random(80) < 0.5, rng.integers(0, 5, 80)
    weights_NB = np.ones((80, 1))
    moved = within_fold_auroc(score_N + 3.0 * fold_N, positive_N, fold_N, weights_NB)
    np.testing.assert_allclose(moved, within_fold_auroc(score_N, positive_N, fold_N, weights_NB))
