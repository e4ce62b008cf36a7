"""Files of arrays (NumPy, MATLAB) -> the one table of numbers in them.

Which array it is, and that it is no larger than a recording can be, is known from the headers: nothing else is read,
since a small compressed file may claim any amount of memory. What its axes mean is in ``read.py``.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import IO

import numpy as np
import pandas as pd

from brainlm.data.table_names import Header, is_header, shown
from brainlm.data.text_tables import RawTable, check_size
from brainlm.errors import DataError

# What the readers of NumPy and SciPy raise on damaged files, found by damaging many; a damaged length asks for more
# memory than there is.
DAMAGED = (ValueError, TypeError, EOFError, MemoryError, zlib.error)
COMPRESSED_ELEMENT = 15  # miCOMPRESSED in MATLAB's format of level 5
LEVEL_5_HEADER = 128  # bytes
CHUNK_BYTES = 2**20
# MATLAB's classes of real numbers, as SciPy names them.
MATLAB_NUMBERS = frozenset(
    {"double", "single", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"}
)
PARTS_OF_CONN = frozenset({"data", "names", "xyz"})  # variables in a file of regions by the CONN toolbox


@dataclass(frozen=True)
class _Described:
    """What a header says of an array; ``kind`` is its type in words."""

    shape: tuple[int, ...]
    kind: str
    is_numeric: bool
    num_bytes: int


def read_npy(path: Path, num_expected: int, header: Header = "auto") -> RawTable:
    """The array in a ``.npy`` file."""
    try:
        with path.open("rb") as file:
            described = _described(file)
            check_size(path, described.num_bytes, num_expected, "array")
            _choose({"the array": described}, num_expected=num_expected, path=path)
            file.seek(0)
            array = np.lib.format.read_array(file, allow_pickle=False)
    except (*DAMAGED, TokenError) as error:
        raise _damaged(path, "a NumPy file of numbers", error) from error
    return _table(array, header, path)


def read_npz(path: Path, num_expected: int, header: Header = "auto") -> RawTable:
    """The table in a ``.npz`` archive: its only one, or the only one with ``num_expected`` rows or columns."""
    try:
        # NumPy leaves a file open whose archive is damaged; here it is closed.
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            described: dict[str, _Described] = {}
            members = {item.filename.removesuffix(".npy"): item for item in archive.infolist()}
            for name, member in members.items():
                if member.filename.endswith(".npy"):
                    with archive.open(member) as content:
                        described[name] = _described(content)
            name = _choose(described, num_expected=num_expected, path=path)
            member = members[name]
            check_size(path, max(described[name].num_bytes, member.file_size), num_expected, "array")
            with archive.open(member) as content:
                array = np.lib.format.read_array(content, allow_pickle=False)
    except (*DAMAGED, AttributeError, RuntimeError, TokenError, zipfile.BadZipFile) as error:
        raise _damaged(path, "a NumPy archive of numbers", error) from error
    return _table(array, header, path)


def _described(file: IO[bytes] | io.BufferedIOBase) -> _Described:
    """The header of an array in NumPy's format; the file stands behind it then."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    num_bytes = dtype.itemsize
    for length in shape:
        num_bytes *= int(length)
    return _Described(tuple(map(int, shape)), dtype.name, dtype.kind in "fiuc", num_bytes)


def read_mat(path: Path, num_expected: int, header: Header = "auto") -> RawTable:
    """The table in a MATLAB file (up to version 7), chosen as in an archive."""
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import MatReadError

    try:
        described = {
            name: _Described(
                tuple(map(int, shape)), kind, kind in MATLAB_NUMBERS, 8 * int(np.prod([float(n) for n in shape]))
            )
            for name, shape, kind in whosmat(path)
        }
        name = _choose(described, num_expected=num_expected, path=path)
        check_size(path, described[name].num_bytes, num_expected, "array")
        _check_unpacked(path, list(described).index(name), num_expected)
        array = loadmat(path, variable_names=[name])[name]
    except NotImplementedError as error:
        raise DataError(
            f"{path} is a MATLAB v7.3 file, which is not read",
            expected="MATLAB version 7 or older",
            found="version 7.3 (HDF5)",
            remedy=f"in MATLAB: save('{path.name}', 'variable', '-v7')",
        ) from error
    except (*DAMAGED, KeyError, IndexError, OverflowError, MatReadError, struct.error) as error:
        raise _damaged(path, "a MATLAB file", error) from error
    return _table(array, header, path)


def _check_unpacked(path: Path, place: int, num_expected: int) -> None:
    """Make sure that the compressed variable at this place is no larger than a recording can be, whatever it claims."""
    with path.open("rb") as file:
        start = file.read(LEVEL_5_HEADER)
        order = {b"IM": "<", b"MI": ">"}.get(start[126:128])
        if order is None:  # version 4, which is not compressed
            return
        for _ in range(place):
            _, length = struct.unpack(f"{order}II", file.read(8))
            file.seek(length, 1)
        kind, length = struct.unpack(f"{order}II", file.read(8))
        if kind != COMPRESSED_ELEMENT:
            return
        unpacker, num_bytes = zlib.decompressobj(), 0
        while length > 0 and (packed := file.read(min(CHUNK_BYTES, length))):
            length -= len(packed)
            while packed:
                num_bytes += len(unpacker.decompress(packed, CHUNK_BYTES))
                packed = unpacker.unconsumed_tail
                check_size(path, num_bytes, num_expected, "array")


def _damaged(path: Path, expected: str, error: Exception) -> DataError:
    return DataError(
        f"{path} is damaged, or not what its name says",
        expected=expected,
        found=f"{type(error).__name__}: {error}",
        remedy="write the file again, or leave it out",
    )


def _choose(arrays: Mapping[str, _Described], *, num_expected: int, path: Path) -> str:
    """The name of the one 2-D array of numbers; when there are several, the one with ``num_expected`` on an axis."""
    tables = [
        name for name, array in arrays.items() if array.is_numeric and len(array.shape) == 2 and min(array.shape) > 0
    ]
    if len(tables) > 1:
        tables = [name for name in tables if num_expected in arrays[name].shape]
    if len(tables) == 1:
        return tables[0]
    remedy = "save the signal alone into a file"
    if arrays.keys() >= PARTS_OF_CONN:
        remedy = "this is a file of the CONN toolbox: in MATLAB, save cell2mat of the regions' cells of `data`"
    raise DataError(
        f"{path} does not hold one table of numbers",
        expected="one 2-D array of numbers, time points x parcels",
        found=", ".join(f"{name}: {array.kind} {array.shape}" for name, array in arrays.items()) or "nothing",
        remedy=remedy,
    )


def _table(array: np.ndarray, option: Header, path: Path) -> RawTable:
    frame = pd.DataFrame(array)
    if np.iscomplexobj(array) or len(array) < 2:
        return RawTable(frame, header=(), line_numbers=[])
    first, *below = ([f"{value:.16g}" for value in row] for row in array[:4])
    if option == "first-line" or (option == "auto" and is_header(first, below, path=path)):
        remark = f"the first row ({shown(first)}) names or counts columns and is no time point"
        return RawTable(frame.iloc[1:], tuple(first), line_numbers=[], remarks=(remark,))
    return RawTable(frame, header=(), line_numbers=[])
