"""From one row a recording to one row a unit (a person, or a recording), in an order that no store decides.

What a unit is labelled with is in ``labels.py``; who belongs to whom (families), in ``grouping.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Int64

from brainlm.data.shards import KEY_COLUMNS
from brainlm.data.splits import bare_subject

Level = Literal["subject", "recording"]

NUM_NAMED = 5  # people or values that a message names


@dataclass(frozen=True, eq=False)
class Units:
    """Made by ``units_of``.

    Attributes:
        table: one row a unit: subject, site, and every column that is constant within each; numbers that vary: mean.
        recordings: positions in the store of each unit's recordings, ascending by session, task and run.
        varying: per column with different values within a unit, the subjects in whom it has.
    """

    table: pd.DataFrame
    recordings: tuple[Int64[np.ndarray, "_"], ...]
    varying: Mapping[str, tuple[str, ...]]


def units_of(metadata: pd.DataFrame, level: Level) -> Units:
    """The units of a store's recordings, sorted by subject (then session, task, run); ``sub-01`` and ``01`` are one.

    A value that is missing in some recordings of a person is taken from the others. Where a person was scanned at
    several sites, all of them make the name of the site (``NYU+USM``).

    Args:
        metadata: one row a recording, its index the recording's position in the store.
        level: what becomes one row.
    """
    rows = metadata.assign(subject=metadata["subject"].map(bare_subject))
    rows = rows.sort_values(list(KEY_COLUMNS), kind="stable")
    if level == "recording":
        positions = tuple(np.array([row], dtype=np.int64) for row in rows.index)
        return Units(rows.reset_index(drop=True), positions, {})
    rows["site"] = rows["site"].where(rows["site"] != "")  # not known is no site of its own
    people = rows.groupby("subject", sort=True)
    varies = people.nunique() > 1
    varying = {
        str(column): tuple(map(str, varies.index[varies[column]])) for column in varies if bool(varies[column].any())
    }
    table = people.first()
    for column, subjects in varying.items():
        _settle(table, rows[rows["subject"].isin(subjects)], column)
    table["site"] = table["site"].astype(object).where(table["site"].notna(), "")
    ends = np.cumsum(people.size().to_numpy())  # rows are sorted by subject, as the table is
    recordings = tuple(np.split(rows.index.to_numpy(dtype=np.int64), ends[:-1]))
    return Units(table.reset_index(), recordings, varying)


def _settle(table: pd.DataFrame, rows: pd.DataFrame, column: str) -> None:
    """Numbers that vary become their mean, sites are joined, and other words that vary leave the table."""
    values = rows.groupby("subject")[column]
    if pd.api.types.is_numeric_dtype(table[column]):
        means = values.mean()
        table[column] = table[column].astype(np.float64)
        table.loc[means.index, column] = means
    elif column == "site":
        joined = values.agg(lambda sites: "+".join(sorted(sites.dropna().unique())))
        table.loc[joined.index, column] = joined
    else:
        del table[column]


def texts(column: pd.Series) -> list[str]:
    """The column as text, without blanks around it; missing is empty, and 3.0 is 3 (gaps turn integers to floats)."""
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return ["" if value != value else np.format_float_positional(value, trim="-") for value in column.astype(float)]
    return ["" if value is None or value != value else str(value).strip() for value in column]


def as_number(word: str) -> float:
    """The number that a word spells; NaN if it is none."""
    try:
        return float(word)
    except ValueError:
        return math.nan


def some(names: Iterable[object]) -> str:
    """The first names, and how many more there are, for a message."""
    known = [str(name) for name in names]
    rest = f" and {len(known) - NUM_NAMED} more" if len(known) > NUM_NAMED else ""
    return ", ".join(known[:NUM_NAMED]) + rest
