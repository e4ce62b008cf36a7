"""Which values of a table mean that nothing is known, and which look like it and are asked about.

A table is read in ``people_files.py`` and joined in ``people.py``; ``brainlm probe`` asks about stores, too.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from brainlm.data.planned import listed
from brainlm.data.recording import Phenotype

MISSING_VALUES = frozenset(
    {"", "n/a", "N/A", "NA", "na", "NaN", "nan", "null", "NULL", "None", "<NA>", "#N/A", "."}
)  # fmt: skip
NO_CODES = "none"  # `--missing none`: what looks like a code is a value

# Codes for missing that surveys, ABIDE (-9999), UK Biobank (-1, -3, -7), ABCD (555, 777, 888, 999) and others use.
CODES = frozenset(
    {-1, -3, -7, -8, -9}
    | {sign * number for sign in (1, -1) for number in (77, 88, 99, 555, 777, 888, 999, 7777, 8888, 9999, 99999)}
)
FEWEST_REPEATS = 2  # of a number that is no known code
FAR = 3.0  # times the range of the rest, for a number that is no known code
FEWEST_OTHERS = 5  # different values, before a number that is no known code stands out among them
MOSTLY = 0.8  # of the values are numbers: then the words among them are asked about
MOST_WORDS = 3  # different ones that are asked about

DATE = re.compile(
    r"\d{4}[-/.](0?[1-9]|1[0-2])[-/.](0?[1-9]|[12]\d|3[01])([T ]\d{1,2}:\d{2}.*)?|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2})"
    r"|\d{1,2}[- ][A-Za-z]{3}[- ](\d{4}|\d{2})"
)
DECIMAL_COMMA = re.compile(r"[+-]?\d+(,\d+)?([eE][+-]?\d+)?")
THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+")


@dataclass(frozen=True)
class MissingRule:
    """What ``--missing`` says: values that are missing everywhere, or in one column; ``asks``: about the others."""

    everywhere: frozenset[str] = frozenset()
    by_column: Mapping[str, frozenset[str]] = field(default_factory=dict)
    asks: bool = True

    @classmethod
    def parse(cls, words: Iterable[str]) -> MissingRule:
        """From words such as ``-9999,n/a``, ``age:-1`` (in one column) and ``none`` (no value is a code)."""
        everywhere: set[str] = set()
        by_column: dict[str, set[str]] = defaultdict(set)
        parts = [part.strip() for word in words for part in word.split(",")]
        for part in parts:
            column, colon, value = part.rpartition(":")
            (by_column[column] if colon and column else everywhere).add(value)
        return cls(
            frozenset(everywhere - {NO_CODES}),
            {column: frozenset(values) for column, values in by_column.items()},
            NO_CODES not in parts,
        )

    def missing_in(self, column: pd.Series) -> np.ndarray:
        """True for the values of ``column`` that mean nothing is known; equal numbers are equal however written."""
        codes = self.everywhere | self.by_column.get(str(column.name), frozenset())
        numbers = {_number(code) for code in codes} - {None}
        is_missing = {
            value: value is None or value != value or str(value) in MISSING_VALUES | codes or _number(value) in numbers
            for value in column.unique()
        }
        return np.array([is_missing.get(value, True) for value in column], dtype=bool)


def _number(value: object) -> float | None:
    try:
        number = float(str(value).replace("_", "x"))  # 1_2 is no number, whatever Python says
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def is_number(value: object) -> bool:
    """Whether a value is a finite number, or spells one."""
    return _number(value) is not None


def typed(column: pd.Series) -> list[Phenotype]:
    """The column's values, as numbers if all that are there are finite numbers; None where missing.

    Decimal commas are read where every number could have one, and none looks like thousands.
    """
    missing = column.isin(MISSING_VALUES) | column.isna()
    present = column[~missing]
    if has_decimal_commas(present):
        present = present.str.replace(",", ".")
    numbers = pd.to_numeric(present, errors="coerce")
    if numbers.notna().all() and not numbers.isin([math.inf, -math.inf]).any():
        values = iter(numbers.astype(float).tolist())
        return [None if absent else next(values) for absent in missing]
    return [None if absent else text for text, absent in zip(column, missing, strict=True)]


def has_decimal_commas(present: pd.Series) -> bool:
    """Whether the texts are numbers with decimal commas, and cannot be thousands."""
    unique = [str(value) for value in present.unique()]
    commas = [value for value in unique if "," in value]
    if not commas or not all(DECIMAL_COMMA.fullmatch(value) for value in unique):
        return False
    return not all(THOUSANDS.fullmatch(value) for value in commas)


def is_dates(values: Iterable[object]) -> bool:
    """Whether all of the words are dates, however they are written."""
    words = {str(value).strip() for value in values}
    return bool(words) and all(DATE.fullmatch(word) for word in words)


def questionable(values: Sequence[Phenotype]) -> dict[str, int]:
    """The values that look like codes for missing, and how often they are there.

    Of numbers: a known code (``CODES``) that is further from the nearest other value than all of these are apart; a
    negative code among values of 0 and more, if it is further off than neighbours among these usually are; any other
    number that is repeated, and further off than three times what the others are apart. Of words: a known code among
    words, and up to three different words among numbers.
    """
    known = [value for value in values if value is not None and value == value]
    numbers = [number for value in known if (number := _number(value)) is not None]
    if len(numbers) == len(known):
        found = _questionable_numbers(np.array(numbers))
        return {f"{code:.15g}": numbers.count(code) for code in found}
    words = [str(value) for value in known]
    if len(numbers) >= MOSTLY * len(known):
        others = {word: words.count(word) for word in dict.fromkeys(words) if _number(word) is None}
        return others if len(others) <= MOST_WORDS else {}
    codes = [word for word in dict.fromkeys(words) if abs(_number(word) or 0) >= 99 and _number(word) in CODES]
    return {word: words.count(word) for word in codes}


def _questionable_numbers(numbers_N: np.ndarray) -> list[float]:
    values, counts = np.unique(numbers_N, return_counts=True)
    is_code = np.isin(values, list(CODES))
    rest = values[~is_code]
    if not len(rest):
        return []
    found: list[float] = []
    for code in sorted(values[is_code].tolist(), key=lambda code: (np.abs(rest - code).min(), code)):
        if _is_far(code, rest):
            found.append(code)
        else:
            rest = np.sort(np.append(rest, code))
    for end in (0, len(rest) - 1):
        value, others = rest[end], np.delete(rest, end)
        repeats = int(counts[values == value][0])
        if repeats < FEWEST_REPEATS or len(others) < FEWEST_OTHERS:
            continue
        if np.abs(others - value).min() > FAR * np.ptp(others):
            found.append(float(value))
    return found


def _is_far(code: float, rest: np.ndarray) -> bool:
    distance = np.abs(rest - code).min()
    if distance > max(float(np.ptp(rest)), 2.0):
        return True
    gap = float(np.median(np.diff(rest))) if len(rest) > 1 else 2.0
    return bool(code < 0 <= rest.min() and distance > gap)


def question(codes: Mapping[str, Mapping[str, int]]) -> list[str]:
    """One sentence for each code that looks like missing: ``codes`` has, by column, how often each is there."""
    by_code: dict[str, list[str]] = defaultdict(list)
    for column, found in codes.items():
        for code, number in found.items():
            by_code[code].append(f"{column} ({number})")
    return [
        f"{code} looks like a code for missing, and is stored as it is: in {listed(where, 5)}. If it is one, "
        f"import again with --missing {code}; if it is a value, with --missing {NO_CODES}"
        for code, where in by_code.items()
    ]
