"""Windows of many recordings as batches: the fast way and the slow one are the same, and batches are full."""

import torch

from brainlm.inference.batching import scaled_windows


def test_a_store_and_the_list_of_its_recordings_give_the_same_batches(model, store):
    recordings = [store[index] for index in range(len(store))]
    both = zip(scaled_windows(model, store, 4), scaled_windows(model, recordings, 4), strict=True)
    for of_store, one_by_one in both:
        torch.testing.assert_close(of_store.recording_B, one_by_one.recording_B)
        torch.testing.assert_close(of_store.valid_BPT, one_by_one.valid_BPT)
        torch.testing.assert_close(of_store.signal_BPT, one_by_one.signal_BPT, rtol=1e-5, atol=1e-5)


def test_every_batch_but_the_last_is_full(model, store):
    recordings = [store[index] for index in range(len(store))]
    num_windows = sum(max(recording.num_timepoints // 40, 1) for recording in recordings)
    for given in (store, recordings):
        sizes = [len(batch.recording_B) for batch in scaled_windows(model, given, 4)]
        assert sizes == [4] * (num_windows // 4) + [num_windows % 4] * (num_windows % 4 > 0)
