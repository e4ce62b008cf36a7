"""Which windows and masks a step sees depends on the seed and the step alone."""

import dataclasses

import numpy as np
import pytest
import torch

from brainlm.data.scaling import Scaler, scaled_recording
from brainlm.data.windows import Windows
from brainlm.errors import ConfigError
from brainlm.training.batches import Batch, Schedule, TrainingBatches, ValidationBatches


@pytest.fixture(scope="module")
def windows(store) -> Windows:
    return Windows(store.select(split="train"), 20)


@pytest.fixture(scope="module")
def scaler(store) -> Scaler:
    return Scaler.fit(store.select(split="train"))


def make_batches(windows, scaler, *, per_step=4, per_recording=2, seed=0, **settings) -> TrainingBatches:
    schedule = Schedule(len(windows.recordings), per_recording, per_step, seed)
    return TrainingBatches(windows, schedule, accumulate=settings.pop("accumulate", 1), scaler=scaler, **settings)


def identities(batches) -> list[tuple[int, int, int]]:
    """(recording, start, mask seed) of every window, in order."""
    return [
        identity
        for batch in batches
        for identity in zip(
            batch.windows.key_B.tolist(), batch.windows.start_B.tolist(), batch.mask_seed_B.tolist(), strict=True
        )
    ]


def test_an_epoch_can_be_entered_at_any_step(windows, scaler):
    whole = identities(make_batches(windows, scaler))
    later = make_batches(windows, scaler)
    later.first_step, later.num_steps = 2, later.schedule.steps_per_epoch - 2
    assert identities(later) == whole[2 * 4 :]


def test_every_draw_comes_once_an_epoch(windows, scaler):
    batches = make_batches(windows, scaler, per_step=2)
    schedule = batches.schedule
    assert sorted(schedule.order(0)) == list(range(schedule.windows_per_epoch))
    assert not np.array_equal(schedule.order(0), schedule.order(1))


def test_epochs_and_seeds_see_other_windows_and_masks(windows, scaler):
    first, second, other = (make_batches(windows, scaler, seed=seed) for seed in (0, 0, 1))
    second.epoch = 1
    seen = [set(identities(batches)) for batches in (first, second, other)]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_share_each_step_without_overlap(windows, scaler, accumulate: int):
    alone = identities(make_batches(windows, scaler, per_step=4))
    shares = [
        identities(make_batches(windows, scaler, per_step=4, accumulate=accumulate, rank=rank, world_size=2))
        for rank in (0, 1)
    ]
    assert not set(shares[0]) & set(shares[1])
    per_step = 4
    for step in range(len(alone) // per_step):
        of_step = set(alone[step * per_step : (step + 1) * per_step])
        half = slice(step * per_step // 2, (step + 1) * per_step // 2)
        assert set(shares[0][half]) | set(shares[1][half]) == of_step


def test_validation_windows_are_shared_out_and_fixed(store, scaler):
    windows = Windows(store.select(split="validation"), 20)
    settings = {"batch_size": 2, "max_per_recording": 2, "seed": 3, "scaler": scaler}
    whole = identities(ValidationBatches(windows, **settings))
    shares = [identities(ValidationBatches(windows, rank=rank, world_size=2, **settings)) for rank in (0, 1)]
    assert sorted(shares[0] + shares[1]) == sorted(whole)
    assert identities(ValidationBatches(windows, **settings)) == whole


def test_own_covariance_is_of_the_points_outside_the_window(windows, scaler):
    batches = make_batches(windows, scaler, with_own=True)
    batch = next(iter(batches))
    for row in range(4):
        recording, start = int(batch.windows.recording_B[row]), int(batch.windows.start_B[row])
        signal_TP = scaled_recording(windows.store, recording, scaler).signal_BPT[0].T.double()
        outside = torch.cat((signal_TP[:start], signal_TP[start + 20 :]))
        assert batch.own is not None
        assert int(batch.own.num_points_B[row]) == len(outside)
        expected = sum(torch.outer(point, point) for point in outside) / len(outside)
        torch.testing.assert_close(batch.own.covariance_BPP[row].double(), expected, rtol=1e-4, atol=1e-5)


def test_a_batch_knows_whether_it_is_complete(windows, scaler):
    batches = make_batches(windows, scaler)
    assert next(iter(batches)).complete
    doubtful = dataclasses.replace(scaler, valid_P=np.arange(10) > 0)
    assert not next(iter(make_batches(windows, doubtful))).complete


def test_moving_a_batch_changes_nothing(windows, scaler):
    batch = next(iter(make_batches(windows, scaler, with_own=True)))
    moved = batch.to(torch.device("cpu"))
    assert isinstance(moved, Batch)
    torch.testing.assert_close(moved.windows.raw_BPT, batch.windows.raw_BPT)


def test_an_epoch_smaller_than_a_step_is_refused_with_a_remedy():
    with pytest.raises(ConfigError, match=r"--training\.batch_size 6"):
        Schedule(num_recordings=3, windows_per_recording=2, windows_per_step=8, seed=0)
