"""Which recordings are used and how much each counts."""

import numpy as np
import pandas as pd

from brainlm.evaluation.networks.weighing import recording_weights, spread_recordings

SUBJECTS = pd.Series(["a", "a", "a", "b", "c", "c", "d"])


def test_everybody_comes_once_before_anybody_comes_twice():
    for seed in range(5):
        chosen = spread_recordings(SUBJECTS, most=4, seed=seed)
        assert chosen.tolist() == [0, 3, 4, 6]
        assert set(SUBJECTS[spread_recordings(SUBJECTS, most=6, seed=seed)]) == set("abcd")
    assert spread_recordings(SUBJECTS, most=100, seed=0).tolist() == list(range(7))


def test_who_is_taken_where_not_all_can_be_depends_on_the_seed():
    taken = {tuple(spread_recordings(SUBJECTS, most=2, seed=seed)) for seed in range(20)}
    assert len(taken) > 1
    np.testing.assert_array_equal(
        spread_recordings(SUBJECTS, most=2, seed=3), spread_recordings(SUBJECTS, most=2, seed=3)
    )


def test_the_recordings_of_a_person_share_the_persons_weight():
    weights = recording_weights(SUBJECTS, num_bootstrap=30, seed=0)
    np.testing.assert_allclose(weights[0], [1 / 12] * 3 + [1 / 4] + [1 / 8] * 2 + [1 / 4], rtol=1e-6)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(weights[:, 0], weights[:, 1])
    assert len(np.unique(weights[1:], axis=0)) > 10


def test_one_person_cannot_be_drawn_anew():
    assert recording_weights(pd.Series(["a", "a"]), num_bootstrap=10, seed=0).shape == (1, 2)
