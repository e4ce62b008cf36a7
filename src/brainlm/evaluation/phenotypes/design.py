"""Columns of a table as numbers: numbers as they are, text as one column a category; learned from training rows.

What confounds are regressed on, what harmonising keeps, and the nuisance baseline's features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from brainlm.data.field_names import nearest
from brainlm.errors import ConfigError, DataError

# Text with more values than this, and nearly as many as people, is a name and not a category.
_MANY_CATEGORIES = 10
_LARGEST_SHARE = 0.8


@dataclass(frozen=True, eq=False)
class _Column:
    """One column of the table; ``categories`` is None for numbers."""

    name: str
    categories: tuple[str, ...] | None
    mean_C: np.ndarray


@dataclass(frozen=True, eq=False)
class Design:
    """How columns become numbers.

    A number that is missing becomes the training mean; a category that is missing, or that no training row has (a new
    site), becomes the mean of the training rows' categories. ``num_unseen`` counts both.
    """

    columns: tuple[_Column, ...]

    @classmethod
    def fit(cls, table: pd.DataFrame, names: Sequence[str]) -> Design:
        """Of the training rows of ``table``.

        Raises:
            ConfigError: a column is not there.
            DataError: a column has no value at all, or text that is another one for nearly everybody.
        """
        return cls(tuple(_fitted(table, name) for name in names))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns of ``encode``: ``age``, ``site=YALE``."""
        return tuple(
            name
            for column in self.columns
            for name in ([f"{column.name}={category}" for category in column.categories or ()] or [column.name])
        )

    def encode(self, table: pd.DataFrame) -> Float64[np.ndarray, "N C"]:
        """The rows of ``table``; no NaN is left."""
        blocks = [
            np.where(_missing(table, column)[:, None], column.mean_C, _raw(table, column)) for column in self.columns
        ]
        return np.concatenate(blocks, axis=1) if blocks else np.empty((len(table), 0))

    def num_unseen(self, table: pd.DataFrame) -> int:
        """Rows in which a mean of the training rows stands in for at least one column."""
        missing = np.zeros(len(table), dtype=bool)
        for column in self.columns:
            missing |= _missing(table, column)
        return int(missing.sum())


def check_confounds(
    table: pd.DataFrame, names: Sequence[str], *, target: str, values_N: Float64[np.ndarray, "N"]
) -> None:
    """Refuses what would take the target itself away.

    Raises:
        ConfigError: a column is not there, is the target, or says the same as the target under another name.
    """
    for name in names:
        column_of(table, name)
        if name != target and not _says_the_same(table[name], values_N):
            continue
        raise ConfigError(
            f"the confound {name!r} is the target itself",
            expected="confounds that do not determine the target",
            found=f"target {target!r}, confounds {', '.join(names)}",
            remedy=f"leave {name!r} out of the confounds",
        )


def column_of(table: pd.DataFrame, name: str) -> pd.Series:
    """The column ``name``.

    Raises:
        ConfigError: there is none; names the nearest.
    """
    if name in table.columns:
        return table[name]
    raise ConfigError(
        f"there is no column {name!r}",
        expected=f"one of {', '.join(str(column) for column in table.columns)}",
        found=f"{name}; nearest: {nearest(name, table.columns)}",
        remedy="correct the spelling, or choose a column that is constant within people",
    )


def _fitted(table: pd.DataFrame, name: str) -> _Column:
    column = column_of(table, name)
    known = column[column.notna()]
    if known.empty:
        raise DataError(
            f"nobody in the training fold has a value of {name!r}",
            expected="a column with values",
            found=f"{len(column)} missing values",
            remedy="leave the column out",
        )
    if is_numeric_dtype(column) and not is_bool_dtype(column):
        return _Column(name, None, np.array([float(known.mean())]))
    categories, counts = np.unique(known.astype(str).to_numpy(dtype=str), return_counts=True)
    if len(categories) > max(_MANY_CATEGORIES, _LARGEST_SHARE * len(known)):
        raise DataError(
            f"the column {name!r} has a text of its own for nearly everybody",
            expected="numbers, or few categories",
            found=f"{len(categories)} different texts in {len(known)} rows, such as {categories[0]!r}",
            remedy="leave the column out, or turn it into numbers",
        )
    return _Column(name, tuple(str(category) for category in categories), counts / counts.sum())


def _texts(table: pd.DataFrame, column: _Column) -> np.ndarray:
    return table[column.name].astype(str).to_numpy(dtype=str)


def _missing(table: pd.DataFrame, column: _Column) -> np.ndarray:
    absent = table[column.name].isna().to_numpy(dtype=bool)
    return absent if column.categories is None else absent | ~np.isin(_texts(table, column), column.categories)


def _raw(table: pd.DataFrame, column: _Column) -> np.ndarray:
    if column.categories is None:
        return table[[column.name]].to_numpy(dtype=np.float64)
    return (_texts(table, column)[:, None] == np.array(column.categories)).astype(np.float64)


def _says_the_same(column: pd.Series, values_N: np.ndarray) -> bool:
    """Whether the column is the target in other units or other words."""
    known = column.notna().to_numpy(dtype=bool)
    codes, values = np.unique(column[known].astype(str).to_numpy(dtype=str), return_inverse=True)[1], values_N[known]
    num_values = len(np.unique(values))
    if num_values < 2:
        return False
    # Few values: one word for each. Many: a straight line; that everybody has a number of their own says nothing.
    if num_values <= len(values) // 2 and len(np.unique(codes)) == num_values:
        return len(np.unique(np.stack([codes, values]), axis=1).T) == num_values
    if not is_numeric_dtype(column) or is_bool_dtype(column):
        return False
    numbers = column[known].to_numpy(dtype=np.float64)
    return bool(numbers.std() > 0) and abs(float(np.corrcoef(numbers, values)[0, 1])) > 1 - 1e-9
