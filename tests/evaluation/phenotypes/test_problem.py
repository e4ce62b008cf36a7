"""The target of a fold is scaled by its training rows, and comes back in original units."""

import numpy as np
import pytest
from problems import problem_of

from brainlm.errors import ConfigError
from brainlm.evaluation.phenotypes.problem import Problem


def test_the_scale_is_the_weighted_mean_and_spread_of_training_rows(rng):
    values_N, weights_N = rng.normal(40.0, 9.0, size=20), rng.uniform(0.5, 1.5, size=20)
    problem = problem_of(values_N, weights=weights_N)
    scale = problem.scale_of(np.arange(12))
    standardised_M = scale.standardised(values_N[:12])
    assert np.average(standardised_M, weights=weights_N[:12]) == pytest.approx(0.0, abs=1e-12)
    assert np.average(standardised_M**2, weights=weights_N[:12]) == pytest.approx(1.0)


def test_labels_of_test_people_do_not_touch_the_scale():
    problem = problem_of([1.0, 2.0, 3.0, 4.0])
    changed = problem.with_values(np.array([1.0, 2.0, 3.0, 400.0]))
    train_M = np.array([0, 1, 2])
    assert problem.scale_of(train_M) == changed.scale_of(train_M)


@pytest.mark.parametrize("transform", ["none", "log"])
def test_predictions_come_back_in_original_units(transform):
    problem = problem_of([6.0, 20.0, 55.0], transform=transform)
    scale = problem.scale_of(np.arange(3))
    np.testing.assert_allclose(scale.original(scale.standardised(problem.values_N)), problem.values_N)


def test_a_logarithm_of_zero_is_refused_with_the_lowest_value():
    with pytest.raises(ConfigError, match="a lowest value of 0"):
        problem_of([0.0, 1.0, 2.0], transform="log")


def test_a_logarithm_of_classes_is_refused():
    with pytest.raises(ConfigError, match="2 classes"):
        problem_of([0, 1], num_classes=2, transform="log")


def test_recordings_of_a_cohort_share_their_subjects_vote(make_cohort):
    cohort = make_cohort(subject=["a", "a", "b"], values=[1.0, 2.0, 5.0], level="recording")
    problem = Problem.from_cohort(cohort, seed=3)
    assert problem.groups_N.tolist() == [0, 0, 1]
    np.testing.assert_allclose(problem.weights_N, [0.75, 0.75, 1.5])
    assert problem.seed == 3
