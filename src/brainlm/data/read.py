"""One table file -> the (T, P) signal of a recording: header, orientation, parcels without signal.

Files are taken apart in ``text_tables.py`` and ``array_tables.py``. Whose recording it is comes from ``bids.py``; many
files and the store are in ``importing.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, Int64, Num

from brainlm.data.array_tables import read_mat, read_npy, read_npz
from brainlm.data.parcels import Parcels
from brainlm.data.statistics import constant_parcels
from brainlm.data.table_names import (
    NO_TITLE,
    Header,
    Index,
    cells,
    is_counting,
    is_no_signal,
    is_text,
    plain_names,
    shown,
)
from brainlm.data.text_tables import RawTable, read_text, with_labels_as_header
from brainlm.errors import DataError

Orientation = Literal["auto", "time-first", "parcels-first"]


class MisfitError(DataError):
    """A table that can be read, but not as a recording of these parcels: another atlas, or no time series at all."""


@dataclass(frozen=True, eq=False)
class Signal:
    """The signal of one recording, ready for a ``Recording``, and what was done to the file's values to get it.

    ``bold`` is (T, P): a parcel without signal (missing, or constant in time) is NaN in all its time points.
    ``remarks`` say what was recognised as no signal and left out.
    """

    bold: Float32[np.ndarray, "T P"]
    num_without_signal: int = 0
    transposed: bool = False
    reordered: bool = False
    remarks: tuple[str, ...] = ()


def read_table(
    path: str | Path,
    parcels: Parcels,
    *,
    orientation: Orientation = "auto",
    drop_columns: Sequence[str] = (),
    ignore_header: bool = False,
    header: Header = "auto",
    index: Index = "auto",
) -> Signal:
    """The signal in the table at ``path``, its parcels in the order of ``parcels``.

    Args:
        path: a ``.tsv .csv .1D .dat .txt .npy .npz`` or ``.mat`` file.
        parcels: decides which axis is parcels, and names them when the file has names of columns or rows.
        orientation: which axis comes first; ``"auto"`` lets the number of parcels and their names decide.
        drop_columns: columns that are no parcels (an index, a global signal): header names, or positions from 1.
        ignore_header: trust the order of the parcels whatever the file calls them.
        header: whether the first line names columns; ``"auto"`` finds out.
        index: whether the first column names or counts rows; ``"auto"`` finds out.

    Raises:
        MisfitError: the table does not fit the parcels.
        DataError: the file cannot be read, or holds text, NaN or infinity.
    """
    path = Path(path)
    raw = _without_columns(read_raw(path, len(parcels) + len(drop_columns), header), drop_columns, path)
    if header == "auto":
        raw = with_labels_as_header(raw, [str(label) for label in parcels.labels])
    raw = _without_row_names(raw, parcels, index, path)
    values = _numbers(raw, path)
    _refuse_connectivity(raw, values, path)
    if orientation == "auto" and values.shape[0] == values.shape[1] == len(parcels) and not ignore_header:
        orientation = _orientation_by_names(raw, parcels)
    remedy = _shape_remedy(values.shape, len(parcels), orientation, raw)
    transposed = parcels_come_first(values.shape, len(parcels), orientation, what=str(path), remedy=remedy)
    order = None
    if not ignore_header and transposed:
        order = _order_of_rows(raw.row_names, parcels, path)
    elif not ignore_header and raw.header:
        order = _order_by_names(raw.header, parcels, path, "column")
    values_TP = values.T if transposed else values
    values_TP = values_TP if order is None else values_TP[:, order]

    def place(time: int, parcel: int) -> str:
        along = parcel if order is None else int(order[parcel])
        return _place(raw, *((along, time) if transposed else (time, along)))

    signal = signal_from_values(values_TP, source=str(path), place=place)
    return Signal(signal.bold, signal.num_without_signal, transposed, order is not None, raw.remarks)


def read_raw(path: Path, num_expected: int, header: Header) -> RawTable:
    """The table at ``path`` as it is in the file, where nothing is known of its parcels yet.

    Raises:
        DataError: it is no table that can be read.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise DataError(
            f"{path} is not a kind of table that can be read",
            expected=", ".join(TABLE_SUFFIXES),
            found=path.suffix or "a name without ending",
            remedy="convert it, or leave it out",
        )
    try:
        return read(path, num_expected, header)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read", found=str(error), remedy="check the path and its permissions"
        ) from error


def signal_from_values(
    values_TP: Num[np.ndarray, "T P"], *, source: str, place: Callable[[int, int], str] | None = None
) -> Signal:
    """The values as float32, with parcels that are constant in time or missing throughout set to NaN and counted.

    A constant column is what an atlas gives where the scan has no coverage; it carries no signal and cannot be scaled.

    Args:
        values_TP: what the source holds.
        source: for messages.
        place: where in the source the value of a time point and parcel is, in words; None where it is that place.

    Raises:
        MisfitError: fewer than two time points.
        DataError: NaN in a part of a parcel, infinity anywhere, or no signal at all.
    """
    with np.errstate(over="ignore"):  # beyond float32 becomes infinity, which is refused below
        bold_TP = np.array(values_TP, dtype=np.float32, order="C")
    num_timepoints, num_parcels = bold_TP.shape
    if num_timepoints < 2:
        raise MisfitError(
            f"{source} has no time course",
            expected="at least 2 time points",
            found=f"{num_timepoints} x {num_parcels} (time points x parcels)",
            remedy="check that the file is complete",
        )
    missing_TP = np.isnan(bold_TP)
    missing_P = missing_TP.all(axis=0)
    _refuse_partly_missing((missing_TP & ~missing_P) | np.isinf(bold_TP), bold_TP, source, place)
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


def _refuse_partly_missing(
    bad_TP: Bool[np.ndarray, "T P"],
    bold_TP: Float32[np.ndarray, "T P"],
    source: str,
    place: Callable[[int, int], str] | None,
) -> None:
    if not bad_TP.any():
        return
    time, parcel = np.argwhere(bad_TP)[0].tolist()
    where = f" ({place(time, parcel)})" if place is not None else ""
    raise DataError(
        f"{source}: NaN or infinity inside a parcel that has signal",
        expected="finite float32 values (a parcel without signal may be NaN throughout)",
        found=f"{int(bad_TP.sum())} values in {int(bad_TP.any(axis=0).sum())} parcels; the first, "
        f"{bold_TP[time, parcel]}, at time point {time + 1} of parcel {parcel + 1}{where}",
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
                found=f"header {shown(raw.header)}" if raw.header else f"no header, {num_columns} columns",
                remedy="correct --drop_columns",
            )
    kept = [position for position in range(num_columns) if position not in positions]
    header = tuple(raw.header[position] for position in kept) if raw.header else ()
    dropped = tuple(cells(raw.frame.iloc[:, position]) for position in sorted(positions))
    return replace(raw, frame=raw.frame.iloc[:, kept], header=header, row_names=dropped)


def _without_row_names(raw: RawTable, parcels: Parcels, index: Index, path: Path) -> RawTable:
    """``raw`` without the first columns that name or count its rows, or give their times."""
    labels, names = [str(label) for label in parcels.labels], parcels.table["name"].astype(str).tolist()
    while raw.frame.shape[1] > 1 and index != "none":
        column, other = raw.frame.iloc[:, 0], _varying_column(raw.frame)
        title = raw.header[0] if raw.header else NO_TITLE
        if other is None:
            break
        if index == "auto" and not is_no_signal(column, other, title=title, labels=labels, names=names, path=path):
            break
        index = "auto"
        called = f"{title!r}: " if title.strip(NO_TITLE) else ""
        remark = f"column {_number_of(raw, 0)} ({called}{shown(cells(column))}) names or counts rows and is no signal"
        raw = replace(
            raw,
            frame=raw.frame.iloc[:, 1:],
            header=raw.header[1:],
            row_names=(*raw.row_names, cells(column)),
            remarks=(*raw.remarks, remark),
        )
    return raw


def _varying_column(frame: pd.DataFrame) -> pd.Series | None:
    """The last column of numbers that are not all the same: signal, whatever the first column is."""
    for position in range(frame.shape[1] - 1, 0, -1):
        column: pd.Series = frame.iloc[:, position]
        if pd.api.types.is_numeric_dtype(column) and column.nunique() > 1:
            return column
    return None


def _numbers(raw: RawTable, path: Path) -> Num[np.ndarray, "R C"]:
    """The table's values, or an error that names the first one that is text."""
    is_number = [pd.api.types.is_numeric_dtype(kind) and kind.kind != "b" for kind in raw.frame.dtypes]
    for position in np.flatnonzero(~np.array(is_number)).tolist():
        column: pd.Series = raw.frame.iloc[:, position]
        is_text = (pd.to_numeric(column, errors="coerce").isna() & column.notna()).to_numpy()
        if not pd.api.types.is_bool_dtype(column) and not is_text.any():
            continue
        row = int(np.argmax(is_text))
        raise DataError(
            f"{path} holds a value that is not a number",
            expected="numbers, with a point for decimals; n/a, NaN or nothing where there is no signal",
            found=f"{column.iloc[row]!r} in {_place(raw, row, position)}",
            remedy=f"repair the file, or leave the column out with --drop_columns {_number_of(raw, position)}",
        )
    values = raw.frame.to_numpy(dtype=None if all(is_number) else np.float64)
    if np.iscomplexobj(values):
        raise DataError(f"{path} holds complex numbers", expected="real numbers", remedy="save the real signal")
    return values


def _place(raw: RawTable, row: int, column: int) -> str:
    """Where in the file a cell of the table is, counted from 1."""
    line = f"line {raw.line_numbers[row]}" if raw.line_numbers else f"row {int(raw.frame.index[row]) + 1}"
    return f"{line}, column {_number_of(raw, column)}" + (f" ({raw.header[column]})" if raw.header else "")


def _number_of(raw: RawTable, column: int) -> int:
    return int(raw.frame.columns[column]) + 1


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
        raise MisfitError(
            f"{what} does not fit the parcels table of {num_parcels}",
            expected=f"{num_parcels} {axis}, one a parcel",
            found=found,
            remedy=remedy,
        )
    return not columns_fit if orientation == "auto" else orientation == "parcels-first"


def _refuse_connectivity(raw: RawTable, values: Num[np.ndarray, "R C"], path: Path) -> None:
    """Raise for a matrix over pairs of parcels, which has the size of a recording of as many time points."""
    if values.shape[0] != values.shape[1] or len(values) < 3:
        return
    is_symmetric = np.allclose(values, values.T, rtol=1e-4, atol=1e-6, equal_nan=True)
    same_names = bool(raw.header) and raw.header in raw.row_names and not is_counting(raw.header)
    if is_symmetric or same_names:
        raise MisfitError(
            f"{path} is a matrix over pairs of parcels, such as connectivity, and no time series",
            expected="time points x parcels",
            found=f"{len(values)} x {len(values)} values, "
            + ("symmetric" if is_symmetric else "the same names in rows and columns"),
            remedy="give the time series that it was computed from",
        )


def _orientation_by_names(raw: RawTable, parcels: Parcels) -> Orientation:
    """Which axis comes first in a table with as many time points as parcels, if names of one axis say so."""
    in_columns = bool(raw.header) and _position_of(raw.header, parcels) is not None
    in_rows = any(_position_of(names, parcels) is not None for names in raw.row_names)
    return "auto" if in_columns == in_rows else "time-first" if in_columns else "parcels-first"


def _shape_remedy(shape: tuple[int, ...], num_parcels: int, orientation: Orientation, raw: RawTable) -> str:
    if orientation != "auto" and num_parcels in shape:
        return f"the other axis fits: drop --orientation {orientation} or give the opposite"
    if raw.remarks and num_parcels in (shape[0] + 1, shape[1] + 1):
        return f"{'; '.join(raw.remarks)}: if it is signal, say --header none or --index none"
    if shape[0] == num_parcels + 1:
        return "if the first line holds names, say --header first-line"
    if shape[1] == num_parcels + 1:
        return "if the first column is an index or a global signal, leave it out with --drop_columns 1"
    return "give the parcels table these files were made with, or --drop_columns for columns that are no parcels"


def _position_of(found: Sequence[str], parcels: Parcels) -> Int64[np.ndarray, "P"] | None:
    """Where each parcel is among ``found``, which are the parcels' names or labels in any order; None if they are not.

    Labels may be written as 7, 7.0 or #7.
    """
    for wanted, names in (
        (parcels.table["name"].astype(str).tolist(), list(found)),
        ([str(label) for label in parcels.labels], plain_names(found)),
    ):
        if names == wanted:
            return np.arange(len(wanted))
        if len(set(wanted)) == len(wanted) and sorted(names) == sorted(wanted):
            position = {name: index for index, name in enumerate(names)}
            return np.array([position[name] for name in wanted], dtype=np.int64)
    return None


def _order_by_names(
    found: Sequence[str], parcels: Parcels, path: Path, axis: Literal["column", "row"]
) -> Int64[np.ndarray, "P"] | None:
    """Where in the file each parcel is, when its names say so; None when the parcels are in order already.

    A plain count (as pandas writes by default) names nothing: the order is trusted, as without names.
    """
    position = _position_of(found, parcels)
    if position is not None:
        return None if (position == np.arange(len(position))).all() else position
    if is_counting(found):
        return None
    names = parcels.table["name"].astype(str).tolist()
    first = next((index for index, name in enumerate(found) if name != names[index]), 0)
    repeated = len(set(names)) < len(names) and sorted(found) == sorted(names)
    problem = "the header does not name" if axis == "column" else "the names of the rows are not"
    raise MisfitError(
        f"{path}: {problem} the parcels of the parcels table",
        expected=f"the table's names or labels, in any order; parcel {first + 1} is {names[first]!r}",
        found=f"{axis} {first + 1} is {found[first]!r}; "
        + (
            "names repeat, so another order cannot be undone"
            if repeated
            else f"{len(set(found) - set(names))} names are not in the table"
        ),
        remedy="give the parcels table these files were made with; if only the names differ, --ignore_header",
    )


def _order_of_rows(columns: Sequence[tuple[str, ...]], parcels: Parcels, path: Path) -> Int64[np.ndarray, "P"] | None:
    """Where in the file each parcel is, by the first of the columns beside the signal that names all parcels.

    Without such a column, one that names something else (text, or whole numbers, all different) is an error.
    """
    matching = [column for column in columns if _position_of(column, parcels) is not None]
    naming = [
        column
        for column in columns
        if len(set(column)) == len(column)
        and (any(map(is_text, column)) or all(word.isdecimal() for word in plain_names(column)))
    ]
    chosen = next(iter(matching or naming), None)
    return None if chosen is None else _order_by_names(chosen, parcels, path, "row")


_READERS: Mapping[str, Callable[[Path, int, Header], RawTable]] = {
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
