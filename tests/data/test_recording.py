"""A recording holds a usable signal or does not exist."""

import pickle

import numpy as np
import pytest

from brainlm.data.recording import Recording, recording_name
from brainlm.errors import DataError


def signal(num_timepoints=5, num_parcels=3):
    return np.arange(num_timepoints * num_parcels, dtype=np.float32).reshape(num_timepoints, num_parcels)


def test_a_recording_knows_its_size_and_name():
    recording = Recording(signal(), 2.0, "01", session="a", task="rest", run="2")
    assert (recording.num_timepoints, recording.num_parcels) == (5, 3)
    assert recording.key == ("01", "a", "rest", "2")
    assert recording.name == "sub-01_ses-a_task-rest_run-2"


def test_empty_parts_are_left_out_of_a_name_and_sub_is_not_repeated():
    assert recording_name("sub-7", task="rest") == "sub-7_task-rest"
    assert recording_name("7") == "sub-7"


def test_a_parcel_without_signal_is_accepted_when_it_is_nan_throughout():
    bold = signal()
    bold[:, 1] = np.nan
    assert np.isnan(Recording(bold, 2.0, "01").bold[:, 1]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_gap_inside_a_parcel_is_refused_and_located(value):
    bold = signal()
    bold[3, 2] = value
    with pytest.raises(DataError, match="1 parcels, first: column 3, time point 4"):
        Recording(bold, 2.0, "01")


def test_infinity_in_a_parcel_without_any_finite_value_is_refused():
    bold = signal()
    bold[:, 0] = np.nan
    bold[2, 0] = np.inf
    with pytest.raises(DataError, match="infinity"):
        Recording(bold, 2.0, "01")


def test_a_recording_without_any_signal_is_refused():
    with pytest.raises(DataError, match="no parcel has any signal"):
        Recording(np.full((5, 3), np.nan, np.float32), 2.0, "01")


@pytest.mark.parametrize("tr", [0.0, -2.0, 0.002, 2000.0, 735.0, float("nan"), float("inf")])
def test_a_repetition_time_that_no_scanner_has_is_refused(tr):
    with pytest.raises(DataError, match="sub-01: the repetition time is not usable") as caught:
        Recording(signal(), tr, "01")
    assert caught.value.remedy
    assert Recording(signal(), 0.025, "01").tr == 0.025  # the fastest there is


def test_a_recording_needs_a_subject():
    with pytest.raises(DataError, match=r"from a\.csv has no subject"):
        Recording(signal(), 2.0, "", source="a.csv")


def test_an_error_survives_the_way_to_another_process_with_all_its_parts():
    with pytest.raises(DataError) as caught:
        Recording(signal(), 0.0, "01")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)
    assert all(part in str(copy) for part in ("expected:", "found:", "remedy:"))
