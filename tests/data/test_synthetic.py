"""Synthetic recordings have exactly the structure that they are documented to have."""

import numpy as np
import pytest

from brainlm.data.store import Store
from brainlm.data.synthetic import (
    FLUCTUATION,
    SITES,
    synthetic_population,
    synthetic_recordings,
    synthetic_store,
)


@pytest.fixture(scope="module")
def population():
    return synthetic_population(num_parcels=21, num_networks=4, autoregression=0.6, seed=3)


@pytest.fixture(scope="module")
def cohort(population):
    return list(synthetic_recordings(population, num_subjects=300, num_timepoints=400, seed=3))


def standardised(recording, population):
    return (recording.bold / SITES[recording.site] / population.baseline_P - 1) / FLUCTUATION


def test_the_mean_covariance_over_subjects_is_the_populations(population, cohort):
    signals = [standardised(recording, population) for recording in cohort]
    mean = np.mean([signal.T @ signal / len(signal) for signal in signals], axis=0)
    np.testing.assert_allclose(np.diag(population.covariance), 1)
    np.testing.assert_allclose(mean, population.covariance, atol=0.05)


def test_a_subjects_covariance_follows_from_its_phenotypes(population):
    recording = next(iter(synthetic_recordings(population, num_subjects=1, num_timepoints=200_000, seed=3)))
    signal = standardised(recording, population)
    truth = population.covariance_of(
        strength=recording.phenotypes["strength"], coupling=recording.phenotypes["coupling"]
    )
    np.testing.assert_allclose(signal.T @ signal / len(signal), truth, atol=0.03)
    assert not np.allclose(truth, population.covariance, atol=0.03)


def test_a_covariance_is_one(population):
    assert np.linalg.eigvalsh(population.covariance).min() > 0
    np.testing.assert_allclose(population.covariance, population.covariance.T, atol=1e-12)


def test_each_parcel_repeats_itself_by_the_known_coefficient(population, cohort):
    lagged = np.zeros(3)
    for recording in cohort:
        signal = standardised(recording, population)
        lagged += [np.mean(signal[lag:] * signal[: len(signal) - lag]) / len(cohort) for lag in (1, 2, 3)]
    np.testing.assert_allclose(lagged, 0.6 ** np.arange(1, 4), atol=0.02)


def test_networks_are_of_low_rank_and_their_parcels_belong_together(population):
    covariance = population.covariance
    same = population.network_P[:, None] == population.network_P
    off_diagonal = ~np.eye(21, dtype=bool)
    assert covariance[same & off_diagonal].min() > 0.2
    others = (population.network_P[:, None] > 1) & ~same
    np.testing.assert_allclose(covariance[others], 0, atol=1e-12)


def test_mirror_images_lie_opposite_each_other_and_are_more_alike(population):
    table, mirror = population.parcels.table, population.mirror_P
    np.testing.assert_array_equal(table["x"], -table["x"].to_numpy()[mirror])
    np.testing.assert_array_equal(table[["y", "z"]], table[["y", "z"]].to_numpy()[mirror])
    assert population.parcels.networks == ["network"]
    assert mirror[20] == 20  # an odd one lies in the midline
    assert table["x"][20] == 0
    assert population.covariance[0, mirror[0]] > population.covariance[0, 2]


def test_age_is_written_in_one_connection_and_sex_nowhere(population, cohort):
    age = np.array([recording.phenotypes["age"] for recording in cohort])
    sex = np.array([recording.phenotypes["sex"] == "F" for recording in cohort])
    first, second = population.network_P == 0, population.network_P == 1
    connection = []
    for recording in cohort:
        signal = standardised(recording, population)
        connection.append(np.corrcoef(signal[:, first].mean(axis=1), signal[:, second].mean(axis=1))[0, 1])
    assert np.corrcoef(age, connection)[0, 1] > 0.7
    assert abs(np.corrcoef(sex, connection)[0, 1]) < 0.15
    assert (age.min() >= 20) & (age.max() <= 80)


def test_sites_differ_in_gain_and_nothing_else(population, cohort):
    for site, gain in SITES.items():
        of_site = [recording for recording in cohort if recording.site == site]
        assert len(of_site) > 50
        mean = np.mean([recording.bold.mean(axis=0) for recording in of_site], axis=0)
        np.testing.assert_allclose(mean, gain * population.baseline_P, rtol=1e-3)


def test_a_subject_is_the_same_however_many_others_there_are(population):
    few, many = (list(synthetic_recordings(population, num_subjects=number, runs_per_subject=2)) for number in (2, 5))
    assert [recording.name for recording in few] == [recording.name for recording in many[:4]]
    for one, other in zip(few, many, strict=False):
        np.testing.assert_array_equal(one.bold, other.bold)
    assert not np.array_equal(few[0].bold, few[1].bold)
    assert few[0].phenotypes == few[1].phenotypes


def test_lengths_are_drawn_from_the_range(population):
    recordings = synthetic_recordings(population, num_subjects=40, num_timepoints=(30, 33))
    assert {recording.num_timepoints for recording in recordings} == {30, 31, 32, 33}


def test_a_store_holds_the_recordings_with_splits_and_truth(tmp_path):
    store = synthetic_store(tmp_path / "a.store", num_subjects=15, runs_per_subject=2, num_timepoints=(50, 60), seed=7)
    population = synthetic_population(seed=7)
    assert len(store) == 30
    assert set(store.metadata["split"]) == {"train", "validation", "test"}
    assert {"age", "sex", "strength", "coupling"} < set(store.metadata.columns)
    assert store.parcels.fingerprint == population.parcels.fingerprint
    again = synthetic_store(tmp_path / "b.store", num_subjects=15, runs_per_subject=2, num_timepoints=(50, 60), seed=7)
    assert again.fingerprint == store.fingerprint
    assert Store.open(tmp_path / "a.store", verify=True).metadata["site"].nunique() > 1
