"""What the columns of others' Arrow data hold: which is the signal, which are scalars.

Known are the BrainLM authors' data sets, with several scaled copies of each recording, and Brainmarks', with z-scores
beside the mean and deviation that give the signal back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from brainlm.data.planned import listed
from brainlm.data.sources.arrow_reading import is_list
from brainlm.errors import DataError

RAW = "Raw_Recording"
COPY_ENDING = "_Recording"  # of the authors' columns: the raw signal and nine scaled copies
Z_SCORES, MEAN, STD = "bold", "mean", "std"
COORDINATES = frozenset({"index", "x", "y", "z"})

Scalar = str | float | int | bool | None


@dataclass(frozen=True)
class SignalColumn:
    """The column with the signal; ``is_restored`` says that it is z-scores, made signal again by their mean and std."""

    name: str
    is_restored: bool = False

    @property
    def is_scaled(self) -> bool:
        """True when its makers scaled the values, and that stays so."""
        return not self.is_restored and (
            self.name == Z_SCORES or (self.name.endswith(COPY_ENDING) and self.name != RAW)
        )


def is_coordinates(schema: pa.Schema) -> bool:
    """True for the authors' table of parcel coordinates: Index, X, Y, Z."""
    return {str(name).lower() for name in schema.names} >= COORDINATES and not list_columns(schema)


def list_columns(schema: pa.Schema) -> list[str]:
    """The columns that could hold a signal."""
    # `datasets` keeps its arrays as an extension type, once it has been imported; without it, they are lists.
    return [field.name for field in schema if is_list(getattr(field.type, "storage_type", field.type))]


def signal_column(schema: pa.Schema, wanted: str | None, *, origin: str) -> SignalColumn:
    """The column that holds the signal: ``wanted``, or the raw one of either layout.

    Raises:
        DataError: there is no such column, or none is known to be the raw signal.
    """
    columns = list_columns(schema)
    z_scores = SignalColumn(Z_SCORES, is_restored=True) if {Z_SCORES, MEAN, STD} <= set(columns) else None
    raw = SignalColumn(RAW) if RAW in columns else z_scores
    chosen = raw if wanted is None else SignalColumn(wanted) if wanted in columns else None
    if chosen is None:
        raise DataError(
            f"{origin} has no column {wanted!r} with recordings" if wanted else f"{origin} has no raw signal",
            expected="a column of tables of numbers"
            if wanted
            else f"a column {RAW}, or {Z_SCORES} with {MEAN} and {STD} beside it",
            found=f"recordings in {listed(columns)}" if columns else f"columns {listed(schema.names)}",
            remedy=f"choose one with --column, such as --column {columns[0]}"
            if columns
            else "give the folder of the data set",
        )
    return z_scores if z_scores is not None and chosen.name == Z_SCORES else chosen


def scalar_columns(schema: pa.Schema) -> tuple[list[str], list[str]]:
    """The columns of numbers, words and truths; and those of other kinds, which are passed over."""
    scalar: list[str] = []
    other: list[str] = []
    for field in schema:
        if field.name in list_columns(schema):
            continue
        (scalar if _is_scalar(field.type) else other).append(field.name)
    return scalar, other


def _is_scalar(kind: pa.DataType) -> bool:
    kinds = pa.types
    return any(
        test(kind)
        for test in (kinds.is_integer, kinds.is_floating, kinds.is_boolean, kinds.is_string, kinds.is_large_string,
                     kinds.is_null)
    )  # fmt: skip


def scalar_values(column: pa.Array) -> Sequence[Scalar]:
    """The column's values; 0.735 in 32 bits is 0.735 again, not 0.7350000143."""
    if pa.types.is_float32(column.type) or pa.types.is_float16(column.type):
        dtype = column.type.to_pandas_dtype()
        return [None if value is None else float(str(dtype(value))) for value in column.to_pylist()]
    values: list[Scalar] = column.to_pylist()
    return values


def restored(z_scores_TP: np.ndarray, mean: np.ndarray, std: np.ndarray, *, origin: str) -> np.ndarray:
    """The signal whose z-scores, mean and deviation these are, (T, P); a parcel with zero deviation stays constant.

    Raises:
        DataError: mean and deviation do not have a value a parcel.
    """
    num_parcels = z_scores_TP.shape[-1]
    if mean.size != num_parcels or std.size != num_parcels:
        raise DataError(
            f"{origin}: {MEAN} and {STD} do not fit {Z_SCORES}",
            expected=f"{num_parcels} values each",
            found=f"{mean.size} and {std.size}",
            remedy="leave this recording out, or mend it",
        )
    return z_scores_TP.astype(np.float64) * std.reshape(-1) + mean.reshape(-1)
