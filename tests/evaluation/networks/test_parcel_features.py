"""Features without a model: against numpy, with parcels that have no signal."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from brainlm.data.parcels import Parcels
from brainlm.data.store import Store
from brainlm.data.store_writer import StoreWriter
from brainlm.data.synthetic import ATLAS, synthetic_population, synthetic_recordings
from brainlm.evaluation.networks.parcel_features import (
    connectivity_profiles,
    majority,
    position_features,
    series_features,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    """Three recordings of different lengths; one parcel of the second has no signal."""
    population = synthetic_population(num_parcels=8, num_networks=2)
    path = tmp_path_factory.mktemp("features") / "small.store"
    with StoreWriter(path, population.parcels, atlas=ATLAS) as writer:
        drawn = synthetic_recordings(population, num_subjects=3, num_timepoints=250)
        for length, recording in zip((60, 250, 90), drawn, strict=True):
            bold = recording.bold[:length].copy()
            if length == 250:
                bold[:, 3] = np.nan
            writer.add(dataclasses.replace(recording, bold=bold, phenotypes={}), split="test")
    return Store.open(path)


def test_series_have_mean_0_and_deviation_1_and_end_in_zeros(store):
    features = series_features(store)
    values = features.values_NPF
    assert values.shape == (3, 8, 200)
    assert features.combine == "concatenate"
    np.testing.assert_allclose(values[0, :, :60].mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(values[0, :, :60].std(axis=1), 1, rtol=1e-4)
    assert (values[0, :, 60:] == 0).all()
    assert np.isnan(values[1, 3]).all()
    assert np.isfinite(np.delete(values[1], 3, axis=0)).all()


def test_connectivity_is_fishers_z_without_a_parcel_itself(store):
    values = connectivity_profiles(store).values_NPF
    z = np.arctanh(np.corrcoef(store.bold(0).T.astype(float))[0, 1:])
    np.testing.assert_allclose(values[0, 0, 1:], z, atol=1e-3)
    assert np.isnan(values[:, np.arange(8), np.arange(8)]).all()
    assert np.isnan(values[1, 3]).all()
    assert np.isnan(values[1, :, 3]).all()


def test_positions_are_of_no_recording_and_may_be_mirrored(store):
    plain, mirrored = position_features(store.parcels)
    assert not plain.by_recording
    np.testing.assert_array_equal(np.abs(plain.values_NPF[..., 0]), mirrored.values_NPF[..., 0])
    np.testing.assert_array_equal(plain.values_NPF[..., 1:], mirrored.values_NPF[..., 1:])


def test_an_atlas_without_coordinates_has_no_positions():
    assert position_features(Parcels(pd.DataFrame({"label": [1, 2], "name": ["a", "b"]}))) == []


def test_the_majority_knows_nothing():
    assert majority().values_NPF is None
    assert not majority().by_recording
