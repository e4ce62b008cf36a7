"""A text file -> rows and columns: delimiter, decimal sign, comments, header, and that all lines are equally long.

Which line is a header is decided in ``table_names.py``; what the columns mean, in ``read.py``.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pandas as pd

from brainlm.data.table_names import MIN_COUNTED, Header, is_header, is_number, is_text, plain_names, shown
from brainlm.errors import DataError

SEPARATOR_LINE = re.compile(r"sep=.")  # the first line of a CSV that Excel writes for other countries
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")
QUOTED = re.compile(r'"[^"]*"')
NUM_SAMPLED = 4  # lines that decide delimiter, decimal sign and header
MAX_TIME_POINTS = 100_000  # of one recording: more than a day at a TR of 0.9 s
MAX_EXTRA_COLUMNS = 16  # beside parcels: an index, times, nuisance signals
BYTES_PER_VALUE = {"text": 32, "array": 8}


@dataclass(frozen=True, eq=False)
class RawTable:
    """A table as it is in the file: columns are numbered from 0; ``header`` is empty when the file has none.

    Attributes:
        line_numbers: the line (from 1) of each row, for messages; empty when the file is not text.
        row_names: columns that were taken off since they name or count the rows.
        remarks: what was recognised and left out, in words for the user.
    """

    frame: pd.DataFrame
    header: tuple[str, ...]
    line_numbers: list[int]
    row_names: tuple[tuple[str, ...], ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Line:
    number: int
    text: str


def read_text(path: Path, num_expected: int = 0, header: Header = "auto") -> RawTable:
    """The rows of a tab, comma, semicolon or space separated file.

    Lines that begin with ``#`` are comments, unless the last of them before the data has as many words as there are
    columns: then it is the header (ABIDE's ``#1 #2 ...``, ``numpy.savetxt``).

    Args:
        path: the file.
        num_expected: columns of a table without header, which an empty last column must not change.
        header: whether the first line names columns; ``"auto"`` finds out.

    Raises:
        DataError: binary content, nothing inside, lines of different length, or a first line that may be either.
    """
    try:
        return _parse(path, num_expected, header)
    except (csv.Error, pd.errors.ParserError) as error:
        raise _not_a_table(path, str(error)) from error


def _parse(path: Path, num_expected: int, option: Header) -> RawTable:
    check_size(path, path.stat().st_size, num_expected, "text")
    lines = _lines(path)
    data = [line for line in lines if not line.text.lstrip().startswith("#")]
    if data and SEPARATOR_LINE.fullmatch(data[0].text.strip()):
        data = data[1:]
    if not data:
        raise DataError(
            f"{path} is empty",
            expected="a table of numbers",
            found=f"{path.stat().st_size} bytes, no line with values",
            remedy="write the file again, or leave it out",
        )
    delimiter = _delimiter(data[-1].text)
    comments = [line.text.strip(" ").lstrip("#") for line in lines if line.number < data[0].number]
    comment = _words(comments[-1], delimiter) if comments else []
    first = _words(data[0].text, delimiter)
    below = [_words(line.text, delimiter) for line in data[1 : 1 + NUM_SAMPLED]]
    remarks: tuple[str, ...] = ()
    if decimal_commas := _has_decimal_commas([first, *below], path):
        below = [[word.replace(",", ".") for word in words] for words in below]
        remarks = ("decimal commas were read as decimal points",)
        if all(not is_text(word.replace(",", ".")) for word in first):
            first = [word.replace(",", ".") for word in first]
    if _end_with_delimiter(data, first, below, delimiter=delimiter, num_expected=num_expected):
        first = first[: len(below[0]) - 1]
        data = [_Line(line.number, line.text.rstrip(" ").removesuffix(str(delimiter))) for line in data]
        below = [words[:-1] for words in below]
    # R writes names of rows without a title: the header is a cell shorter.
    is_short = bool(below) and len(first) == len(below[0]) - 1
    header: tuple[str, ...] = ()
    if comment and len(comment) == len(first) and option == "auto" and not any(map(is_text, first)):
        header = _names(comment)
    elif option == "first-line" or (
        option == "auto" and is_header(first, [words[1:] for words in below] if is_short else below, path=path)
    ):
        header = _names(["", *first] if is_short else first)
        words = header[1:] if header[0] == "" else header
        if all(map(is_number, words)):
            remarks += (f"the first line ({shown(words)}) names or counts columns and is no time point",)
        data = data[1:]
    elif comment and len(comment) == len(first) and option == "auto":
        header = _names(comment)
    num_columns = _num_columns(data, delimiter, path)
    if header and len(header) != num_columns:
        raise DataError(
            f"{path}: the header does not fit the lines below it",
            expected=f"{num_columns} names, one a column",
            found=f"{len(header)} names: {', '.join(header[:3])}, ...",
            remedy="name every column (also the row names), or remove the header",
        )
    frame = _frame(data, delimiter, num_columns, decimal="," if decimal_commas else ".")
    return RawTable(frame, header, [line.number for line in data], remarks=remarks)


def check_size(path: Path, num_bytes: int, num_expected: int, kind: Literal["text", "array"]) -> None:
    """Make sure, before memory is taken, that a table is no larger than a recording of that many parcels can be.

    Raises:
        DataError: it is, or it is larger than half of the machine's memory.
    """
    limit = MAX_TIME_POINTS * (num_expected + MAX_EXTRA_COLUMNS) * BYTES_PER_VALUE[kind]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if num_bytes > min(limit, memory // 2):
        raise DataError(
            f"{path} is too large for one recording",
            expected=f"at most {min(limit, memory // 2) / 1e9:.2g} GB for {num_expected} parcels"
            + (" (half of this machine's memory)" if memory // 2 < limit else f" and {MAX_TIME_POINTS} time points"),
            found=f"{num_bytes / 1e9:.3g} GB when read, from a file of {path.stat().st_size} bytes",
            remedy="save the signal of one recording alone into a file, or leave it out",
        )


def with_labels_as_header(raw: RawTable, labels: Sequence[str]) -> RawTable:
    """``raw``, its first line made the header if it holds exactly the parcels' labels.

    Only among whole-number signals can such a line pass for data.
    """
    if raw.header or not raw.line_numbers or len(labels) < MIN_COUNTED or len(labels) != raw.frame.shape[1]:
        return raw
    first = plain_names([str(value) for value in raw.frame.iloc[0]])
    if sorted(first) != sorted(labels):
        return raw
    return replace(raw, frame=raw.frame.iloc[1:], header=tuple(first), line_numbers=raw.line_numbers[1:])


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
    line = QUOTED.sub("", line).strip()
    found = next((delimiter for delimiter in ("\t", ";", ",") if delimiter in line), None)
    # Decimal commas between spaces: 0,5 1,2
    return None if found == "," and re.search(r"\d\s+[+-]?\d+,", line) else found


def _words(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return next(csv.reader([line.strip()], delimiter=" ", skipinitialspace=True))
    return [word.strip() for word in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]


def _names(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(word.lstrip("#").strip() for word in words)


def _has_decimal_commas(rows: Sequence[Sequence[str]], path: Path) -> bool:
    """Whether numbers have commas for decimals.

    Raises:
        DataError: the commas may separate thousands as well.
    """
    words = [word for row in rows for word in row]
    commas = [word for word in words if DECIMAL_COMMA.fullmatch(word) or THOUSANDS.fullmatch(word)]
    if not commas or any("." in word for word in words if is_number(word)):
        return False
    if all(THOUSANDS.fullmatch(word) for word in commas):
        raise DataError(
            f"{path}: commas within numbers may separate decimals or thousands",
            expected="numbers with a point for decimals and nothing between thousands",
            found=shown(commas),
            remedy="write the numbers that way",
        )
    return True


def _end_with_delimiter(
    data: Sequence[_Line],
    first: Sequence[str],
    below: Sequence[Sequence[str]],
    *,
    delimiter: str | None,
    num_expected: int,
) -> bool:
    """Whether every line ends with the delimiter, as some programs write, rather than with a missing value."""
    if delimiter is None or not below or not all(line.text.rstrip(" ").endswith(delimiter) for line in data[1:]):
        return False
    is_named = len(first) == len(below[0]) and first[-1] != ""
    return not is_named and len(below[0]) != num_expected


def _num_columns(data: list[_Line], delimiter: str | None, path: Path) -> int:
    """How many values every line has."""
    if not data:
        raise DataError(
            f"{path} has a header and nothing below it",
            expected="a line a time point",
            found="no line with values",
            remedy="write the file again, or leave it out",
        )
    counts = [_num_words(line.text, delimiter) for line in data]
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


def _num_words(line: str, delimiter: str | None) -> int:
    if '"' in line:
        return len(_words(line, delimiter))
    return len(line.split()) if delimiter is None else line.count(delimiter) + 1


def _frame(data: list[_Line], delimiter: str | None, num_columns: int, *, decimal: str) -> pd.DataFrame:
    return pd.read_csv(
        io.StringIO("\n".join(line.text for line in data)),
        sep=delimiter if delimiter is not None else r"\s+",
        header=None,
        names=list(range(num_columns)),
        index_col=False,
        skipinitialspace=True,
        skip_blank_lines=False,
        low_memory=False,
        decimal=decimal,
    )
