"""Which line and which columns of a table name or count its columns and rows, and are no signal.

Decided from their values alone: names that are text, labels, a count, or times. What may be either is an error that
names the option which says it. Files are taken apart in ``text_tables.py``; ``read.py`` matches names to parcels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float64

from brainlm.errors import DataError

Header = Literal["auto", "first-line", "none"]
Index = Literal["auto", "first-column", "none"]

# Fewer numbers than this may count up, or all be whole, by chance (a toy array); no atlas is this small.
MIN_COUNTED = 10
MISSING = frozenset({"", "n/a", "na", "nan", "null", "none"})
# What programs call a column of names, counts or times: pandas, nilearn, R, XCP-D, AFNI's 3dROIstats.
NO_SIGNAL_TITLES = re.compile(
    r"|unnamed: ?\d+(\.\d+)?|(level_)?index|times?|t|time_?points?|volumes?|vol|frames?|scan|tr|onset|row(names?)?"
    r"|labels?|names?|nodes?|regions?|rois?|parcels?|file|sub-brick",
    re.IGNORECASE,
)
# What programs call columns that have no names: R's V1 and X1, MATLAB's Var1, AFNI's Mean_<label>.
DEFAULT_NAME = re.compile(r"(?:V|X|Var|Column|(?:NZ)?Mean_)(\d+)")
MANGLED = re.compile(r"(\d+(?:\.0)?)(?:\.([1-9]\d*))?")  # pandas makes 7.1, 7.2 of a second and third column 7

NO_TITLE = "\0"  # of a column in a table without header


def is_number(word: str) -> bool:
    """Whether a cell is a number that may be signal."""
    try:
        return math.isfinite(float(word)) and "_" not in word
    except ValueError:
        return False


def is_text(word: str) -> bool:
    """Whether a cell is neither a number nor missing; infinity is a number that cannot be stored."""
    if word.lower() in MISSING:
        return False
    try:
        float(word)
    except ValueError:
        return True
    return "_" in word


def plain_names(names: Sequence[str]) -> list[str]:
    """The names as parcels' labels are written: ``7`` for ``7.0`` and ``007``, if all are whole, or for ``V7``."""
    if all(found := [DEFAULT_NAME.fullmatch(name.strip()) for name in names]):
        return [str(int(match[1])) for match in found if match is not None]
    if all(is_number(name) and float(name).is_integer() for name in names):
        return [str(int(float(name))) for name in names]
    return list(names)


def is_counting(names: Sequence[str]) -> bool:
    """True for ``0 1 2 ...`` or ``1 2 3 ...``: column numbers, as pandas writes when columns have no names."""
    counts = [str(number) for number in range(len(names) + 1)]
    return plain_names(names) in (counts[:-1], counts[1:])


def is_header(first: Sequence[str], below: Sequence[Sequence[str]], *, path: object = "") -> bool:
    """Whether the first line of a table names its columns.

    Text over numbers does, and numbers that values are not: whole numbers without a point over numbers with one, a
    count or equal steps (0.0 1.0 2.0, or times) where the next line has none, whole numbers over fractions.

    Raises:
        DataError: few numbers that count up, over values among which they may belong.
    """
    under = list(below[0]) if below else []
    # Cells over names of rows, and the empty corner between both, say nothing.
    num_left = next((place for place, word in enumerate(under) if not is_text(word)), 0)
    if first and first[0] == "":
        num_left = max(num_left, 1)
    words, under = list(first[num_left:]), under[num_left:]
    numbers = [word for word in words if is_number(word)]
    num_texts = sum(is_text(word) for word in words)
    over_numbers = any(is_text(word) for word, value in zip(words, under, strict=False) if not is_text(value))
    is_fraction = any(not float(word).is_integer() for word in numbers)
    if num_texts and (over_numbers or not below):
        # One text among fractions is a line of values with a mistake in it.
        return not is_fraction or num_texts > len(numbers) or (num_texts == 1 and _counts_up(numbers, []))
    if num_texts or not numbers or not below:
        return False
    below_numbers = [word for line in below for word in line[num_left:] if is_number(word)]
    below_fraction = _mostly_fractions(_values(below_numbers))
    with_point = any(set(".eE") & set(word) for word in below_numbers)
    different = len(set(map(float, numbers))) == len(numbers)
    if all(word.isdecimal() for word in numbers) and different and with_point and len(numbers) > 1:
        return True
    if _counts_up(numbers, under):
        return True
    if not is_fraction and different and below_fraction and len(numbers) >= MIN_COUNTED:
        return True
    mangled = _is_mangled(numbers)
    if mangled and len(numbers) >= MIN_COUNTED:
        return True
    if len(numbers) > 2 and (mangled or is_counting(numbers)) and not _evenly_spaced(_values(under)):
        if below_fraction and not is_fraction:
            return True
        raise DataError(
            f"{path}: the first line may hold names of columns or the values of the first time point",
            expected="names that are no numbers, or values that do not count up",
            found=f"{shown(first)} over {shown(below[0])}",
            remedy="say --header first-line if it holds names, --header none if it holds values",
        )
    return False


def is_no_signal(
    column: pd.Series, other: pd.Series, *, title: str, labels: Sequence[str], names: Sequence[str], path: object
) -> bool:
    """Whether the first column of a table names or counts its rows, or gives their times.

    Args:
        column: the first one.
        other: another one, which is signal.
        title: what the header calls it; ``NO_TITLE`` where there is no header.
        labels: of the parcels.
        names: of the parcels; a column with such a title is signal.
        path: for the error.

    Raises:
        DataError: few numbers that count up beside values among which they may belong.
    """
    if title in names and is_text(title):
        return False
    signal = _values([str(value) for value in other.dropna()])
    words = cells(column)
    texts = [is_text(word) for word in words if word.lower() not in MISSING]
    if texts and all(texts):
        return True
    if title != NO_TITLE and NO_SIGNAL_TITLES.fullmatch(title.strip()):
        return True
    if sorted(words) == sorted(names) and any(texts):
        return True
    if not all(map(is_number, words)) or len(words) < 3:
        return False
    values = _values(words)
    is_whole, others_whole = bool((values == np.round(values)).all()), not _mostly_fractions(signal)
    is_different = len(np.unique(values)) == len(values)
    if len(words) >= MIN_COUNTED:
        if _evenly_spaced(values):
            return not _evenly_spaced(signal)
        return is_whole and is_different and (not others_whole or sorted(plain_names(words)) == sorted(labels))
    if not is_counting(words) or _evenly_spaced(signal):
        return False
    if others_whole:
        raise DataError(
            f"{path}: the first column may count the rows or be the values of a parcel",
            expected="a title such as `index` or `time`, or values that do not count up",
            found=f"{shown(words)} beside {shown(cells(other))}",
            remedy="say --index first-column if it counts, --index none if it holds values",
        )
    return True


def cells(column: pd.Series) -> tuple[str, ...]:
    """The cells of a column as text, "" where missing."""
    return tuple("" if pd.isna(value) else str(value).strip() for value in column)


def _values(words: Sequence[str]) -> Float64[np.ndarray, "N"]:
    return np.array([float(word) if is_number(word) else np.nan for word in words], dtype=np.float64)


def _mostly_fractions(values: Float64[np.ndarray, "N"]) -> bool:
    """Whether most values are no whole numbers, and not for rounding alone."""
    is_fraction = np.abs(values - np.round(values)) > 1e-6 * np.maximum(np.abs(values), 1)
    return 2 * int(is_fraction.sum()) > len(values)


def _counts_up(numbers: Sequence[str], under: Sequence[str]) -> bool:
    """Whether enough numbers rise by equal steps that this is no chance, and those in the next line do not."""
    return len(numbers) >= MIN_COUNTED and _evenly_spaced(_values(numbers)) and not _evenly_spaced(_values(under))


def _evenly_spaced(values: Float64[np.ndarray, "N"]) -> bool:
    """Whether the values rise by equal steps, but for how they were rounded when written (times of 0.735 s as 0.74)."""
    if len(values) < 3 or not np.isfinite(values).all():
        return False
    step = (values[-1] - values[0]) / (len(values) - 1)
    line = values[0] + step * np.arange(len(values))
    return bool(step > 0 and np.abs(values - line).max() <= 0.02 * step)


def _is_mangled(numbers: Sequence[str]) -> bool:
    """Whether these are repeated whole numbers as pandas tells them apart: 7, 7.1, 7.2, 8, 8.1."""
    num_seen: dict[str, int] = {}
    for word in numbers:
        found = MANGLED.fullmatch(word)
        base = found[1].removesuffix(".0") if found else ""
        if found is None or int(found[2] or 0) != num_seen.get(base, 0):
            return False
        num_seen[base] = num_seen.get(base, 0) + 1
    return 1 < len(num_seen) < len(numbers) or (len(num_seen) == 1 and len(numbers) > 2)


def shown(words: Sequence[str], most: int = 4) -> str:
    """The first words, for messages."""
    return ", ".join(words[:most]) + (", ..." if len(words) > most else "")
