"""Files of arrays (NumPy, MATLAB) -> the one table of numbers in them.

What its axes mean is in ``read.py``.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import pandas as pd

from brainlm.data.text_tables import RawTable
from brainlm.errors import DataError

# What the readers of NumPy and SciPy raise on damaged files, found by damaging many; a damaged length asks for more
# memory than there is.
DAMAGED = (ValueError, TypeError, EOFError, MemoryError, zlib.error)


def read_npy(path: Path, num_expected: int) -> RawTable:
    """The array in a ``.npy`` file."""
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except (*DAMAGED, TokenError) as error:
        raise _damaged(path, "a NumPy file of numbers", error) from error
    return _only_table({"the array": array}, num_expected=num_expected, path=path)


def read_npz(path: Path, num_expected: int) -> RawTable:
    """The table in a ``.npz`` archive: its only one, or the only one with ``num_expected`` rows or columns."""
    try:
        # NumPy leaves a file open whose archive is damaged; here it is closed.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (*DAMAGED, AttributeError, NotImplementedError, TokenError, zipfile.BadZipFile) as error:
        raise _damaged(path, "a NumPy archive of numbers", error) from error
    return _only_table(arrays, num_expected=num_expected, path=path)


def read_mat(path: Path, num_expected: int) -> RawTable:
    """The table in a MATLAB file (up to version 7), chosen as in an archive."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        variables = loadmat(path)
    except NotImplementedError as error:
        raise DataError(
            f"{path} is a MATLAB v7.3 file, which is not read",
            expected="MATLAB version 7 or older",
            found="version 7.3 (HDF5)",
            remedy=f"in MATLAB: save('{path.name}', 'variable', '-v7')",
        ) from error
    except (*DAMAGED, KeyError, IndexError, MatReadError, struct.error) as error:
        raise _damaged(path, "a MATLAB file", error) from error
    arrays = {name: value for name, value in variables.items() if not name.startswith("__")}
    return _only_table(arrays, num_expected=num_expected, path=path)


def _damaged(path: Path, expected: str, error: Exception) -> DataError:
    return DataError(
        f"{path} is damaged, or not what its name says",
        expected=expected,
        found=f"{type(error).__name__}: {error}",
        remedy="write the file again, or leave it out",
    )


def _only_table(arrays: Mapping[str, Any], *, num_expected: int, path: Path) -> RawTable:
    """The one 2-D array of numbers; when there are several, the one with ``num_expected`` on an axis."""
    tables = {
        name: array
        for name, array in arrays.items()
        if isinstance(array, np.ndarray) and array.ndim == 2 and array.dtype.kind in "fiuc" and min(array.shape) > 0
    }
    if len(tables) > 1:
        tables = {name: array for name, array in tables.items() if num_expected in array.shape}
    if len(tables) != 1:
        shapes = [f"{name}: {getattr(array, 'dtype', '?')} {np.shape(array)}" for name, array in arrays.items()]
        raise DataError(
            f"{path} does not hold one table of numbers",
            expected="one 2-D array of numbers, time points x parcels",
            found=", ".join(shapes) or "nothing",
            remedy="save the signal alone into a file",
        )
    return RawTable(pd.DataFrame(next(iter(tables.values()))), header=(), line_numbers=[])
