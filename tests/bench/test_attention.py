"""What attention costs is stated for a store of 1,000 windows, from what few windows took."""

import numpy as np
import torch

from brainlm.bench.attention import attend, of_many
from brainlm.bench.stores import random_store
from brainlm.inference import attention_maps


def test_what_is_taken_of_few_windows_counts_for_as_many():
    seconds = {"encoding": np.array([10.0, 20.0]), "cls": np.array([11.0, 22.0]), "all": np.array([16.0, 22.0])}
    np.testing.assert_allclose(of_many(seconds), [(11 + 0.064 * 5) / 10, 1.1])
    assert attention_maps.NUM_FOLLOWED == 64


def test_every_alternative_is_timed_in_every_round_by_both_clocks(tmp_path):
    store = random_store(tmp_path / "small.store", num_recordings=2, num_parcels=6, num_timepoints=(200, 200))
    run = attend(store.path, "tiny", 2, "cpu", torch.get_num_threads())
    for seconds in (run.seconds, run.processor_seconds):
        assert list(seconds) == ["encoding", "cls", "all"]
        assert all(of_work.shape == (2,) and (of_work > 0).all() for of_work in seconds.values())
    assert run.peak is None or run.peak > 0
