"""Reading speed: both readers read the same, and memory is what it says."""

import mmap

import numpy as np
import pytest

from brainlm.bench.machine import MIB, available_memory, peak_memory, resident_memory
from brainlm.bench.stores import random_store
from brainlm.bench.windows import Draws, HuggingFaceRows
from brainlm.data.windows import Windows

needs_linux = pytest.mark.skipif(resident_memory() is None, reason="the system does not tell own from mapped memory")


@pytest.fixture
def store(tmp_path):
    return random_store(tmp_path / "random.store", num_recordings=5, num_parcels=7, num_timepoints=(60, 90))


def test_rows_of_hugging_face_are_our_windows(store):
    windows = Windows(store, 50)
    draws = Draws.of(windows, num_batches=2, batch_size=6)
    for recordings, starts in zip(draws.recordings, draws.starts, strict=True):
        theirs_BTP = HuggingFaceRows(store.path, 50).batch(recordings, starts)
        np.testing.assert_array_equal(windows.batch(recordings, starts).raw_BPT.numpy().transpose(0, 2, 1), theirs_BTP)


@needs_linux
def test_memory_of_arrays_is_told_from_mapped_pages(tmp_path):
    size = 64 * MIB
    (tmp_path / "zeros").write_bytes(bytes(size))
    before = resident_memory()
    with (tmp_path / "zeros").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert np.frombuffer(mapped, np.uint8).sum() == 0
        after = resident_memory()
    assert after.mapped - before.mapped > 0.9 * size
    assert after.own - before.own < 0.5 * size
    array = np.ones(size, np.uint8)
    assert resident_memory().own - before.own > 0.9 * len(array)
    assert available_memory() > 0
    assert peak_memory() > size
