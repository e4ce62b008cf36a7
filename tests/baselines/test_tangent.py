"""The tangent space against scipy's matrix functions, one matrix at a time."""

import numpy as np
import pytest
import scipy.linalg
from nilearn.connectome import sym_matrix_to_vec

from brainlm.baselines.tangent import Tangent, TangentSpace, completed, covariances
from brainlm.bench.stores import random_parcels
from brainlm.data.recording import Recording
from brainlm.data.store import Store, StoreWriter

P = 6


def recordings_of(rng, lengths) -> list[np.ndarray]:
    loading = rng.standard_normal((P, P))
    return [(rng.standard_normal((length, P)) @ loading).astype(np.float32) for length in lengths]


def store_of(path, signals) -> Store:
    with StoreWriter(path, random_parcels(P), atlas="random") as writer:
        for number, bold in enumerate(signals):
            writer.add(Recording(bold, 2.0, f"{number}", atlas="random"))
    return Store.open(path)


@pytest.fixture
def stack(tmp_path, rng) -> np.ndarray:
    """Eight covariances, one of a recording shorter than there are parcels."""
    return covariances(store_of(tmp_path / "s", recordings_of(rng, (4, 30, 30, 40, 50, 60, 60, 80))))


def by_scipy(covariance, reference) -> np.ndarray:
    whitening = np.linalg.inv(scipy.linalg.sqrtm(reference).real)
    logarithm = scipy.linalg.logm(whitening @ covariance @ whitening).real
    return np.sqrt(2) * sym_matrix_to_vec(logarithm.T)  # theirs: 1 off the diagonal and the root of a half on it


def lower_to_upper() -> np.ndarray:
    """Where each entry of the upper triangle, row by row, stands in the lower one, row by row."""
    position = np.zeros((P, P), int)
    position[np.tril_indices(P)] = np.arange(P * (P + 1) // 2)
    return position.T[np.triu_indices(P)]


def test_vectors_are_matrix_logarithms_of_whitened_covariances(stack):
    one_each = list(np.arange(8)[:, None])
    rows = Tangent(stack, one_each).fit(np.arange(6)).transform(np.arange(8))
    reference = stack[:6].astype(np.float64).mean(axis=0)
    for row, covariance in zip(rows, stack, strict=True):
        np.testing.assert_allclose(row, by_scipy(covariance, reference)[lower_to_upper()], atol=1e-5)


def test_the_length_of_a_vector_is_the_norm_of_its_matrix(stack):
    space = TangentSpace.fit(stack)
    norms = np.linalg.norm(space.logarithms(stack), axis=(1, 2))
    np.testing.assert_allclose(np.linalg.norm(space.project(stack, np.arange(8)), axis=1), norms, rtol=1e-5)


def test_the_reference_itself_is_the_origin(stack):
    space = TangentSpace.fit(stack[:1])
    np.testing.assert_allclose(space.project(stack, np.array([0])), 0, atol=1e-5)


def test_vectors_of_a_unit_are_the_mean_over_its_recordings_and_it_counts_once(stack):
    units = [np.array([0, 1, 2]), np.array([3]), np.array([4, 5])]
    fitted = Tangent(stack, units).fit(np.array([0, 1]))
    expected = (stack[:3].astype(np.float64).mean(axis=0) + stack[3]) / 2
    np.testing.assert_allclose(fitted.space.reference_PP, expected, atol=1e-6)
    vectors = fitted.space.project(stack, np.arange(8))
    rows = fitted.transform(np.array([2, 0]))
    np.testing.assert_allclose(rows, [vectors[4:6].mean(axis=0), vectors[:3].mean(axis=0)], atol=1e-5)


def lacking(covariance: np.ndarray, parcels: list[int]) -> np.ndarray:
    covariance = covariance.copy()
    covariance[parcels] = np.nan
    covariance[:, parcels] = np.nan
    return covariance


def test_missing_parcels_are_completed_by_their_regression_under_the_reference(stack):
    reference, missing, present = stack[3].astype(np.float64), [1, 4], [0, 2, 3, 5]
    whole = completed(lacking(stack[5], missing), reference)
    np.testing.assert_array_equal(whole[np.ix_(present, present)], stack[5][np.ix_(present, present)])
    slopes = [
        np.linalg.solve(full[np.ix_(present, present)], full[np.ix_(present, missing)]) for full in (whole, reference)
    ]
    np.testing.assert_allclose(slopes[0], slopes[1], atol=1e-5)
    precisions = [np.linalg.inv(full)[np.ix_(missing, missing)] for full in (whole, reference)]
    np.testing.assert_allclose(precisions[0], precisions[1], rtol=1e-4)
    assert np.linalg.eigvalsh(whole).min() > 0


def test_the_reference_lacking_parcels_is_that_reference(stack):
    reference = stack[3].astype(np.float64)
    np.testing.assert_allclose(completed(lacking(stack[3], [1, 4]), reference), reference, atol=1e-6)
    np.testing.assert_allclose(completed(lacking(stack[3], list(range(P))), reference), reference)


def test_recordings_that_lack_parcels_are_fitted_and_projected(stack):
    some = stack.copy()
    some[2], some[5] = lacking(stack[2], [1]), lacking(stack[5], [0, 4])
    space, whole_space = TangentSpace.fit(some), TangentSpace.fit(stack)
    rows = space.project(some, np.arange(8))
    assert np.isfinite(rows).all()
    # Recordings of one process: what is filled in is near what was taken away.
    assert np.abs(space.reference_PP - whole_space.reference_PP).max() < 0.05


def test_a_parcel_that_all_training_recordings_lack_is_uncorrelated(stack):
    space = TangentSpace.fit(np.stack([lacking(covariance, [2]) for covariance in stack[:4]]))
    np.testing.assert_allclose(space.reference_PP[2], np.eye(P)[2], atol=1e-12)
    assert np.isfinite(space.project(stack, np.arange(8))).all()


def test_covariances_of_a_store_mark_parcels_without_signal(tmp_path, rng):
    signals = recordings_of(rng, (30, 30))
    signals[1][:, 3] = np.nan
    told = []
    found = covariances(store_of(tmp_path / "s", signals), on_progress=lambda done, _: told.append(done))
    assert told == [1, 2]
    np.testing.assert_array_equal(np.isnan(found[1]).any(axis=0), True)
    np.testing.assert_array_equal(np.isnan(found.diagonal(axis1=1, axis2=2)), [[False] * P, [p == 3 for p in range(P)]])
