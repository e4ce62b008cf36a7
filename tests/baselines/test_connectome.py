"""Connectomes against numpy, scikit-learn and nilearn, one recording at a time."""

import numpy as np
import pytest
from nilearn.connectome import cov_to_corr, prec_to_partial
from sklearn.covariance import ledoit_wolf

from brainlm.baselines.connectome import (
    MIN_SHRINKAGE,
    connectomes,
    correlation,
    partial_correlation,
    shrinkage,
    shrunk_correlation,
    unit_series,
)
from brainlm.bench.connectome import by_nilearn
from brainlm.bench.stores import random_parcels, random_store
from brainlm.data.recording import Recording
from brainlm.data.store import Store, StoreWriter

UPPER = np.triu_indices(9, 1)


def mixed(rng, num_timepoints: int, num_parcels: int = 9) -> np.ndarray:
    """Correlated parcels at the level of scanner units, each with its own spread."""
    noise = rng.standard_normal((num_timepoints, num_parcels)) + rng.standard_normal((num_timepoints, 1))
    return (10_000 + 30 * noise * (1 + np.arange(num_parcels))).astype(np.float32)


def zscored(bold_TP: np.ndarray) -> np.ndarray:
    bold_TP = bold_TP.astype(np.float64)
    return (bold_TP - bold_TP.mean(axis=0)) / bold_TP.std(axis=0)


@pytest.fixture
def store(tmp_path, rng) -> Store:
    """Lengths below and above the number of parcels; the last recording lacks parcel 3."""
    with StoreWriter(tmp_path / "mixed.store", random_parcels(9), atlas="random") as writer:
        for number, length in enumerate((6, 40, 75, 75)):
            bold = mixed(rng, length)
            if number == 3:
                bold[:, 2] = np.nan
            writer.add(Recording(bold, 2.0, f"{number}", atlas="random"))
    return Store.open(tmp_path / "mixed.store")


def test_correlations_are_those_of_numpy_for_any_length(store):
    edges = connectomes(store, "correlation")
    for index in range(3):
        expected = np.corrcoef(store.bold(index).astype(np.float64).T)[UPPER]
        np.testing.assert_allclose(edges[index], expected, atol=1e-5)


def test_correlations_are_those_of_nilearn(tmp_path):
    store = random_store(tmp_path / "s", num_recordings=4, num_parcels=12, num_timepoints=(30, 60))
    theirs_NPP = np.ones((4, 12, 12))
    lower = np.tril_indices(12, -1)
    theirs_NPP[:, *lower] = theirs_NPP[:, lower[1], lower[0]] = by_nilearn(store)
    np.testing.assert_allclose(connectomes(store, "correlation"), theirs_NPP[:, *np.triu_indices(12, 1)], atol=1e-5)


@pytest.mark.parametrize("num_timepoints", [5, 9, 60])
def test_shrunk_correlations_are_ledoit_and_wolfs_of_standardised_parcels(rng, num_timepoints):
    bold = mixed(rng, num_timepoints)
    expected, share = ledoit_wolf(zscored(bold))
    np.testing.assert_allclose(shrunk_correlation(bold), expected, atol=1e-5)
    assert shrinkage(unit_series(bold), correlation(bold)) == pytest.approx(share, abs=1e-5)


@pytest.mark.parametrize("num_timepoints", [5, 60])
def test_partial_correlations_are_those_of_nilearn_with_ledoit_and_wolf(rng, num_timepoints):
    bold = mixed(rng, num_timepoints)
    expected = prec_to_partial(np.linalg.inv(cov_to_corr(ledoit_wolf(zscored(bold))[0])))
    np.testing.assert_allclose(partial_correlation(bold), expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["correlation", "partial"])
def test_edges_of_a_parcel_without_signal_are_nan_and_no_others(store, kind):
    edges = connectomes(store, kind)
    lacking = (UPPER[0] == 2) | (UPPER[1] == 2)
    np.testing.assert_array_equal(np.isnan(edges[3]), lacking)
    assert not np.isnan(edges[:3]).any()


@pytest.mark.parametrize("matrix", [correlation, shrunk_correlation, partial_correlation])
@pytest.mark.parametrize("value", [np.nan, 10_000.1])
def test_a_parcel_without_signal_changes_nothing_among_the_others(rng, matrix, value):
    bold = mixed(rng, 30)
    without = np.delete(bold, 4, axis=1)
    bold[:, 4] = value
    among_others = np.delete(np.delete(matrix(bold), 4, axis=0), 4, axis=1)
    np.testing.assert_allclose(among_others, matrix(without), atol=1e-6)


@pytest.mark.parametrize("matrix", [correlation, shrunk_correlation, partial_correlation])
def test_units_and_the_order_of_parcels_do_not_matter(rng, matrix):
    bold, order = mixed(rng, 30), rng.permutation(9)
    changed = (bold[:, order] - 10_000) * np.float32(0.02)
    np.testing.assert_allclose(matrix(changed), matrix(bold)[np.ix_(order, order)], atol=1e-4)


def test_half_precision_is_widened_before_it_is_used(rng):
    bold = mixed(rng, 50).astype(np.float16)
    np.testing.assert_allclose(correlation(bold), np.corrcoef(bold.astype(np.float64).T), atol=1e-5)


def test_degenerate_recordings_have_finite_partial_correlations(rng):
    two_points = mixed(rng, 2)
    copies = np.repeat(mixed(rng, 5_000, 1), 3, axis=1)
    for bold in (two_points, copies):
        assert np.isfinite(partial_correlation(bold)).all()
        assert np.linalg.eigvalsh(shrunk_correlation(bold).astype(np.float64)).min() > MIN_SHRINKAGE / 2


def test_a_single_time_point_has_no_connectivity(rng):
    for matrix in (correlation, shrunk_correlation, partial_correlation):
        assert np.isnan(matrix(mixed(rng, 1))).all()


def test_progress_is_told(store):
    told = []
    connectomes(store, "correlation", on_progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
