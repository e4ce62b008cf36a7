"""The coverage of parcels: measured where the store has it, else told from where there is signal."""

import numpy as np
import pytest

from brainlm.data import coverage
from brainlm.data.coverage import coverage_of
from brainlm.data.parcels import Parcels
from brainlm.data.quality import Quality
from brainlm.data.store import Store, StoreWriter


def measured(parcel_coverage) -> Quality:
    return Quality(100, 0, 0.1, 0.4, 50.0, np.array(parcel_coverage, dtype=np.float32))


def test_without_measurements_it_is_the_share_of_recordings_with_signal(make_store, recordings):
    recordings[3].bold[:, :2] = np.nan
    found = coverage_of(make_store(recordings))
    assert found.num_measured == 0
    assert found.num_without_signal.tolist() == [1, 1, 0, 0, 1, 0]
    assert found.share == pytest.approx(1 - found.num_without_signal / 7)
    assert found.num_incomplete == 2


def test_measurements_are_averaged_over_the_recordings_that_have_them(make_recording, tmp_path):
    with StoreWriter(tmp_path / "a.store", Parcels.unnamed(6), atlas="A6", has_quality=True) as writer:
        writer.add(make_recording("01"), quality=measured([1, 0.5, 1, 1, 0, 1]))
        writer.add(make_recording("02"), quality=measured([1, 0.7, 1, 1, 1, 1]))
        writer.add(make_recording("03"))
    found = coverage_of(Store.open(tmp_path / "a.store"))
    assert found.num_measured == 2
    assert found.share == pytest.approx([1, 0.6, 1, 1, 0.5, 1])


def test_a_part_of_the_store_at_a_time_gives_the_same(make_store, recordings, monkeypatch):
    store = make_store(recordings)
    whole = coverage_of(store)
    monkeypatch.setattr(coverage, "RECORDINGS_AT_A_TIME", 2)
    assert coverage_of(store).share.tolist() == whole.share.tolist()
    assert np.concatenate(list(coverage.parts(store))).tolist() == list(range(7))
