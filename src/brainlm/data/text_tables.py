"""A text file -> rows and columns: delimiter, comments, header, and that every line has the same number of values.

What the columns mean is in ``read.py``.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from brainlm.errors import DataError

# Fewer columns than this may count up by chance (a toy array); no atlas is this small.
MIN_COUNTED_COLUMNS = 10
MISSING = frozenset({"", "n/a", "na", "nan", "null", "none"})


@dataclass(frozen=True, eq=False)
class RawTable:
    """A table as it is in the file: columns are numbered from 0; ``header`` is empty when the file has none.

    ``line_numbers`` gives the line (from 1) of each row, for messages; it is empty when the file is not text.
    """

    frame: pd.DataFrame
    header: tuple[str, ...]
    line_numbers: list[int]


@dataclass(frozen=True)
class _Line:
    number: int
    text: str


def read_text(path: Path, num_expected: int = 0) -> RawTable:  # noqa: ARG001 - readers share a signature
    """The rows of a tab, comma, semicolon or space separated file.

    Lines that begin with ``#`` are comments, unless the last of them before the data has as many words as there are
    columns: then it is the header (ABIDE's ``#1 #2 ...``, ``numpy.savetxt``).

    Raises:
        DataError: binary content, nothing inside, or lines of different length.
    """
    try:
        return _parse(path)
    except (csv.Error, pd.errors.ParserError) as error:
        raise _not_a_table(path, str(error)) from error


def _parse(path: Path) -> RawTable:
    lines = _lines(path)
    data = [line for line in lines if not line.text.lstrip().startswith("#")]
    if not data:
        raise DataError(
            f"{path} is empty",
            expected="a table of numbers",
            found=f"{path.stat().st_size} bytes, no line with values",
            remedy="write the file again, or leave it out",
        )
    delimiter = _delimiter(data[-1].text)
    header: tuple[str, ...] = ()
    comments = [line.text.strip(" ").lstrip("#") for line in lines if line.number < data[0].number]
    first, second = (_words(line.text, delimiter) for line in (data[0], data[min(1, len(data) - 1)]))
    if comments and len(words := _words(comments[-1], delimiter)) == len(first):
        header = _names(words)
    elif _is_header(first, second if len(data) > 1 else []):
        header, data = _names(first), data[1:]
    data = _without_trailing_delimiter(data, delimiter)
    num_columns = _num_columns(data, delimiter, path)
    if header and header[-1] == "" and len(header) == num_columns + 1:
        header = header[:-1]
    if header and len(header) != num_columns:
        raise DataError(
            f"{path}: the header does not fit the lines below it",
            expected=f"{num_columns} names, one a column",
            found=f"{len(header)} names: {', '.join(header[:3])}, ...",
            remedy="name every column (also the row names), or remove the header",
        )
    return RawTable(_frame(data, delimiter, num_columns), header, [line.number for line in data])


def with_labels_as_header(raw: RawTable, labels: Sequence[str]) -> RawTable:
    """``raw``, its first line made the header if it holds exactly the parcels' labels.

    Only among whole-number signals can such a line pass for data.
    """
    if raw.header or not raw.line_numbers or len(labels) < MIN_COUNTED_COLUMNS or len(labels) != raw.frame.shape[1]:
        return raw
    first = [str(value).removesuffix(".0") for value in raw.frame.iloc[0]]
    if sorted(first) != sorted(labels):
        return raw
    return RawTable(raw.frame.iloc[1:], tuple(first), raw.line_numbers[1:])


def is_counting(names: Sequence[str]) -> bool:
    """True for ``0 1 2 ...`` or ``1 2 3 ...``: column numbers, as pandas writes when columns have no names."""
    counts = [str(number) for number in range(len(names) + 1)]
    return list(names) in (counts[:-1], counts[1:])


def _lines(path: Path) -> list[_Line]:
    """The lines that are not blank."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_a_table(path, f"{error.reason} at byte {error.start + 1}") from error
    if "\0" in text:
        raise _not_a_table(path, f"a zero byte at byte {content.index(0) + 1}")
    return [_Line(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def _not_a_table(path: Path, found: str) -> DataError:
    return DataError(
        f"{path} is not a table in text",
        expected="text (UTF-8), a line a time point",
        found=found,
        remedy="save it as tab-separated text in UTF-8, or give it the ending of its real format",
    )


def _delimiter(line: str) -> str | None:
    """The character between values; None for any run of white space."""
    return next((delimiter for delimiter in ("\t", ";", ",") if delimiter in line.strip()), None)


def _words(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return line.split()
    return [word.strip() for word in next(csv.reader([line], delimiter=delimiter))]


def _names(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(word.lstrip("#").strip() for word in words)


def _kind(word: str) -> Literal["missing", "integer", "fraction", "text"]:
    if word.lower() in MISSING:
        return "missing"
    if word.isdecimal():
        return "integer"
    try:
        float(word)
    except ValueError:
        return "text"
    return "fraction"


def _is_header(words: list[str], below: list[str]) -> bool:
    """True when the first line names the columns: words over numbers, labels over fractions, or the columns counted."""
    kinds = [_kind(word) for word in words]
    if "fraction" in kinds:
        return False
    kinds_below = [_kind(word) for word in below] or ["integer"] * len(words)
    if any(kind == "text" and under != "text" for kind, under in zip(kinds, kinds_below, strict=False)):
        return True
    numbers = [word for word, kind in zip(words, kinds, strict=True) if kind == "integer"]
    if "fraction" in kinds_below:  # whole numbers, all different, over fractions: labels
        return len(numbers) >= 2 and len(set(numbers)) == len(numbers)
    return len(numbers) >= MIN_COUNTED_COLUMNS and is_counting(numbers)


def _without_trailing_delimiter(data: list[_Line], delimiter: str | None) -> list[_Line]:
    """The lines as they are, unless every one of them ends with the delimiter, as some programs write."""
    if delimiter is None or not all(line.text.endswith(delimiter) for line in data):
        return data
    return [_Line(line.number, line.text[:-1]) for line in data]


def _num_columns(data: list[_Line], delimiter: str | None, path: Path) -> int:
    """How many values every line has."""
    if not data:
        raise DataError(
            f"{path} has a header and nothing below it",
            expected="a line a time point",
            found="no line with values",
            remedy="write the file again, or leave it out",
        )
    counts = [len(line.text.split()) if delimiter is None else line.text.count(delimiter) + 1 for line in data]
    usual = Counter(counts).most_common(1)[0][0]
    ragged = [index for index, count in enumerate(counts) if count != usual]
    if ragged:
        raise DataError(
            f"{path}: lines are not equally long",
            expected=f"{usual} values in every line",
            found=f"{counts[ragged[0]]} in line {data[ragged[0]].number}"
            + (f", and {len(ragged) - 1} more such lines" if len(ragged) > 1 else ""),
            remedy="write the file again (was it cut off?), or leave it out",
        )
    return usual


def _frame(data: list[_Line], delimiter: str | None, num_columns: int) -> pd.DataFrame:
    return pd.read_csv(
        io.StringIO("\n".join(line.text for line in data)),
        sep=delimiter if delimiter is not None else r"\s+",
        header=None,
        names=list(range(num_columns)),
        index_col=False,
        skipinitialspace=True,
        skip_blank_lines=False,
        low_memory=False,
    )
