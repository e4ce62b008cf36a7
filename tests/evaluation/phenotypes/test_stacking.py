"""Late fusion uses what each block knows, ignores what knows nothing, and never trains on its own predictions."""

import numpy as np
import pytest
from problems import dealt, problem_of
from sklearn.metrics import r2_score, roc_auc_score

from brainlm.evaluation.phenotypes.estimators import fit_predict
from brainlm.evaluation.phenotypes.rotation import to_coordinates
from brainlm.evaluation.phenotypes.stacking import stack

NUM_TRAIN = 200


def fits_of(blocks, problem):
    train_M, inner = np.arange(NUM_TRAIN), dealt(NUM_TRAIN, 3)
    return [
        fit_predict("linear", to_coordinates(block[:NUM_TRAIN], block[NUM_TRAIN:]), problem, train_M, inner=inner)
        for block in blocks
    ], inner


def test_two_blocks_that_know_different_things_are_better_together(rng):
    first, second = rng.normal(size=(300, 10)), rng.normal(size=(300, 10))
    values_N = 20.0 + first[:, 0] + second[:, 0] + 0.5 * rng.normal(size=300)
    problem = problem_of(values_N)
    fits, inner = fits_of([first, second], problem)
    stacked = stack(fits, problem, np.arange(NUM_TRAIN), inner=inner)
    test_L = values_N[NUM_TRAIN:]
    alone = [r2_score(test_L, fit.predicted_LK[:, 0]) for fit in fits]
    assert r2_score(test_L, stacked.fit.predicted_LK[:, 0]) > max(alone) + 0.2
    assert 0.5 < stacked.weights_B[0] / stacked.weights_B[1] < 2.0


def test_a_block_of_noise_gets_next_to_no_weight_and_does_no_harm(rng):
    # More features than rows: fitted to its own training rows, noise would look perfect.
    signal, noise = rng.normal(size=(300, 10)), rng.normal(size=(300, 400))
    classes_N = (signal[:, 0] + 0.5 * rng.normal(size=300) > 0).astype(int)
    problem = problem_of(classes_N, num_classes=2)
    fits, inner = fits_of([signal, noise], problem)
    stacked = stack(fits, problem, np.arange(NUM_TRAIN), inner=inner)
    test_L = classes_N[NUM_TRAIN:]
    alone = roc_auc_score(test_L, fits[0].predicted_LK[:, 0])
    assert roc_auc_score(test_L, stacked.fit.predicted_LK[:, 0]) > alone - 0.02
    assert abs(stacked.weights_B[1]) < 0.25 * stacked.weights_B[0]


def test_three_classes_are_fused_into_probabilities(rng):
    classes_N = rng.integers(0, 3, size=300)
    blocks = [rng.normal(size=(300, 3)) + 1.5 * np.eye(3)[classes_N] for _ in range(2)]
    problem = problem_of(classes_N, num_classes=3)
    fits, inner = fits_of(blocks, problem)
    stacked = stack(fits, problem, np.arange(NUM_TRAIN), inner=inner)
    np.testing.assert_allclose(stacked.fit.predicted_LK.sum(axis=1), 1.0)
    correct = [(f.predicted_LK.argmax(axis=1) == classes_N[NUM_TRAIN:]).mean() for f in (*fits, stacked.fit)]
    assert correct[2] > max(correct[:2])
    assert (stacked.weights_B > 0).all()


def test_a_block_that_says_the_same_of_everybody_weighs_nothing(rng):
    signal, silent = rng.normal(size=(300, 4)), np.ones((300, 4))
    problem = problem_of(30.0 + signal[:, 0])
    fits, inner = fits_of([signal, silent], problem)
    stacked = stack(fits, problem, np.arange(NUM_TRAIN), inner=inner)
    assert stacked.weights_B[0] > 0.9
    assert abs(stacked.weights_B[1]) < 0.1


def test_test_labels_do_not_reach_the_fusion(rng):
    blocks = [rng.normal(size=(300, 5)) for _ in range(2)]
    values_N = rng.normal(size=300)
    other_N = np.where(np.arange(300) < NUM_TRAIN, values_N, -values_N)
    fused = []
    for labels_N in (values_N, other_N):
        problem = problem_of(labels_N)
        fits, inner = fits_of(blocks, problem)
        fused.append(stack(fits, problem, np.arange(NUM_TRAIN), inner=inner).fit.predicted_LK)
    np.testing.assert_array_equal(*fused)


def test_one_block_is_not_a_fusion(rng):
    problem = problem_of(rng.normal(size=300))
    fits, inner = fits_of([rng.normal(size=(300, 2))], problem)
    with pytest.raises(AssertionError, match="nothing to be fused with"):
        stack(fits, problem, np.arange(NUM_TRAIN), inner=inner)
