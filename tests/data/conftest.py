"""Small recordings and stores for the tests of this folder."""

from pathlib import Path

import numpy as np
import pytest

from brainlm.data.parcels import Parcels
from brainlm.data.recording import Recording
from brainlm.data.store import Store, StoreWriter

NUM_PARCELS = 6


@pytest.fixture
def make_recording():
    """A recording of noise around 100; its numbers depend on subject and run only."""

    def make(subject="01", *, num_timepoints=30, num_parcels=NUM_PARCELS, tr=2.0, run="", **fields):
        rng = np.random.default_rng([*f"{subject}/{run}".encode()])
        bold = rng.normal(100, 5, (num_timepoints, num_parcels)).astype(np.float32)
        return Recording(bold, tr, subject, run=run, **fields)

    return make


@pytest.fixture
def recordings(make_recording):
    """Of different lengths, one with a parcel without signal."""
    made = [make_recording(f"{number:02d}", num_timepoints=20 + 3 * number) for number in range(7)]
    made[2].bold[:, 4] = np.nan
    return made


@pytest.fixture
def files_of():
    """The bytes of every file of a folder, by name."""
    return lambda folder: {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def make_store(tmp_path):
    """A store of the given recordings; ``splits`` by subject, else all for training."""

    def make(recordings, *, path: Path = tmp_path / "a.store", splits=None, **settings):
        parcels = Parcels.unnamed(recordings[0].num_parcels)
        with StoreWriter(path, parcels, atlas="A6", **settings) as writer:
            for recording in recordings:
                writer.add(recording, split=(splits or {}).get(recording.subject, "train"))
        return Store.open(path)

    return make
