"""One table file -> the (T, P) signal of a recording: header, orientation, parcels without signal.

Files are taken apart in ``text_tables.py`` and ``array_tables.py``. Whose recording it is comes from ``bids.py``; many
files and the store are in ``importing.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, Int64, Num

from brainlm.data.array_tables import read_mat, read_npy, read_npz
from brainlm.data.parcels import Parcels
from brainlm.data.statistics import constant_parcels
from brainlm.data.text_tables import RawTable, is_counting, read_text, with_labels_as_header
from brainlm.errors import DataError

Orientation = Literal["auto", "time-first", "parcels-first"]


@dataclass(frozen=True, eq=False)
class Signal:
    """The signal of one recording, ready for a ``Recording``, and what was done to the file's values to get it.

    ``bold`` is (T, P): a parcel without signal (missing, or constant in time) is NaN in all its time points.
    """

    bold: Float32[np.ndarray, "T P"]
    num_without_signal: int = 0
    transposed: bool = False
    reordered: bool = False


def read_table(
    path: str | Path,
    parcels: Parcels,
    *,
    orientation: Orientation = "auto",
    drop_columns: Sequence[str] = (),
    ignore_header: bool = False,
) -> Signal:
    """The signal in the table at ``path``, its columns in the order of ``parcels``.

    Args:
        path: a ``.tsv .csv .1D .dat .txt .npy .npz`` or ``.mat`` file.
        parcels: decides which axis is parcels, and names the columns when the file has a header.
        orientation: which axis comes first; ``"auto"`` lets the number of parcels decide.
        drop_columns: columns that are no parcels (an index, a global signal): header names, or positions from 1.
        ignore_header: trust the order of the columns whatever the header calls them.

    Raises:
        DataError: the file cannot be read, does not fit the parcels, or holds text, NaN or infinity.
    """
    path = Path(path)
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise DataError(
            f"{path} is not a kind of table that can be read",
            expected=", ".join(TABLE_SUFFIXES),
            found=path.suffix or "a name without ending",
            remedy="convert it, or leave it out",
        )
    try:
        raw = read(path, len(parcels) + len(drop_columns))
    except OSError as error:
        raise DataError(
            f"{path} cannot be read", found=str(error), remedy="check the path and its permissions"
        ) from error
    labels = [str(label) for label in parcels.labels]
    raw = with_labels_as_header(_without_columns(raw, drop_columns, path), labels)
    values = _numbers(raw, path)
    remedy = _shape_remedy(values.shape, len(parcels), orientation)
    transposed = parcels_come_first(values.shape, len(parcels), orientation, what=str(path), remedy=remedy)
    order = None
    if raw.header and not transposed and not ignore_header:
        order = _order_by_header(raw.header, parcels, path)
    values_TP = values.T if transposed else values if order is None else values[:, order]
    signal = signal_from_values(values_TP, source=str(path))
    return Signal(signal.bold, signal.num_without_signal, transposed, order is not None)


def signal_from_values(values_TP: Num[np.ndarray, "T P"], *, source: str) -> Signal:
    """The values as float32, with parcels that are constant in time or missing throughout set to NaN and counted.

    A constant column is what an atlas gives where the scan has no coverage; it carries no signal and cannot be scaled.

    Raises:
        DataError: fewer than two time points, NaN in a part of a parcel, infinity anywhere, or no signal at all.
    """
    with np.errstate(over="ignore"):  # beyond float32 becomes infinity, which is refused below
        bold_TP = np.array(values_TP, dtype=np.float32, order="C")
    num_timepoints, num_parcels = bold_TP.shape
    if num_timepoints < 2:
        raise DataError(
            f"{source} has no time course",
            expected="at least 2 time points",
            found=f"{num_timepoints} x {num_parcels} (time points x parcels)",
            remedy="check that the file is complete",
        )
    missing_TP = np.isnan(bold_TP)
    missing_P = missing_TP.all(axis=0)
    _refuse_partly_missing((missing_TP & ~missing_P) | np.isinf(bold_TP), bold_TP, source)
    constant_P = constant_parcels(bold_TP)
    without_signal_P = missing_P | constant_P
    if without_signal_P.all():
        raise DataError(
            f"{source}: no parcel has any signal",
            expected="at least one parcel that varies in time",
            found=f"{int(missing_P.sum())} parcels missing throughout, {int(constant_P.sum())} constant",
            remedy="check that the file is what you think it is",
        )
    bold_TP[:, without_signal_P] = np.nan
    return Signal(bold_TP, num_without_signal=int(without_signal_P.sum()))


def _refuse_partly_missing(bad_TP: Bool[np.ndarray, "T P"], bold_TP: Float32[np.ndarray, "T P"], source: str) -> None:
    if not bad_TP.any():
        return
    time, parcel = np.argwhere(bad_TP)[0]
    raise DataError(
        f"{source}: NaN or infinity inside a parcel that has signal",
        expected="finite float32 values (a parcel without signal may be NaN throughout)",
        found=f"{int(bad_TP.sum())} values in {int(bad_TP.any(axis=0).sum())} parcels; the first, "
        f"{bold_TP[time, parcel]}, at time point {time + 1} of parcel {parcel + 1}",
        remedy="repair the file (interpolate, or set the whole parcel to NaN) or leave it out",
    )


def _without_columns(raw: RawTable, drop_columns: Sequence[str], path: Path) -> RawTable:
    """``raw`` without the columns counted from 1, or named in its header; a whole number is always a count."""
    num_columns = raw.frame.shape[1]
    positions: set[int] = set()
    for name in drop_columns:
        if name.isdecimal() and 1 <= int(name) <= num_columns:
            positions.add(int(name) - 1)
        elif name in raw.header and not name.isdecimal():
            positions.update(position for position, other in enumerate(raw.header) if other == name)
        else:
            raise DataError(
                f"{path} has no column {name!r} to leave out",
                expected=f"a name in the header, or a position from 1 to {num_columns}",
                found=f"header {_shown(raw.header)}" if raw.header else f"no header, {num_columns} columns",
                remedy="correct --drop-columns",
            )
    kept = [position for position in range(num_columns) if position not in positions]
    header = tuple(raw.header[position] for position in kept) if raw.header else ()
    return RawTable(raw.frame.iloc[:, kept], header, raw.line_numbers)


def _numbers(raw: RawTable, path: Path) -> Num[np.ndarray, "R C"]:
    """The table's values, or an error that names the first one that is text."""
    is_number = [pd.api.types.is_numeric_dtype(kind) and kind.kind != "b" for kind in raw.frame.dtypes]
    for position in np.flatnonzero(~np.array(is_number)).tolist():
        column: pd.Series = raw.frame.iloc[:, position]
        is_text = (pd.to_numeric(column, errors="coerce").isna() & column.notna()).to_numpy()
        if not pd.api.types.is_bool_dtype(column) and not is_text.any():
            continue
        row = int(np.argmax(is_text))
        place = f"line {raw.line_numbers[row]}" if raw.line_numbers else f"row {row + 1}"
        name = f" ({raw.header[position]})" if raw.header else ""
        raise DataError(
            f"{path} holds a value that is not a number",
            expected="numbers, with a point for decimals; n/a, NaN or nothing where there is no signal",
            found=f"{column.iloc[row]!r} in {place}, column {position + 1}{name}",
            remedy=f"repair the file, or leave the column out with --drop-columns {position + 1}",
        )
    values = raw.frame.to_numpy(dtype=None if all(is_number) else np.float64)
    if np.iscomplexobj(values):
        raise DataError(f"{path} holds complex numbers", expected="real numbers", remedy="save the real signal")
    return values


def parcels_come_first(
    shape: tuple[int, ...], num_parcels: int, orientation: Orientation, *, what: str, remedy: str
) -> bool:
    """True when the rows of a table are parcels.

    Args:
        shape: of the table.
        num_parcels: decides, where it can.
        orientation: which axis must fit; with ``auto`` either may.
        what: whose shape it is, for the error.
        remedy: what to do where nothing fits.

    Raises:
        DataError: it is no table, the axis does not fit, or both do and which is time is not said.
    """
    is_table = len(shape) == 2
    rows_fit, columns_fit = (size == num_parcels for size in (shape if is_table else (0, 0)))
    found = f"{shape[0]} rows x {shape[1]} columns" if is_table else f"{' x '.join(map(str, shape))} values"
    if orientation == "auto" and rows_fit and columns_fit:
        raise DataError(
            f"{what}: rows and columns both fit the {num_parcels} parcels, so which is time is unknown",
            expected=f"{num_parcels} columns (or rows) and another number of time points",
            found=found,
            remedy="say which with --orientation time-first or --orientation parcels-first",
        )
    wanted = {"auto": columns_fit or rows_fit, "time-first": columns_fit, "parcels-first": rows_fit}
    if not wanted[orientation]:
        axis = {"auto": "columns (or rows)", "time-first": "columns", "parcels-first": "rows"}[orientation]
        raise DataError(
            f"{what} does not fit the parcels table of {num_parcels}",
            expected=f"{num_parcels} {axis}, one a parcel",
            found=found,
            remedy=remedy,
        )
    return not columns_fit if orientation == "auto" else orientation == "parcels-first"


def _shape_remedy(shape: tuple[int, ...], num_parcels: int, orientation: Orientation) -> str:
    if orientation != "auto" and num_parcels in shape:
        return f"the other axis fits: drop --orientation {orientation} or give the opposite"
    if shape[1] == num_parcels + 1:
        return "if the first column is an index or a global signal, leave it out with --drop-columns 1"
    return "give the parcels table these files were made with, or --drop-columns for columns that are no parcels"


def _order_by_header(header: tuple[str, ...], parcels: Parcels, path: Path) -> Int64[np.ndarray, "P"] | None:
    """Where in the file each parcel is, when the header says so; None when the columns are in order already.

    A header holds the parcels' names, or their labels as ABIDE's ``#1 #2 ...``. A plain count of the columns (as pandas
    writes by default) names nothing: the order is trusted, as without a header.
    """
    names = parcels.table["name"].astype(str).tolist()
    labels = [str(label) for label in parcels.labels]
    for wanted in (names, labels):
        if list(header) == wanted:
            return None
        if len(set(wanted)) == len(wanted) and sorted(header) == sorted(wanted):
            position = {name: index for index, name in enumerate(header)}
            return np.array([position[name] for name in wanted], dtype=np.int64)
    if is_counting(header):
        return None
    first = next(index for index, name in enumerate(header) if name != names[index])
    repeated = len(set(names)) < len(names) and sorted(header) == sorted(names)
    raise DataError(
        f"{path}: the header does not name the parcels of the parcels table",
        expected=f"the table's names or labels, in any order; parcel {first + 1} is {names[first]!r}",
        found=f"column {first + 1} is {header[first]!r}; "
        + (
            "names repeat, so another order cannot be undone"
            if repeated
            else f"{len(set(header) - set(names))} names are not in the table"
        ),
        remedy="give the parcels table these files were made with; if only the names differ, --ignore-header",
    )


def _shown(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f", ... ({len(names)})" if len(names) > most else "")


_READERS: Mapping[str, Callable[[Path, int], RawTable]] = {
    ".tsv": read_text,
    ".csv": read_text,
    ".1d": read_text,
    ".dat": read_text,
    ".txt": read_text,
    ".npy": read_npy,
    ".npz": read_npz,
    ".mat": read_mat,
}
TABLE_SUFFIXES = tuple(_READERS)
