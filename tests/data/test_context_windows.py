"""Contexts and futures: what is in them, and that the future has no say in how they are scaled."""

import numpy as np
import pytest
import torch

from brainlm.data.context_windows import ContextWindows
from brainlm.data.scaling import Scaler
from brainlm.data.store_writer import StoreWriter
from brainlm.data.synthetic import synthetic_population, synthetic_recordings
from brainlm.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def make_store(tmp_path_factory):
    """A store of recordings of 90, 70, 40 and 90 points; in the last one parcel 2 is missing.

    ``make_store(change)`` changes the (T, P) signal of each first.
    """
    population = synthetic_population(num_parcels=6, num_networks=2)

    def make(change=lambda bold: bold):
        path = tmp_path_factory.mktemp("contexts") / "small.store"
        with StoreWriter(path, population.parcels, atlas="synthetic") as writer:
            for number, recording in enumerate(synthetic_recordings(population, num_subjects=4, num_timepoints=90)):
                bold = recording.bold[: (90, 70, 40, 90)[number]].copy()
                if number == 3:
                    bold[:, 2] = np.nan
                object.__setattr__(recording, "bold", change(bold))
                object.__setattr__(recording, "phenotypes", {})
                writer.add(recording, split="train")
        from brainlm.data.store import Store

        return Store.open(path)

    return make


@pytest.fixture(scope="module")
def store(make_store):
    return make_store()


def test_a_batch_is_the_recording_scaled_by_its_context(store):
    scaler = Scaler.fit(store, "zscore")
    batch = ContextWindows(store, scaler, context=30, horizon=10).batch([1, 0], [5, 50])
    for row, (recording, start) in enumerate([(1, 5), (0, 50)]):
        bold_TP = store.bold(recording)[start : start + 40].astype(np.float64)
        scaled_TP = (bold_TP - bold_TP[:30].mean(axis=0)) / bold_TP[:30].std(axis=0)
        np.testing.assert_allclose(batch.context_BPT[row].T, scaled_TP[:30], atol=2e-3)
        np.testing.assert_allclose(batch.future_BPH[row].T, scaled_TP[30:], atol=2e-3)
    assert batch.context_valid_BPT.all()
    assert batch.future_valid_BPH.all()
    assert batch.recording_B.tolist() == [1, 0]
    assert batch.start_B.tolist() == [5, 50]


@pytest.mark.parametrize("kind", ["robust", "zscore", "none"])
def test_nothing_outside_the_context_changes_it(store, make_store, kind):
    def change(bold):
        other = bold.copy()
        other[:10] += 100
        other[40:] *= 3
        return other

    scaler = Scaler.fit(store, kind)
    one, other = (
        ContextWindows(of, scaler, context=30, horizon=10).batch([0, 1, 3], [10, 10, 10])
        for of in (store, make_store(change))
    )
    assert torch.equal(one.context_BPT, other.context_BPT)
    assert torch.equal(one.context_valid_BPT, other.context_valid_BPT)
    assert torch.equal(one.statistics.median, other.statistics.median) or torch.isnan(one.statistics.median).any()
    assert not torch.equal(one.future_BPH, other.future_BPH)


def test_a_parcel_without_signal_is_zero_and_not_valid(store):
    batch = ContextWindows(store, Scaler.fit(store), context=30, horizon=10).batch([3], [0])
    assert not batch.context_valid_BPT[0, 2].any()
    assert not batch.future_valid_BPH[0, 2].any()
    assert not batch.context_BPT[0, 2].any()
    assert not batch.future_BPH[0, 2].any()


def test_a_parcel_that_is_constant_in_the_context_cannot_be_scored(make_store):
    def still(bold):
        bold = bold.copy()
        bold[:30, 1] = 5.0
        return bold

    store = make_store(still)
    batch = ContextWindows(store, Scaler.fit(store, "zscore"), context=30, horizon=10).batch([0], [0])
    assert not batch.future_valid_BPH[0, 1].any()
    assert batch.future_valid_BPH[0, 0].all()
    assert torch.isfinite(batch.future_BPH).all()


def test_fixed_windows_do_not_overlap_and_drawn_ones_are_a_function_of_seed_and_epoch(store):
    windows = ContextWindows(store, Scaler.fit(store), context=30, horizon=10)
    fixed = windows.fixed()
    assert fixed.recording.tolist() == [0, 0, 1, 2, 3, 3]
    assert windows.fixed(max_per_recording=1).recording.tolist() == [0, 1, 2, 3]
    first, again, later = (windows.drawn(windows.recordings, seed=0, epoch=epoch) for epoch in (0, 0, 1))
    assert torch.equal(first.start_B, again.start_B)
    assert not torch.equal(first.start_B, later.start_B)
    assert torch.equal(first.key_B, later.key_B)


def test_recordings_that_are_too_short_are_left_out_and_none_left_is_an_error(store):
    scaler = Scaler.fit(store)
    windows = ContextWindows(store, scaler, context=40, horizon=10)
    assert windows.recordings.tolist() == [0, 1, 3]
    assert "40 time points, fewer than the 50" in windows.excluded[0].reason
    with pytest.raises(DataError, match=r"100 time points or more: 80 seen, 20 forecast(.|\n)*the longest of 90"):
        ContextWindows(store, scaler, context=80, horizon=20)
    with pytest.raises(ConfigError, match="context 0, horizon 10"):
        ContextWindows(store, scaler, context=0, horizon=10)
