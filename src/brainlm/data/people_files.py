"""A table about people as people have it, read as text: its encoding, its separator, its unnamed and empty columns.

What its columns mean, and whom its rows are about, is found out in ``people.py``.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from brainlm.data.planned import listed
from brainlm.errors import DataError

SEPARATORS = ("\t", ",", ";")
SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers", ".sav", ".dta", ".sas7bdat", ".rds", ".rdata", ".parquet")
ZIP, OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"  # how .xlsx and .ods, and .xls begin
UNNAMED = re.compile(r"(unnamed: ?\d+(\.\d+)?)?", re.IGNORECASE)  # as pandas calls columns without a name


@dataclass(frozen=True, eq=False)
class PeopleFile:
    """A table as text, without blank lines and unnamed columns.

    ``unnamed`` holds the columns without a name, by position from 1; ``is_given``: by the user, not found.
    """

    path: str
    table: pd.DataFrame
    notes: tuple[str, ...] = ()
    unnamed: Mapping[int, Sequence[str]] = field(default_factory=dict)
    is_given: bool = True

    @property
    def name(self) -> str:
        """The file's own name, for messages."""
        return Path(self.path).name

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        what: str = "participants table",
        option: str = "--participants",
        is_given: bool = True,
    ) -> PeopleFile:
        """The table in ``path``: separated by tabs, commas or semicolons, whatever its name ends with.

        Text is UTF-8 or UTF-16, else Windows-1252 (Latin-1), which is noted. Values are without blanks around them.

        Raises:
            DataError: no such file, a spreadsheet, no table, lines that are longer than the header, or two columns of
                one name.
        """
        path = Path(path)
        text, notes = _text(path, what, option)
        header, lines = _cells(text, path, what)
        columns = {
            number: [line[number - 1] if number <= len(line) else "" for line in lines]
            for number in range(1, len(header) + 1)
        }
        unnamed = {number: columns.pop(number) for number, name in enumerate(header, 1) if UNNAMED.fullmatch(name)}
        unnamed = {number: values for number, values in unnamed.items() if any(values)}
        names = [header[number - 1] for number in columns]
        if twice := [name for name, number in Counter(names).items() if number > 1]:
            raise DataError(
                f"the {what} {path} has columns of the same name",
                expected="a name of its own for each column",
                found=", ".join(f"{name} ({names.count(name)} times)" for name in twice),
                remedy="rename or remove all but one of each",
            )
        if unnamed:
            called = [header[number - 1] or f"column {number}" for number in unnamed]
            notes.append(f"{path.name}: columns without a name were left out: {listed(called, 5)}")
        table = pd.DataFrame(dict(zip(names, columns.values(), strict=True)), dtype=object)
        return cls(str(path), table, tuple(notes), unnamed, is_given)


def read_people_files(paths: str | Path | Sequence[str | Path] | None, **options: Any) -> list[PeopleFile]:
    """The tables at one path, at several, or at none; ``options`` are those of ``PeopleFile.read``."""
    several = [] if paths is None else [paths] if isinstance(paths, str | Path) else paths
    return [PeopleFile.read(path, **options) for path in several]


def _text(path: Path, what: str, option: str) -> tuple[str, list[str]]:
    if not path.is_file():
        raise DataError(f"no {what} at {path}", remedy=f"correct {option}")
    content = path.read_bytes()
    if path.suffix.lower() in SPREADSHEETS or content.startswith((ZIP, OLE)):
        raise DataError(
            f"the {what} {path} is no text",
            expected="a table as text, separated by tabs, commas or semicolons",
            found=f"a {path.suffix or 'spreadsheet'} file",
            remedy="save it as CSV (in a spreadsheet program: 'Save as', 'CSV UTF-8') and give that file",
        )
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace"), []
    try:
        text = content.decode("utf-8-sig")
        notes = []
    except UnicodeDecodeError as error:
        text = content.decode("cp1252", errors="replace")
        notes = [f"{path.name} is not UTF-8 (byte {error.start + 1}), and was read as Windows-1252 (Latin-1)"]
    if "\0" in text:
        raise _unreadable(path, what, "binary data")
    return text, notes


def _cells(text: str, path: Path, what: str) -> tuple[list[str], list[list[str]]]:
    """The header and the lines below it, cell by cell."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(SEPARATORS, key=lambda one: len(_split(first, one)))
    rows: list[tuple[int, list[str]]] = []
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=separator != "\t", strict=True)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise _unreadable(path, what, f"{error} at line {reader.line_num}") from error
    if not rows:
        raise _unreadable(path, what, "nothing in it")
    header = rows[0][1]
    for number, cells in rows[1:]:
        if any(cells[len(header) :]):
            raise _unreadable(path, what, f"{len(cells)} values in line {number}, {len(header)} in the header")
    return header, [cells for _, cells in rows[1:]]


def _split(line: str, separator: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator), [])


def _unreadable(path: Path, what: str, found: str) -> DataError:
    return DataError(
        f"the {what} {path} cannot be read",
        expected="a header and a line a participant, separated by tabs, commas or semicolons",
        found=found,
        remedy="repair the table, or save it again as CSV",
    )
