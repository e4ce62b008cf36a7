"""The steps of an epoch: everybody once a draw, in an order that depends on seed and epoch alone."""

import numpy as np
import pytest

from brainlm.training.draws import Draws


def epoch_of(draws: Draws, epoch: int) -> list[tuple[int, int]]:
    steps = [draws.step(number, epoch=epoch) for number in range(len(draws))]
    return [pair for step in steps for pair in zip(step.position_B.tolist(), step.visit_B.tolist(), strict=True)]


def test_every_recording_is_visited_as_often_as_it_is_drawn_and_no_visit_twice():
    draws = Draws(6, draws=2, batch_size=4, seed=1)
    pairs = [epoch_of(draws, epoch) for epoch in range(3)]
    for epoch, found in enumerate(pairs):
        assert sorted(found) == sorted((position, 2 * epoch + draw) for position in range(6) for draw in range(2))


def test_what_fills_no_step_is_left_out_another_part_each_epoch():
    draws = Draws(7, draws=1, batch_size=3, seed=0)
    assert len(draws) == 2
    left_out = [set(range(7)) - {position for position, _ in epoch_of(draws, epoch)} for epoch in range(10)]
    assert all(len(one) == 1 for one in left_out)
    assert len(set().union(*left_out)) > 3


def test_fewer_windows_than_fill_a_step_are_one_step():
    draws = Draws(3, draws=1, batch_size=16, seed=0)
    assert len(draws) == 1
    assert sorted(epoch_of(draws, 0)) == [(0, 0), (1, 0), (2, 0)]


def test_the_draws_of_one_visit_stand_together_and_repeat():
    first, again, other = (Draws(8, draws=3, batch_size=24, seed=seed).step(0, epoch=2) for seed in (0, 0, 1))
    assert (np.diff(first.visit_B) >= 0).all()
    assert np.array_equal(first.position_B, again.position_B)
    assert not np.array_equal(first.position_B, other.position_B)


def test_there_is_no_step_behind_the_last():
    with pytest.raises(IndexError):
        Draws(8, draws=1, batch_size=4, seed=0).step(2, epoch=0)
