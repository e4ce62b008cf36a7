"""Recordings that stand out are found, with the right reason, and faultless ones are left in peace."""

import numpy as np
import pytest

from brainlm.data import outliers
from brainlm.data.outliers import THRESHOLD, Usual, correlations, find_outliers
from brainlm.data.recording import Recording
from brainlm.data.synthetic import synthetic_population, synthetic_recordings
from brainlm.errors import ConfigError

NUM_PARCELS = 20
UNITS, SHUFFLED, COPY = 3, 11, 17  # positions of the broken ones


def cohort(num: int = 24, *, num_timepoints: int | tuple[int, int] = 150) -> list[Recording]:
    """Recordings of one kind of people, all in the same units."""
    population = synthetic_population(num_parcels=NUM_PARCELS, num_networks=4, autoregression=0.3)
    made = synthetic_recordings(population, num_subjects=num, num_timepoints=num_timepoints)
    return [with_bold(item, item.bold / item.bold.mean(axis=0)) for item in made]


def with_bold(recording: Recording, bold: np.ndarray) -> Recording:
    return Recording(bold.astype(np.float32), recording.tr, recording.subject, atlas="A6")


@pytest.fixture
def broken(make_store):
    """One in other units, one with its parcels in another order, one a copy of the first."""
    made = cohort()
    made[UNITS] = with_bold(made[UNITS], made[UNITS].bold * 100)
    made[SHUFFLED] = with_bold(
        made[SHUFFLED], made[SHUFFLED].bold[:, np.random.default_rng(0).permutation(NUM_PARCELS)]
    )
    made[COPY] = with_bold(made[COPY], made[0].bold)
    return make_store(made)


def test_other_units_a_wrong_order_and_a_copy_are_found_and_nothing_else(broken):
    found = find_outliers(broken)
    assert np.flatnonzero(found.by_spread).tolist() == [UNITS]
    assert np.flatnonzero(found.by_connectivity).tolist() == [SHUFFLED]
    assert np.flatnonzero(found.twin >= 0).tolist() == [COPY]
    assert found.twin[COPY] == 0
    assert set(found.flagged.tolist()) == {UNITS, SHUFFLED, COPY}
    assert found.flagged[0] == COPY  # no doubt about copies
    assert found.spread[UNITS] == pytest.approx(100, rel=0.5)


def test_a_faultless_cohort_has_no_outliers(make_store):
    found = find_outliers(make_store(cohort()))
    assert found.flagged.tolist() == []
    assert found.read.all()
    assert np.median(found.distance) == pytest.approx(1, abs=0.15)


def test_short_recordings_do_not_stand_out_for_being_short(make_store):
    made = cohort(40)
    made = [with_bold(item, item.bold[:30]) if number < 6 else item for number, item in enumerate(made)]
    found = find_outliers(make_store(made))
    assert not found.by_connectivity[:6].any()
    assert np.median(found.distance[:6]) == pytest.approx(np.median(found.distance[6:]), rel=0.3)


def test_distances_are_those_of_the_definition(make_store):
    made = cohort(9)
    made[2].bold[:, 5] = np.nan
    found = find_outliers(make_store(made))
    matrices = np.stack([np.corrcoef(item.bold.astype(np.float64).T) for item in made])
    mean = np.nanmean(matrices, axis=0)
    expected = []
    for matrix in matrices:
        above = np.triu(np.isfinite(matrix), 1)
        expected.append(np.sqrt(np.mean((matrix - mean)[above] ** 2)))
    assert found.distance == pytest.approx(np.array(expected) / np.median(expected), rel=1e-3)


def test_correlations_agree_with_numpy_and_have_nothing_to_say_of_parcels_without_signal(rng):
    bold = rng.normal(100, 1, (50, 6)).astype(np.float32)
    bold[:, 2] = np.nan
    bold[:, 4] = 7
    found = correlations(bold)
    kept = [0, 1, 3, 5]
    assert found[np.ix_(kept, kept)] == pytest.approx(np.corrcoef(bold[:, kept].astype(np.float64).T), abs=1e-4)
    assert np.isnan(found[[2, 4]]).all()


def test_only_so_many_recordings_are_read_as_are_asked_for(broken):
    told = []
    found = find_outliers(broken, max_read=10, seed=3, on_progress=lambda *step: told.append(step))
    assert found.read.sum() == 10
    assert np.isnan(found.distance[~found.read]).all()
    assert np.isfinite(found.spread).all()  # of all of them
    assert found.by_spread[UNITS]
    assert told[-1] == (20, 20)
    again = find_outliers(broken, max_read=10, seed=3)
    assert np.array_equal(again.distance, found.distance, equal_nan=True)
    assert (find_outliers(broken, max_read=10, seed=4).read != found.read).any()
    assert find_outliers(broken, max_read=0).read.all()


def test_a_negative_number_to_read_is_refused(broken):
    with pytest.raises(ConfigError, match="negative"):
        find_outliers(broken, max_read=-1)


def test_of_fine_atlases_every_so_many_parcels_are_compared(broken, monkeypatch):
    monkeypatch.setattr(outliers, "MAX_PARCELS", 7)
    found = find_outliers(broken)
    assert found.num_parcels == 7
    assert found.by_connectivity[SHUFFLED]


@pytest.mark.parametrize("num", [1, 2, 7])
def test_too_few_recordings_are_compared_but_none_is_called_an_outlier(make_store, num):
    made = cohort(num)
    made[0] = with_bold(made[0], made[0].bold * 1000)
    found = find_outliers(make_store(made))
    assert np.isnan(found.spread_z).all()
    assert found.flagged.tolist() == []
    assert np.isfinite(found.spread).all()


def test_recordings_too_alike_to_have_a_spread_of_their_own_do_not_make_small_deviations_large():
    usual = Usual.of(np.log(np.array([1.0] * 20)))
    assert abs(usual.z(np.log(np.array([1.15])))[0]) < THRESHOLD
    assert usual.z(np.log(np.array([1.5])))[0] > THRESHOLD
    assert usual.ratio_at(THRESHOLD) == pytest.approx(outliers.LEAST_RATIO)


def test_a_parcel_that_nobody_has_and_a_single_time_point_do_no_harm(make_store):
    made = cohort(10)
    for item in made:
        item.bold[:, 7] = np.nan
    short = made[4].bold[:1].copy()
    made[4] = with_bold(made[4], np.vstack([short, short + np.float32(0.01)]))
    found = find_outliers(make_store(made))
    assert np.isfinite(found.spread).all()
    assert np.isfinite(found.distance).all()
