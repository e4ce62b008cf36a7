"""Recordings in the forms people have them in Python: a store, a list of recordings, a list of plain arrays.

Turned into one form and compared with the model here, so that a mistake is found before the work begins; what is done
with them is in ``features.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from brainlm.data.recording import Recording
from brainlm.data.store import Store
from brainlm.errors import DataError
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.checks import check_tr


def recordings_of(given: Any, *, tr: float | None) -> Store | list[Recording]:
    """What was given, as recordings; a store is not read yet.

    Args:
        given: a store, or a sequence of recordings or (T, P) arrays.
        tr: repetition time of plain arrays, in seconds.

    Raises:
        DataError: it is something else, or empty; plain arrays without a repetition time, or of another shape.
    """
    if isinstance(given, str | Path):
        raise _not_recordings(f"the path {given}", "open it first: brainlm.Store.open(path)")
    if isinstance(given, Recording):
        raise _not_recordings("one recording", "put it into a list: [recording]")
    num_axes = np.ndim(given) if hasattr(given, "shape") else 1
    if num_axes == 2:
        raise _not_recordings(f"one array of {np.shape(given)}", "put it into a list, time points first: [array]")
    if num_axes != 1:
        raise _not_recordings(f"an array of {np.shape(given)}", "make a list of (T, P) arrays of it: list(array)")
    if not hasattr(given, "__len__") or not hasattr(given, "__getitem__"):
        raise _not_recordings(f"a {type(given).__name__}", "make a list of it: list(recordings)")
    if len(given) == 0:
        raise _not_recordings("nothing", "check what selects the recordings")
    if isinstance(given, Store):
        return given
    return [_recording(item, number, tr=tr) for number, item in enumerate(given, start=1)]


def _not_recordings(found: str, remedy: str) -> DataError:
    expected = "a store, or a sequence of recordings or (T, P) arrays"
    return DataError("features cannot be computed from this", expected=expected, found=found, remedy=remedy)


def _recording(item: Any, number: int, *, tr: float | None) -> Recording:
    if isinstance(item, Recording):
        return item
    array = np.asarray(item)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        found = f"{type(item).__name__}, {array.ndim} axes of {array.dtype}"
        raise DataError(f"item {number} is not a recording", expected="a (T, P) array of numbers", found=found)
    if tr is None:
        raise DataError(
            f"item {number} is a plain array, and its repetition time is not known",
            expected="a repetition time in seconds",
            found="tr=None",
            remedy="say BrainLMFeatures(..., tr=0.735) with the arrays' own, or give brainlm.Recording objects",
        )
    return Recording(np.asarray(array, dtype=np.float32), tr, f"item{number}")


def check_recordings(recordings: Store | list[Recording], model: BrainLM, *, resample: bool) -> None:
    """Find out before any is embedded whether all recordings fit the model; ``resample`` forgives the repetition time.

    Raises:
        DataError: other parcels than the model's, or another repetition time.
        AtlasError: the parcels of a store are others than the model's, or in another order.
    """
    if isinstance(recordings, Store):
        model.check_store(recordings)
        for number, tr in enumerate(() if resample else recordings.metadata["tr"], start=1):
            check_tr(float(tr), model.trained_tr_s, what=f"recording {number} of {recordings.path}")
        return
    for number, recording in enumerate(recordings, start=1):
        what = f"recording {recording.name} (item {number})"
        if recording.num_parcels != len(model.parcels) == recording.num_timepoints:
            raise DataError(
                f"{what} seems to be transposed",
                expected=f"(T, {len(model.parcels)}): time points first",
                found=f"{recording.bold.shape}",
                remedy="transpose it: array.T",
            )
        model.check_parcels(recording.num_parcels, what=what)
        if not resample:
            check_tr(recording.tr, model.trained_tr_s, what=what)
