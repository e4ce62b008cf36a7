"""Whether a recording is like those of training, and whether training came to anything."""

import pytest

from brainlm.inference.checks import is_trained_tr, learned_nothing


@pytest.mark.parametrize(("tr", "known"), [(0.72, True), (0.8, True), (2.2, True), (1.4, False), (2.5, False)])
def test_the_nearest_trained_repetition_time_counts_not_the_range(tr, known):
    assert is_trained_tr(tr, [0.72, 2.0]) == known


def test_a_model_that_fills_in_the_mean_has_learned_nothing():
    assert learned_nothing({"metrics": {"val_r2": 0.0002}})
    assert learned_nothing({"metrics": {"val_r2": -0.3}})
    assert not learned_nothing({"metrics": {"val_r2": 0.2}})
    assert not learned_nothing({"metrics": {}})
    assert not learned_nothing({})
