"""The same windows and masks whatever the batch, the order or the company."""

import numpy as np
import pytest
import torch

from brainlm.evaluation.masking import conditions
from brainlm.model.masks import Mask

RANDOM, FUTURE = Mask("random", 0.5), Mask("future", 1.0)


def hidden_by_window(windows, mask: Mask) -> dict[tuple[str, int], torch.Tensor]:
    subjects = windows.windows.store.metadata["subject"]
    found = {}
    for batch in windows.batches(mask):
        for recording, start, hidden in zip(batch.recording_B, batch.start_B, batch.hidden_BPT, strict=True):
            found[subjects[int(recording)], int(start)] = hidden
    return found


@pytest.mark.parametrize("mask", [RANDOM, FUTURE, Mask("parcel", 0.5)])
def test_batch_size_does_not_change_a_mask(masked, mask: Mask):
    one, other = (hidden_by_window(masked(batch_size=size), mask) for size in (1, 7))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_neither_order_nor_company_of_recordings_change_a_mask(masked, store):
    test = store.select(split="test")
    few = test.take(np.array([4, 1]))
    one, other = hidden_by_window(masked(of=few), RANDOM), hidden_by_window(masked(), RANDOM)
    assert 0 < len(one) < len(other)
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_masks_differ_between_windows_conditions_and_seeds(masked):
    hidden = list(hidden_by_window(masked(), RANDOM).values())
    assert not torch.equal(hidden[0], hidden[1])
    other_seed = list(hidden_by_window(masked(seed=1), RANDOM).values())
    assert not torch.equal(hidden[0], other_seed[0])
    more = list(hidden_by_window(masked(), Mask("random", 0.75)).values())
    assert not torch.equal(hidden[0], hidden[0] & more[0])


def test_outside_and_window_together_are_the_recording(masked, scaler):
    windows = masked()
    batch = next(windows.batches(RANDOM))
    own_store = windows.windows.store
    for number in range(len(batch.start_B)):
        recording, start = int(batch.recording_B[number]), int(batch.start_B[number])
        outside = batch.outside[number]
        rebuilt = torch.cat([outside[:start], batch.signal_BPT[number].T, outside[start:]])
        assert len(rebuilt) == own_store.num_timepoints[recording]
        raw = torch.tensor(own_store[recording].bold)
        centred = raw - raw.quantile(0.5, dim=0) - torch.tensor(scaler.median_P)
        torch.testing.assert_close(rebuilt, centred / torch.tensor(scaler.iqr_P), atol=1e-2, rtol=1e-3)


def test_for_the_future_only_what_lies_before_the_window_is_outside(masked):
    for before, both in zip(masked().batches(FUTURE), masked().batches(RANDOM), strict=True):
        for number, start in enumerate(before.start_B.tolist()):
            assert torch.equal(before.outside[number], both.outside[number][:start])


def test_thinning_keeps_evenly_spaced_windows(masked):
    windows = masked()
    few = windows.thinned(5)
    assert len(few) == 5
    assert len(windows) > 5
    assert set(zip(few.recording_N, few.start_N, strict=True)) <= set(
        zip(windows.recording_N, windows.start_N, strict=True)
    )
    assert windows.thinned(10_000) is windows


def test_futures_that_leave_nothing_to_see_are_no_conditions():
    assert [mask.label for mask in conditions(4) if mask.kind == "future"] == ["future 1 patch", "future 2 patches"]
    assert len(conditions(10)) == 11
