"""The Arrow layout of a store: which columns a row has, how rows become record batches, how buffers become arrays.

The layout is that of a Hugging Face ``datasets`` folder, so that ``datasets.load_from_disk`` opens a store without this
package. Reading needs pyarrow only. What a store means is in ``store.py``; how it gets written safely in
``store_writer.py``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Float, Float32, Int64

from brainlm.data.manifest import REMEDY
from brainlm.data.quality import PARCEL_COVERAGE, QUALITY_COLUMNS, Quality
from brainlm.data.recording import Phenotype
from brainlm.data.statistics import RecordingStatistics
from brainlm.errors import DataError
from brainlm.files import damaged

StoredType = Literal["float32", "float16"]
PhenotypeType = Literal["float64", "string"]

KEY_COLUMNS = ("subject", "session", "task", "run")
TEXT_COLUMNS = (*KEY_COLUMNS, "site", "source", "split")
FIXED_COLUMNS = (*KEY_COLUMNS, "site", "tr", "num_timepoints", "source", "split")
STATISTICS_COLUMNS = ("parcel_median", "parcel_mean", "parcel_std")
RESERVED_COLUMNS = frozenset({"bold", *FIXED_COLUMNS, *STATISTICS_COLUMNS})  # of every store
RESERVED_WITH_QUALITY = frozenset({*RESERVED_COLUMNS, *QUALITY_COLUMNS, PARCEL_COVERAGE})

STATE_FILE = "state.json"  # with dataset_info.json, what `datasets.load_from_disk` looks for


@dataclass(frozen=True, eq=False)
class Row:
    """One recording, ready to be stored: the signal in its stored type and a value per column."""

    bold: Float[np.ndarray, "T P"]
    values: Mapping[str, str | float | int]
    phenotypes: Mapping[str, Phenotype]
    statistics: RecordingStatistics
    fingerprint: str
    quality: Quality | None = None


@dataclass(frozen=True)
class Layout:
    """What decides the Arrow schema: the number of parcels, the stored type, the phenotype columns' types, and whether
    there are columns that say how good each scan was.
    """

    num_parcels: int
    dtype: StoredType
    phenotypes: Mapping[str, PhenotypeType]
    has_quality: bool = False

    @classmethod
    def of(cls, schema: pa.Schema, *, num_parcels: int, dtype: StoredType) -> Layout:
        """The layout that a shard with this schema has."""
        with_quality = has_quality(schema)
        return cls(
            num_parcels,
            dtype,
            {
                name: "string" if pa.types.is_string(schema.field(name).type) else "float64"
                for name in schema.names
                if name not in (RESERVED_WITH_QUALITY if with_quality else RESERVED_COLUMNS)
            },
            with_quality,
        )

    def features(self) -> Any:
        """The ``datasets.Features`` of a row."""
        from datasets import Array2D, Features, List, Value  # half a second to import, and only writers need it

        columns: dict[str, Any] = {"bold": Array2D(shape=(None, self.num_parcels), dtype=self.dtype)}
        types = {"tr": "float64", "num_timepoints": "int64"}
        columns |= {name: Value(types.get(name, "string")) for name in FIXED_COLUMNS}
        columns |= {name: Value(kind) for name, kind in QUALITY_COLUMNS.items() if self.has_quality}
        columns |= {name: Value(kind) for name, kind in self.phenotypes.items()}
        lists = (*STATISTICS_COLUMNS, PARCEL_COVERAGE) if self.has_quality else STATISTICS_COLUMNS
        columns |= {name: List(Value("float32"), length=self.num_parcels) for name in lists}
        return Features(columns)

    def schema(self) -> pa.Schema:
        """The Arrow schema, with the metadata by which ``datasets`` recognises its features."""
        return self.features().arrow_schema


def has_quality(schema: pa.Schema) -> bool:
    """Whether the schema has the columns of ``quality.py`` (a phenotype of one of these names is no list)."""
    return PARCEL_COVERAGE in schema.names and pa.types.is_fixed_size_list(schema.field(PARCEL_COVERAGE).type)


def encode(rows: Sequence[Row], schema: pa.Schema) -> pa.RecordBatch:
    """The rows as one record batch; the signals go from numpy buffer to Arrow buffer, never through Python floats."""
    columns: dict[str, pa.Array] = {"bold": _encode_bold([row.bold for row in rows], schema.field("bold").type)}
    for name in FIXED_COLUMNS:
        columns[name] = pa.array([row.values[name] for row in rows], type=schema.field(name).type)
    for name, part in zip(STATISTICS_COLUMNS, ("median", "mean", "std"), strict=True):
        columns[name] = _encode_list([getattr(row.statistics, part)[0] for row in rows], schema.field(name).type)
    if has_quality(schema):
        columns |= _encode_quality(rows, schema)
    for name in schema.names:
        if name not in columns:
            columns[name] = encode_phenotype([row.phenotypes.get(name) for row in rows], schema.field(name).type)
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def _encode_quality(rows: Sequence[Row], schema: pa.Schema) -> dict[str, pa.Array]:
    """The columns of ``quality.py``; what is not known is null, a list without anything known all NaN."""
    known = [row.quality.columns if row.quality is not None else {} for row in rows]
    columns = {
        name: pa.array([values.get(name) for values in known], type=schema.field(name).type, from_pandas=True)
        for name in QUALITY_COLUMNS
    }
    nothing = np.full(rows[0].bold.shape[1], np.nan, np.float32)
    lists = [row.quality.parcel_coverage if row.quality is not None else nothing for row in rows]
    return columns | {PARCEL_COVERAGE: _encode_list(lists, schema.field(PARCEL_COVERAGE).type)}


def _encode_list(parts: Sequence[np.ndarray], kind: pa.DataType) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(parts)), type=kind)


def _encode_bold(signals: Sequence[np.ndarray], kind: pa.ExtensionType) -> pa.ExtensionArray:
    num_parcels = signals[0].shape[1]
    lengths = [len(signal) for signal in signals]
    values = pa.array(np.concatenate(signals).reshape(-1))
    points = pa.ListArray.from_arrays(np.arange(sum(lengths) + 1, dtype=np.int32) * np.int32(num_parcels), values)
    recordings = pa.ListArray.from_arrays(np.cumsum([0, *lengths], dtype=np.int32), points)
    return pa.ExtensionArray.from_storage(kind, recordings)


def encode_phenotype(values: Sequence[Phenotype], kind: pa.DataType) -> pa.Array:
    """A phenotype column; missing is null. A column of text spells numbers out, a column of numbers drops text."""
    if pa.types.is_string(kind):
        return pa.array([None if is_missing(value) else _as_text(value) for value in values], type=kind)
    numbers = [None if value is None or isinstance(value, str) else float(value) for value in values]
    return pa.array(numbers, type=kind, from_pandas=True)  # NaN becomes null


def is_missing(value: Phenotype) -> bool:
    """True for None, the empty string and NaN."""
    return value is None or value == "" or value != value


def _as_text(value: Phenotype) -> str:
    if isinstance(value, str):
        return value
    assert value is not None
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def write_dataset_info(folder: Path, layout: Layout) -> None:
    """``dataset_info.json``, which tells ``datasets`` the features."""
    from datasets import DatasetInfo

    DatasetInfo(features=layout.features()).write_to_directory(str(folder), pretty_print=True)


def dataset_state(shards: Sequence[Mapping[str, Any]]) -> str:
    """The text of ``state.json``, which tells ``datasets`` the shards."""
    checksums = "".join(shard["sha256"] for shard in shards)
    state: dict[str, Any] = {
        "_data_files": [{"filename": shard["file"]} for shard in shards],
        "_fingerprint": hashlib.sha256(checksums.encode()).hexdigest()[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    return json.dumps(state, indent=2) + "\n"


def open_shard(path: Path) -> pa.Table:
    """The shard as a memory-mapped table: nothing is read until it is looked at.

    Whether its bytes are those that were written is asked before (``Manifest.check_files``).

    Raises:
        DataError: the file is not a whole Arrow stream.
    """
    with damaged(path, what="a whole Arrow stream", remedy=REMEDY):
        try:
            table = pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
            table.validate()
            return table
        except pa.ArrowException as error:
            raise ValueError(str(error).splitlines()[0]) from error


class Shards:
    """All shards of a store in one numbering of rows, signals and statistics as views on the memory-mapped buffers."""

    def __init__(self, tables: Sequence[pa.Table], *, num_parcels: int) -> None:
        self.num_parcels = num_parcels
        self._table = pa.concat_tables(tables)
        self.has_quality = has_quality(self._table.schema)
        self.fingerprints: list[str] = []  # of all rows; filled in by the store, for its manifest has them
        self._signals: list[np.ndarray] = []  # per record batch, all values of its recordings
        self._lists: list[list[np.ndarray]] = []  # per record batch, three or four times (rows, P)
        self._batch_of: list[int] = []
        self._row_in_batch: list[int] = []
        self._offset_of: list[int] = []
        lengths = []
        lists = (*STATISTICS_COLUMNS, PARCEL_COVERAGE) if self.has_quality else STATISTICS_COLUMNS
        for number, batch in enumerate(self._table.to_batches()):
            bold = batch.column("bold")
            storage = bold.storage if isinstance(bold, pa.ExtensionArray) else bold
            self._signals.append(storage.values.values.to_numpy(zero_copy_only=True))
            self._lists.append([self._matrix(batch.column(name)) for name in lists])
            first_point = storage.offsets.to_numpy(zero_copy_only=True).astype(np.int64)
            _check_offsets(first_point, num_points=len(self._signals[-1]) // num_parcels)
            self._batch_of += [number] * len(batch)
            self._row_in_batch += range(len(batch))
            self._offset_of += (first_point[:-1] * num_parcels).tolist()
            lengths.append(np.diff(first_point))
        self.num_timepoints: Int64[np.ndarray, "N"] = np.concatenate(lengths)

    def __len__(self) -> int:
        return len(self._offset_of)

    def bold(self, row: int) -> Float[np.ndarray, "T P"]:
        """The signal of a row: a read-only view, no copy."""
        start = self._offset_of[row]
        length = int(self.num_timepoints[row])
        flat = self._signals[self._batch_of[row]][start : start + length * self.num_parcels]
        return flat.reshape(length, self.num_parcels)

    def metadata(self) -> pd.DataFrame:
        """Every column but the signals and what is listed by parcel."""
        lists = ("bold", *STATISTICS_COLUMNS, *((PARCEL_COVERAGE,) if self.has_quality else ()))
        names = [name for name in self._table.column_names if name not in lists]
        return self._table.select(names).to_pandas()

    def statistics(self, rows: Iterable[int]) -> RecordingStatistics:
        """The statistics of these rows (copies)."""
        rows = list(rows)
        return RecordingStatistics(*(self._of_rows(rows, k) for k in range(len(STATISTICS_COLUMNS))))

    def parcel_coverage(self, rows: Iterable[int]) -> Float32[np.ndarray, "N P"]:
        """The coverage of every parcel in these rows (a copy); NaN throughout where it is not known."""
        return self._of_rows(list(rows), len(STATISTICS_COLUMNS)) if self.has_quality else self._unknown(rows)

    def _of_rows(self, rows: Sequence[int], k: int) -> Float32[np.ndarray, "N P"]:
        parts = [self._lists[self._batch_of[row]][k][self._row_in_batch[row]] for row in rows]
        return np.stack(parts) if parts else np.empty((0, self.num_parcels), np.float32)

    def _unknown(self, rows: Iterable[int]) -> Float32[np.ndarray, "N P"]:
        return np.full((len(list(rows)), self.num_parcels), np.nan, np.float32)

    def _matrix(self, column: pa.FixedSizeListArray) -> Float32[np.ndarray, "N P"]:
        return column.flatten().to_numpy(zero_copy_only=True).reshape(-1, self.num_parcels)


def _check_offsets(first_point: Int64[np.ndarray, "_"], *, num_points: int) -> None:
    """Raise DataError unless recordings follow each other within the signals: others would be read from elsewhere."""
    if first_point[0] < 0 or (np.diff(first_point) < 0).any() or first_point[-1] > num_points:
        raise DataError(
            "a shard's recordings do not lie within its signals",
            expected=f"time points 0 to {num_points}, one recording after the other",
            found=f"{first_point.min()} to {first_point.max()}",
            remedy=REMEDY,
        )
