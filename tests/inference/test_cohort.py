"""Recordings in every form people have them come out alike; what is none is refused with what to write instead."""

import copy
import dataclasses

import numpy as np
import pandas as pd
import pytest

from brainlm.errors import AtlasError, DataError
from brainlm.inference.cohort import check_recordings, recordings_of


@pytest.fixture
def recordings(store):
    return [store[index] for index in range(len(store))]


def test_a_store_is_taken_as_it_is(store):
    assert recordings_of(store, tr=None) is store


def test_recordings_are_taken_as_they_are(recordings):
    for given in (recordings, tuple(recordings)):
        assert all(one is other for one, other in zip(recordings_of(given, tr=None), recordings, strict=True))


@pytest.mark.parametrize("dtype", ["float64", "float16", "int16"])
def test_arrays_and_frames_become_recordings_of_the_given_repetition_time(rng, dtype):
    array = rng.normal(1000, 50, (30, 4)).astype(dtype)
    several = np.empty(2, dtype=object)
    several[:] = [array, array[:20]]
    for given in ([array], [pd.DataFrame(array)], several):
        recording = recordings_of(given, tr=0.72)[0]
        assert recording.bold.dtype == np.float32
        assert np.array_equal(recording.bold, array.astype(np.float32))
        assert recording.tr == 0.72


WRONG = {
    "a path": ("cohort.store", r"found: +the path cohort.store\n.*Store.open"),
    "one recording": (lambda made: made[0], r"found: +one recording\n.*\[recording\]"),
    "one array": (lambda made: made[0].bold, r"found: +one array of \(95, 10\)\n.*\[array\]"),
    "a frame": (lambda made: pd.DataFrame(made[0].bold), r"found: +one array of \(95, 10\)\n.*\[array\]"),
    "three axes": (np.ones((4, 50, 10)), r"found: +an array of \(4, 50, 10\)\n.*list\(array\)"),
    "no axes": (np.array(1.0), r"an array of \(\)"),
    "a generator": (lambda made: (one for one in made), r"a generator\n.*list\(recordings\)"),
    "a number": (3, "a int"),
    "nothing": ([], r"found: +nothing"),
    "numbers": ([1.0, 2.0], r"item 1 is not a recording\n.*\n.*float, 0 axes"),
    "names": (["a.npy"], r"item 1 is not a recording\n.*\n.*str, 0 axes"),
    "something among them": (lambda made: [made[0], None], "item 2 is not a recording"),
    "booleans": ([np.ones((50, 10), bool)], "2 axes of bool"),
    "too few parcels": (lambda made: [made[0], np.ones((50, 9))], r"recording sub-item2 \(item 2\) does not fit"),
    "transposed": (lambda made: [made[0].bold.T], r"\(item 1\) seems to be transposed\n.*\n.*\n.*array.T"),
    "gaps": ([np.where(np.eye(50, 10), np.nan, 1.0)], "recording sub-item1: NaN or infinity inside"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_not_a_cohort_is_refused_with_what_to_do(case, model, recordings):
    given, message = WRONG[case]
    given = given(recordings) if callable(given) else given
    with pytest.raises(DataError, match=message):
        check_recordings(recordings_of(given, tr=2.0), model, resample=False)


def test_an_array_without_a_repetition_time_is_refused(recordings):
    with pytest.raises(DataError, match=r"plain array, and its repetition time is not known[\s\S]*tr=0.735"):
        recordings_of([recordings[0].bold], tr=None)


def test_a_store_of_parcels_in_another_order_is_refused(model, store):
    turned = copy.copy(model)
    turned.parcels = type(model.parcels)(model.parcels.table[::-1].reset_index(drop=True))
    with pytest.raises(AtlasError, match="other parcels than the model, or another order"):
        check_recordings(store, turned, resample=False)


def test_one_recording_of_another_repetition_time_is_found_before_the_work_begins(model, recordings):
    slow = copy.copy(model)
    slow.provenance = {"data": {"tr_s": [2.0]}}
    check_recordings(recordings, slow, resample=False)
    recordings[5] = dataclasses.replace(recordings[5], tr=3.0)
    with pytest.raises(DataError, match=r"\(item 6\) has another repetition time"):
        check_recordings(recordings, slow, resample=False)
    check_recordings(recordings, slow, resample=True)
