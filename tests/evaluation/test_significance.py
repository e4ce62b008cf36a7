"""Permutation p is valid and never 0; the adjustment is that of Benjamini and Hochberg."""

import numpy as np
import pytest

from brainlm.evaluation.statistics import benjamini_hochberg, permutation_p


def test_p_is_never_0():
    assert permutation_p(1.0, np.zeros(199)) == 1 / 200


def test_equal_scores_count_as_at_least_as_good():
    assert permutation_p(0.5, np.array([0.5, 0.5 - 1e-15, 0.4])) == 3 / 4


def test_an_undefined_permutation_counts_against():
    assert permutation_p(1.0, np.array([np.nan, 0.0, 0.0])) == 2 / 4


def test_without_a_score_or_permutations_there_is_no_p():
    assert permutation_p(float("nan"), np.zeros(3)) is None
    assert permutation_p(1.0, np.zeros(0)) is None


def test_p_below_any_level_is_no_more_frequent_than_the_level(rng):
    draws = rng.standard_normal((4000, 100))
    p = np.array([permutation_p(float(row[0]), row[1:]) for row in draws])
    for level in (0.05, 0.1, 0.5):
        assert (p <= level).mean() < level + 3 * np.sqrt(level * (1 - level) / len(p))


def test_adjusted_p_are_those_of_the_step_up_procedure():
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5])
    assert benjamini_hochberg([0.2]) == [0.2]
