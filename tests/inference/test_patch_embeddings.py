"""Temporal patches are the encoder's tokens averaged over parcels, window after window."""

import numpy as np
import pytest
import torch

from brainlm.data.windows import spread_starts
from brainlm.errors import DataError
from brainlm.inference.patch_embeddings import temporal_patch_embeddings

CLOSE = {"atol": 1e-5, "rtol": 1e-4}


@pytest.fixture(scope="module")
def patches(model, store):
    return temporal_patch_embeddings(model, store)


def test_they_are_the_tokens_of_each_window_averaged_over_parcels(model, store, patches):
    for index in (0, 2, 5):  # complete recordings, so that nothing has to be told apart
        recording = store[index]
        starts = spread_starts(recording.num_timepoints, 40)
        with torch.no_grad():
            tokens_BKD = model.network.encode(model.scale(recording, starts).signal_BPT).tokens_BKD
        expected_BCD = tokens_BKD.unflatten(1, (-1, 4)).mean(dim=1)
        np.testing.assert_allclose(patches[index, : len(starts)], expected_BCD.numpy(), **CLOSE)
        assert np.isnan(patches[index, len(starts) :]).all()


def test_their_mean_over_time_is_the_mean_embedding(model, store, patches):
    # Where every patch holds as many parcels: not so in recording 1 (short); parcel 4 is absent throughout in 3.
    for index in (0, 3, 7):
        found = np.nanmean(patches[index].reshape(-1, 16), axis=0)
        np.testing.assert_allclose(found, model.embed(store[index]).mean, **CLOSE)


def test_patches_behind_a_short_recording_are_missing(patches):
    is_missing = np.isnan(patches[1, 0]).all(axis=1)  # 25 time points, patches of 10
    np.testing.assert_array_equal(is_missing, [False, False, False, True])
    assert not np.isnan(patches[[0, 3], :2]).any()


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_the_batch_size_changes_nothing(model, store, patches, batch_size):
    np.testing.assert_allclose(temporal_patch_embeddings(model, store, batch_size=batch_size), patches, **CLOSE)


def test_patches_of_several_parcels_and_images_have_as_many_steps(make_model, store):
    for settings in ({"parcels_per_patch": 4}, {"image_size": 48, "timepoints_per_patch": 8, "parcels_per_patch": 8}):
        model = make_model(**settings)
        patches = temporal_patch_embeddings(model, store)
        assert patches.shape == (8, 3, model.config.num_temporal_patches, 16)
        assert np.isfinite(patches[0, :2]).all()


def test_progress_counts_recordings(model, store):
    told = []
    temporal_patch_embeddings(model, store, batch_size=4, on_progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (8, 8)


def test_another_repetition_time_is_refused(make_model, store):
    model = make_model()
    model.provenance = {"data": {"tr_s": [9.0]}}
    with pytest.raises(DataError, match="repetition time"):
        temporal_patch_embeddings(model, store)
