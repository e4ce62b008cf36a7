"""Rows of an Arrow file, memory-mapped and one at a time: whole record batches, and the arrays in their cells.

Which files are read is decided in ``arrow_files.py``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from brainlm.data.planned import listed
from brainlm.errors import DataError

ARROW_FILE_SIGNATURE = b"ARROW1"  # the other of Arrow's two layouts; `datasets` writes streams
END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
MOST_OPEN = 8


@dataclass(frozen=True, eq=False)
class OpenFile:
    """An Arrow file's record batches, views on the mapped file; ``damage`` says why there are no more of them."""

    batches: tuple[pa.RecordBatch, ...]
    damage: DataError | None = None

    def place(self, row: int) -> tuple[pa.RecordBatch, int]:
        """The batch that holds a row of the file, and the row's number there."""
        for batch in self.batches:
            if row < len(batch):
                return batch, row
            row -= len(batch)
        raise DataError(
            "an Arrow file changed while it was imported",
            expected="the rows that were there at the beginning",
            found="fewer rows",
            remedy="run the import again when nothing writes to the file",
        )


def open_arrow(path: Path) -> OpenFile:
    """The whole record batches of an Arrow stream or file; nothing of them is read until it is looked at."""
    batches: list[pa.RecordBatch] = []
    try:
        with path.open("rb") as file:
            start = file.read(len(ARROW_FILE_SIGNATURE))
            file.seek(-min(path.stat().st_size, len(END_OF_STREAM)), 2)
            is_cut = start != ARROW_FILE_SIGNATURE and file.read() != END_OF_STREAM
        for batch in _batches(path, is_file=start == ARROW_FILE_SIGNATURE):
            batch.validate(full=True)  # damaged offsets would otherwise be followed out of the file
            batches.append(batch)
        found = "no mark at the end of the stream" if is_cut else ""
    except (pa.ArrowException, OSError) as error:
        found = str(error).splitlines()[0]
    if not found:
        return OpenFile(tuple(batches))
    num_rows = sum(map(len, batches))
    damage = DataError(
        f"{path} is damaged or cut off" + (f" after its first {num_rows} rows" if num_rows else ""),
        expected="a whole Arrow stream or file",
        found=found,
        remedy="copy the file again" + ("; the rows before were imported" if num_rows else ""),
    )
    return OpenFile(tuple(batches), damage)


def _batches(path: Path, *, is_file: bool) -> Iterator[pa.RecordBatch]:
    mapped = pa.memory_map(str(path))
    if is_file:
        reader = pa.ipc.open_file(mapped)
        yield from (reader.get_batch(number) for number in range(reader.num_record_batches))
    else:
        yield from pa.ipc.open_stream(mapped)


class OpenFiles:
    """The few Arrow files that were used last, so that thousands of shards do not exhaust the system's open files."""

    def __init__(self) -> None:
        self._open: OrderedDict[Path, OpenFile] = OrderedDict()

    def array(self, path: Path, row: int, column: str) -> np.ndarray:
        """The (nested) list of numbers in a cell, as an array; null is NaN.

        Raises:
            DataError: the cell is empty, is not made of numbers, or its lists differ in length.
        """
        if path not in self._open:
            self._open[path] = open_arrow(path)
            if len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end(path)
        batch, position = self._open[path].place(row)
        return _cell(batch.column(column).slice(position, 1), column, origin=f"{path}, row {row + 1}")


def _cell(values: pa.Array, column: str, *, origin: str) -> np.ndarray:
    """The numbers in a column of one row, with the shape of its lists."""
    shape: list[int] = []
    values = getattr(values, "storage", values)
    while is_list(values.type):
        if len(values) == 0 or values.null_count:
            raise DataError(f"{origin}: {column} is empty", remedy="leave this recording out, or mend it")
        lengths = pc.unique(pc.list_value_length(values)).to_pylist()
        if len(lengths) > 1:
            raise DataError(
                f"{origin}: the lists in {column} are not equally long",
                expected="a table of numbers",
                found=f"lengths {listed([str(length) for length in lengths], most=5)}",
                remedy="mend this recording, or leave it out",
            )
        shape.append(lengths[0])
        values = values.flatten()
    if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
        raise DataError(
            f"{origin}: {column} is not made of numbers",
            expected="numbers",
            found=f"{values.type}",
            remedy="choose another column with --column",
        )
    return values.to_numpy(zero_copy_only=False).reshape(shape)


def is_list(kind: pa.DataType) -> bool:
    """True for the Arrow types whose values are lists."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def stored_type(kind: pa.DataType) -> pa.DataType:
    """What an extension type (such as the arrays of ``datasets``) is stored as; any other type itself."""
    return getattr(kind, "storage_type", kind)
