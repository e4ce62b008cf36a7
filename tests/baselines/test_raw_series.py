"""Time series as features, and their principal components."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from brainlm.baselines import raw_series as module
from brainlm.baselines.raw_series import PrincipalFeatures, raw_series
from brainlm.bench.stores import random_parcels
from brainlm.data.recording import Recording
from brainlm.data.scaling import Scaler
from brainlm.data.store import Store, StoreWriter


@pytest.fixture
def store(tmp_path, rng) -> Store:
    """The second recording is shorter than a window, the third lacks parcel 2."""
    with StoreWriter(tmp_path / "raw.store", random_parcels(3), atlas="random") as writer:
        for number, length in enumerate((30, 12, 40)):
            bold = (1_000 + 20 * rng.standard_normal((length, 3))).astype(np.float32)
            if number == 2:
                bold[:, 1] = np.nan
            writer.add(Recording(bold, 2.0, f"{number}", atlas="random"))
    return Store.open(tmp_path / "raw.store")


def test_a_row_is_the_first_window_parcel_by_parcel_zscored_by_the_whole_recording(store):
    values = raw_series(store, 20).reshape(3, 3, 20)
    whole = store.bold(0).astype(np.float64)
    expected = ((whole - whole.mean(axis=0)) / whole.std(axis=0))[:20].T
    np.testing.assert_allclose(values[0], expected, atol=1e-4)


def test_what_is_not_there_is_zero(store):
    values = raw_series(store, 20).reshape(3, 3, 20)
    assert not values[1, :, 12:].any()
    assert values[1, :, :12].all()
    assert not values[2, 1].any()
    assert np.isfinite(values).all()


def test_another_scaler_can_be_given(store):
    scaler = Scaler.fit(store, "robust", allow_any_split=True)
    assert not np.allclose(raw_series(store, 20, scaler=scaler), raw_series(store, 20))


def test_recordings_read_together_do_not_matter(store, monkeypatch):
    together = raw_series(store, 20)
    monkeypatch.setattr(module, "RECORDINGS_AT_ONCE", 2)
    np.testing.assert_array_equal(raw_series(store, 20), together)


def test_components_are_those_of_the_training_units(rng):
    factors = rng.standard_normal((30, 3)) * [9, 5, 3]
    values = (factors @ rng.standard_normal((3, 80)) + 0.1 * rng.standard_normal((30, 80))).astype(np.float32)
    train = np.arange(20)
    found = PrincipalFeatures(values, num_components=3).fit(train).transform(np.arange(30))
    exact = PCA(3, svd_solver="full").fit(values[train]).transform(values)
    np.testing.assert_allclose(np.abs(found), np.abs(exact), atol=1e-2)


def test_there_are_fewer_components_than_training_units(rng):
    values = rng.standard_normal((9, 40)).astype(np.float32)
    assert PrincipalFeatures(values).fit(np.arange(6)).transform(np.arange(9)).shape == (9, 5)


def test_the_same_seed_gives_the_same_scores(rng):
    values, train = rng.standard_normal((30, 200)).astype(np.float32), np.arange(25)
    first, second = (PrincipalFeatures(values, 4, seed=7).fit(train).transform(np.arange(30)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
