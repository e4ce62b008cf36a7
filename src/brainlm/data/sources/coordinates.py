"""The BrainLM authors' coordinates as a parcels table: an Arrow data set ``Index, X, Y, Z``, or the same as text.

Row p describes column p of the recordings. Tables with names and networks are read in ``parcels.py``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from brainlm.data.parcels import COORDINATES, Parcels
from brainlm.data.sources.arrow_columns import Scalar, is_coordinates, scalar_values
from brainlm.data.sources.arrow_files import SUFFIX, find_arrow_files, is_store
from brainlm.data.sources.arrow_reading import open_arrow
from brainlm.errors import AtlasError, DataError

TEXT_SUFFIXES = (".dat", ".txt")
COLUMNS = ("label", *COORDINATES)


def holds_coordinates(path: Path) -> bool:
    """True for an Arrow data set, and for a text whose first line is a number and a place."""
    if path.is_dir() or path.suffix == SUFFIX:
        return path.exists() and not is_store(path) and find_arrow_files([path]).any
    if path.suffix.lower() not in TEXT_SUFFIXES or not path.is_file():
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        words = file.readline().split()
    try:
        return len([float(word) for word in words]) == len(COLUMNS)
    except ValueError:
        return [word.lower() for word in words] == ["index", *COORDINATES]


def read_coordinates(path: Path) -> Parcels:
    """The parcels at ``path``, for which ``holds_coordinates``; their names are their numbers.

    Raises:
        AtlasError: another kind of data, numbers that are no labels, or places that are not known.
    """
    table = _of_text(path) if path.suffix.lower() in TEXT_SUFFIXES and path.is_file() else _of_arrow(path)
    values = table.to_numpy(np.float64)
    if not np.isfinite(values).all() or (values[:, 0] % 1).any():
        raise _no_coordinates(path, "a number that is not whole, or a place that is not known")
    labels = values[:, 0].astype(np.int64)
    names = [f"parcel-{label}" for label in labels]
    return Parcels(pd.DataFrame({"label": labels, "name": names, **dict(zip(COORDINATES, values.T[1:], strict=True))}))


def _of_text(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, sep=r"\s+", header=None, names=list(COLUMNS), dtype=str, encoding="utf-8-sig")
        if str(table.iloc[0, 0]).lower() == "index":
            table = table.iloc[1:]
        return table.astype(np.float64)
    except (ValueError, pd.errors.ParserError) as error:
        raise _no_coordinates(path, str(error)) from error


def _of_arrow(path: Path) -> pd.DataFrame:
    try:
        found = find_arrow_files([path])
    except DataError as error:
        raise _no_coordinates(path, error.problem) from error
    values: dict[str, list[Scalar]] = {name: [] for name in ("index", *COORDINATES)}
    for file in found.files:
        opened = open_arrow(file.path)
        if opened.damage is not None or not all(is_coordinates(batch.schema) for batch in opened.batches):
            raise _no_coordinates(path, opened.damage.problem if opened.damage else f"other columns in {file.path}")
        for batch in opened.batches:
            for name in batch.schema.names:
                if name.lower() in values:
                    values[name.lower()] += scalar_values(batch.column(name))
    if found.failures or not values["index"]:
        raise _no_coordinates(path, found.failures[0].reason if found.failures else "nothing in it")
    try:
        return pd.DataFrame(values, dtype=np.float64)
    except ValueError as error:
        raise _no_coordinates(path, str(error)) from error


def _no_coordinates(path: Path, found: str) -> AtlasError:
    return AtlasError(
        f"{path} does not hold coordinates of parcels",
        expected="the columns Index, X, Y, Z (MNI mm), a row a parcel",
        found=found,
        remedy="give the data set of coordinates, or a parcels.tsv, with --parcels; or a name with --atlas",
    )
