"""Windows are the recordings' own values, chosen by (seed, epoch, recording) and nothing else."""

import numpy as np
import pytest
import torch

from brainlm.data.windows import Windows, mix_seed, recording_keys, spread_starts
from brainlm.errors import DataError


@pytest.fixture
def recordings(make_recording):
    """30, 37, 44, ... time points; a parcel missing in the second."""
    made = [make_recording(f"{number:02d}", num_timepoints=30 + 7 * number) for number in range(8)]
    made[1].bold[:, 3] = np.nan
    return made


@pytest.fixture
def store(recordings, make_store):
    return make_store(recordings, recordings_per_shard=3)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_batch_holds_the_recordings_values_with_parcels_before_time(recordings, make_store, dtype):
    store = make_store(recordings, dtype=dtype)
    recording, start = [3, 1, 7, 3], [0, 17, 59, 31]
    batch = Windows(store, 20).batch(recording, start)
    assert batch.raw_BPT.shape == (4, 6, 20)
    assert batch.raw_BPT.dtype == torch.float32
    for window, index, first in zip(batch.raw_BPT, recording, start, strict=True):
        expected = recordings[index].bold[first : first + 20].astype(dtype)
        np.testing.assert_array_equal(window.T, expected)
    np.testing.assert_array_equal(batch.median_BP, store.statistics.median[recording])
    np.testing.assert_array_equal(batch.mean_BP, store.statistics.mean[recording])
    np.testing.assert_array_equal(batch.std_BP, store.statistics.std[recording])
    np.testing.assert_array_equal(batch.key_B, recording_keys(store.metadata)[recording])
    assert (batch.recording_B.tolist(), batch.start_B.tolist()) == (recording, start)


def test_memory_given_is_filled_and_everything_left_from_before_is_gone(store):
    windows = Windows(store, 40, pad_short=True)
    out = np.full((5, 40, 6), 1e9, np.float32)
    batch = windows.batch([7, 0, 1], [3, 0, 0], out=out)
    assert batch.raw_BPT.data_ptr() == out.ctypes.data
    np.testing.assert_array_equal(batch.raw_BPT, windows.batch([7, 0, 1], [3, 0, 0]).raw_BPT)
    assert (out[3:] == 1e9).all()


def test_a_short_recording_is_padded_at_its_end_when_asked(store, recordings):
    windows = Windows(store, 40, pad_short=True)
    assert len(windows.recordings) == 8
    assert windows.excluded == []
    assert windows.random_starts([0, 1], seed=0, epoch=0).tolist() == [0, 0]
    window = windows.batch([0], [0]).raw_BPT[0]
    np.testing.assert_array_equal(window[:, :30].T, recordings[0].bold)
    assert torch.isnan(window[:, 30:]).all()


def test_a_short_recording_is_left_out_and_counted_with_its_reason(store):
    windows = Windows(store, 40)
    assert windows.recordings.tolist() == [2, 3, 4, 5, 6, 7]
    assert [failure.source for failure in windows.excluded] == ["sub-00", "sub-01"]
    assert windows.excluded[0].reason == "30 time points, fewer than the 40 of a window"
    with pytest.raises(DataError, match=r"outside recording 0(.|\n)*30 time points"):
        windows.batch([0], [0])


def test_when_every_recording_is_too_short_the_longest_is_named(store):
    with pytest.raises(DataError, match="the longest of 79 time points"):
        Windows(store, 80)
    assert Windows(store, 79).recordings.tolist() == [7]
    with pytest.raises(DataError, match="at least one time point"):
        Windows(store, 0)


@pytest.mark.parametrize("start", [-1, 11, 1000])
def test_a_window_outside_its_recording_is_refused(store, start):
    windows = Windows(store, 20)
    windows.batch([0], [10])
    with pytest.raises(DataError, match=r"outside recording 0(.|\n)*from 0 to 10"):
        windows.batch([0], [start])


def test_starts_depend_on_the_recording_not_on_its_place_or_company(store):
    windows = Windows(store, 20)
    together = windows.random_starts(windows.recordings, seed=5, epoch=3)
    backwards = windows.random_starts(windows.recordings[::-1].copy(), seed=5, epoch=3)
    np.testing.assert_array_equal(backwards[::-1], together)
    chosen = Windows(store.take([6, 2]), 20)
    np.testing.assert_array_equal(chosen.random_starts([0, 1], seed=5, epoch=3), together[[6, 2]])


def test_epochs_given_one_each_are_as_if_asked_one_by_one(store):
    windows = Windows(store, 20)
    epochs = np.arange(8)
    together = windows.random_starts(np.arange(8), seed=1, epoch=epochs)
    single = [windows.random_starts([index], seed=1, epoch=int(epochs[index]))[0] for index in range(8)]
    assert together.tolist() == single


def test_starts_are_spread_over_the_whole_recording(store):
    windows = Windows(store, 20)
    starts = np.array([windows.random_starts([0], seed=0, epoch=epoch)[0] for epoch in range(2200)])
    counts = np.bincount(starts, minlength=11)
    assert len(counts) == 11  # 0 to 10
    assert (abs(counts - 200) < 5 * np.sqrt(200)).all()


def test_starts_differ_between_seeds_and_epochs(store):
    windows = Windows(store, 20)
    starts = {(seed, epoch): tuple(windows.random_starts(windows.recordings, seed=seed, epoch=epoch))
              for seed in range(4) for epoch in range(4)}  # fmt: skip
    assert len(set(starts.values())) == 16


def test_the_mixer_is_splitmix64_and_depends_on_order():
    # The first output of the reference implementation from state 0.
    assert mix_seed(0)[0] == 0xE220A8397B1DCDAF
    assert mix_seed(1, 2)[0] != mix_seed(2, 1)[0]
    assert mix_seed(0, 0)[0] != mix_seed(0)[0]
    np.testing.assert_array_equal(mix_seed(3, np.array([-1, 5])), [mix_seed(3, -1)[0], mix_seed(3, 5)[0]])


def test_mixed_bits_are_evenly_set_and_neighbours_are_unrelated():
    mixed = mix_seed(7, np.arange(4000))
    bits = np.unpackbits(mixed.view(np.uint8)).reshape(4000, 64)
    assert abs(bits.mean(axis=0) - 0.5).max() < 0.05
    assert abs((bits[1:] ^ bits[:-1]).mean() - 0.5) < 0.01


def test_keys_belong_to_the_recording_and_never_change(store, make_recording, make_store, tmp_path):
    keys = recording_keys(store.metadata)
    assert len(set(keys.tolist())) == 8
    np.testing.assert_array_equal(recording_keys(store.take([5, 0]).metadata), keys[[5, 0]])
    renamed = make_store([make_recording("sub-00")], path=tmp_path / "b.store")
    assert recording_keys(renamed.metadata)[0] == keys[0]
    assert keys[0] == 77302360665422292  # another value would change the windows of runs that are resumed


@pytest.mark.parametrize(
    ("length", "expected"),
    [(20, [0]), (30, [5]), (39, [9]), (40, [0, 20]), (50, [2, 27]), (79, [3, 29, 55]), (12, [0])],
)
def test_fixed_windows_lie_in_the_middle_of_equal_shares(length, expected):
    assert spread_starts(length, 20).tolist() == expected


@pytest.mark.parametrize("length", range(20, 300, 7))
def test_fixed_windows_fit_do_not_overlap_and_are_as_many_as_possible(length):
    starts = spread_starts(length, 20)
    assert len(starts) == length // 20
    assert starts[0] >= 0
    assert starts[-1] + 20 <= length
    assert (np.diff(starts) >= 20).all()
    assert abs(starts[0] - (length - starts[-1] - 20)) <= 1  # as much left over before as behind


def test_fewer_windows_are_spread_evenly_among_all(store):
    windows = Windows(store, 10)
    every, some = windows.fixed(), windows.fixed(max_per_recording=3)
    assert len(every) == sum((30 + 7 * number) // 10 for number in range(8))
    for recording in range(8):
        all_starts = every.start[every.recording == recording]
        kept = some.start[some.recording == recording]
        assert len(kept) == 3
        assert set(kept) <= set(all_starts)
        positions = np.searchsorted(all_starts, kept)
        assert abs(np.diff(positions, 2)).max() <= 1
    batch = windows.batch(some.recording, some.start)
    assert not torch.isnan(batch.raw_BPT[0]).any()


def test_one_window_per_recording_is_the_middle_one(store):
    windows = Windows(store, 10)
    single = windows.fixed(max_per_recording=1)
    middle = single.start + 5 - store.num_timepoints / 2
    assert (abs(middle) <= 6).all()
