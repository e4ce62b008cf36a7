"""A CIFTI scan -> one value per parcel and time point: dtseries by grayordinates, ptseries by the names of its parcels.

Which grayordinate belongs to which parcel is decided in ``grayordinates.py``; NIfTI scans are read in
``parcellate.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64, Num
from scipy.sparse import csr_array

from brainlm.data.atlas import Atlas
from brainlm.data.grayordinates import CiftiFile, matched, open_cifti, places_of
from brainlm.data.parcellate import MIN_COVERAGE, ParcelSeries
from brainlm.errors import DataError

CHUNK_BYTES = 32 * 2**20  # of a scan in memory at a time, as float64
MOST_SHOWN = 5  # names or numbers in a message


def read_cifti(path: str | Path, atlas: Atlas, *, min_coverage: float = MIN_COVERAGE) -> ParcelSeries:
    """The series of one CIFTI scan.

    Of a dtseries, a parcel's series is the mean over its grayordinates with signal: those that are finite at every
    time point and not constant. Coverage is their share among the parcel's grayordinates in the atlas's dlabel; those
    that the scan lacks count as without. Of a ptseries the series are taken as they are, and coverage is 1 or 0.

    Args:
        path: ``.dtseries.nii`` or ``.ptseries.nii``.
        atlas: with a dlabel for a dtseries (``Atlas.with_grayordinates``).
        min_coverage: parcels of which a smaller share has signal are NaN.

    Raises:
        DataError: damaged, not over time, without signal, on other surfaces or voxels than the atlas, or a ptseries of
            other parcels.
        AtlasError: the atlas has no dlabel, or one that does not fit its table.
    """
    from nibabel.cifti2 import ParcelsAxis

    name = str(path)
    file = open_cifti(path, DataError)
    time, space = _axes(file)
    if isinstance(space, ParcelsAxis):
        return _read_parcels(file, space, atlas, min_coverage=min_coverage, header_tr_s=_tr_s(time))
    dlabel = atlas.read_grayordinates()
    label_V = matched(places_of(space), dlabel, name)
    column_V = _columns(label_V, atlas)
    sums = _sum(file, column_V, num_parcels=len(atlas.parcels))
    counts_P = np.bincount(column_V[sums.valid], minlength=len(atlas.parcels)).astype(np.float64)
    in_atlas = _columns(dlabel.label, atlas)
    coverage_P = counts_P / np.bincount(in_atlas[in_atlas >= 0], minlength=len(atlas.parcels))
    with np.errstate(invalid="ignore"):
        means_TP = sums.sums / counts_P
    return ParcelSeries.of(
        means_TP, coverage_P, min_coverage=min_coverage, header_tr_s=_tr_s(time), how="grayordinates"
    )


def _axes(file: CiftiFile) -> tuple[Any, Any]:
    """nibabel's axes of time and of space."""
    from nibabel.cifti2 import BrainModelAxis, ParcelsAxis, SeriesAxis

    axes = file.axes
    over_time = len(axes) == 2 and isinstance(axes[0], SeriesAxis) and isinstance(axes[1], BrainModelAxis | ParcelsAxis)
    if not over_time or axes[0].unit != "SECOND" or len(axes[0]) < 2:
        raise DataError(
            f"{file.path} has no time course of grayordinates or parcels",
            expected="a series of at least 2 time points, in seconds (.dtseries.nii, .ptseries.nii)",
            found=file.kinds,
            remedy="give the dtseries or ptseries of the scan",
        )
    return axes[0], axes[1]


def _tr_s(time: Any) -> float | None:
    """The repetition time, None where the header has none."""
    return float(time.step) if 0 < time.step < np.inf else None


def _columns(label_G: Int64[np.ndarray, "G"], atlas: Atlas) -> Int64[np.ndarray, "G"]:
    """The column of each label in the atlas's table; -1 for 0. All labels are there (``Atlas.read_grayordinates``)."""
    labels = atlas.parcels.labels
    column = np.full(int(labels.max()) + 1, -1, dtype=np.int64)
    column[labels] = np.arange(len(labels))
    return column[label_G]


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums over the grayordinates with signal of each parcel, and which of all grayordinates these are."""

    sums: Float64[np.ndarray, "T P"]
    valid: Bool[np.ndarray, "V"]


def _sum(file: CiftiFile, column_V: Int64[np.ndarray, "V"], *, num_parcels: int) -> _Sums:
    """Read the scan once, some grayordinates at a time: their whole series lie next to each other in the file."""
    num_timepoints, num_grayordinates = file.values.shape
    sums_PT = np.zeros((num_parcels, num_timepoints))
    valid_V = np.zeros(num_grayordinates, dtype=bool)
    low_T, high_T = np.full((2, num_timepoints), np.nan)
    chunk = max(1, CHUNK_BYTES // (8 * num_timepoints))
    for start in range(0, num_grayordinates, chunk):
        part = slice(start, min(start + chunk, num_grayordinates))
        inside = np.flatnonzero(column_V[part] >= 0)
        block_VT = _block(file, part)[inside].astype(np.float64)
        if not inside.size:
            continue
        low_T = np.fmin(low_T, np.fmin.reduce(block_VT))
        high_T = np.fmax(high_T, np.fmax.reduce(block_VT))
        valid = _has_signal(block_VT)
        valid_V[start + inside] = valid
        columns = column_V[part][inside[valid]]
        weights = csr_array((np.ones(len(columns)), (columns, np.arange(len(columns)))), (num_parcels, len(columns)))
        sums_PT += weights @ block_VT[valid]
    _check_volumes(low_T, high_T, file)
    if not valid_V.any():
        raise _no_signal(file, f"{(column_V >= 0).sum():,} grayordinates of parcels, all constant or not finite")
    return _Sums(sums_PT.T, valid_V)


def _block(file: CiftiFile, part: slice) -> Num[np.ndarray, "V T"]:
    try:
        return np.asarray(file.values[:, part]).T
    except (OSError, ValueError) as error:
        raise DataError(
            f"{file.path} cannot be read",
            found=f"{error} (grayordinates {part.start + 1:,} to {part.stop:,})",
            remedy="check permissions, disk and network, then run it again",
        ) from error


def _has_signal(series_VT: Float64[np.ndarray, "V T"]) -> Bool[np.ndarray, "V"]:
    """Finite at every time point and not constant."""
    with np.errstate(invalid="ignore"):
        return np.isfinite(series_VT).all(axis=1) & (series_VT.min(axis=1) < series_VT.max(axis=1))


def _check_volumes(low_T: Float64[np.ndarray, "T"], high_T: Float64[np.ndarray, "T"], file: CiftiFile) -> None:
    """Time points at which all grayordinates have one value, or none, hold no image."""
    empty = np.flatnonzero(~(low_T < high_T))
    if empty.size:
        raise DataError(
            f"{file.path} has time points without an image",
            expected="different finite values at every time point",
            found=f"{empty.size} of {len(low_T)} time points with one value or none: {_some(empty + 1)}",
            remedy="cut these time points off (if they are at an end), or leave the scan out",
        )


def _read_parcels(
    file: CiftiFile, space: Any, atlas: Atlas, *, min_coverage: float, header_tr_s: float | None
) -> ParcelSeries:
    columns = _columns_of_names([str(parcel) for parcel in space.name], atlas, file)
    series_PT = _block(file, slice(0, len(columns))).astype(np.float64)
    if len(columns) > 1:
        _check_volumes(np.fmin.reduce(series_PT), np.fmax.reduce(series_PT), file)
    valid = _has_signal(series_PT)
    if not valid.any():
        raise _no_signal(file, f"{len(columns)} parcels, all constant or not finite")
    means_TP = np.full((series_PT.shape[1], len(atlas.parcels)), np.nan)
    means_TP[:, columns[valid]] = series_PT[valid].T
    coverage_P = np.isfinite(means_TP[0]).astype(np.float64)
    return ParcelSeries.of(means_TP, coverage_P, min_coverage=min_coverage, header_tr_s=header_tr_s, how="parcellated")


def _columns_of_names(names: Sequence[str], atlas: Atlas, file: CiftiFile) -> Int64[np.ndarray, "N"]:
    """The column of each parcel of a ptseries, by the table's names, the dlabel's, or the labels."""
    table = atlas.parcels.table["name"].astype(str).tolist()
    labels = [str(label) for label in atlas.parcels.labels]
    namings = [table, labels]
    if atlas.grayordinates is not None:
        dlabel = atlas.read_grayordinates()
        namings.insert(1, [dlabel.names[int(label)] for label in atlas.parcels.labels])
    for naming in namings:
        column = {parcel: number for number, parcel in enumerate(naming)}
        if len(column) == len(naming) and column.keys() >= set(names) and len(set(names)) == len(names):
            return np.array([column[parcel] for parcel in names], dtype=np.int64)
    unknown = sorted(set(names) - set(table))
    raise DataError(
        f"{file.path} does not have the parcels of the atlas {atlas.name}",
        expected=f"names such as {_some(table)}, each once",
        found=f"{len(names)} parcels, {len(unknown)} of them unknown: {_some(unknown)}",
        remedy="give the atlas that the scan was parcellated with, or the dtseries",
    )


def _no_signal(file: CiftiFile, found: str) -> DataError:
    return DataError(
        f"{file.path}: no parcel has any signal",
        expected="finite values that change over time",
        found=found,
        remedy="check that the file is what you think it is",
    )


def _some(items: Sequence[object] | np.ndarray) -> str:
    return ", ".join(str(item) for item in items[:MOST_SHOWN]) + (", ..." if len(items) > MOST_SHOWN else "")
