"""Stretches cover every step of every epoch once, in order."""

import pytest

from brainlm.training.schedule import Stretches


@pytest.mark.parametrize(("steps", "save_every"), [(10, 3), (10, 5), (4, 100), (1, 1), (7, 7)])
def test_stretches_cover_every_step_once_and_in_order(steps: int, save_every: int):
    stretches = Stretches(epochs=3, steps_per_epoch=steps, save_every_steps=save_every)
    visited = [
        (stretch.epoch, step)
        for stretch in (stretches[number] for number in range(len(stretches)))
        for step in range(stretch.first_step, stretch.first_step + stretch.num_steps)
    ]
    assert visited == [(epoch, step) for epoch in range(3) for step in range(steps)]


def test_no_stretch_is_longer_than_asked():
    stretches = Stretches(epochs=2, steps_per_epoch=11, save_every_steps=4)
    assert max(stretches[number].num_steps for number in range(len(stretches))) <= 4
    assert stretches.num_steps == 22
