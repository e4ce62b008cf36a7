"""Whose recordings the rows of others' Arrow data are: subject, session, task and run, from columns and file names.

Which column is the signal is in ``arrow_columns.py``; rows become a plan in ``arrow_plan.py``.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from brainlm.data.bids import Entities, entities_of, subject_id
from brainlm.data.missing_values import MISSING_VALUES
from brainlm.data.planned import failure_of
from brainlm.data.read import TABLE_SUFFIXES
from brainlm.data.recording import Phenotype, recording_name
from brainlm.data.sources.arrow_columns import Scalar, SignalColumn
from brainlm.data.sources.arrow_files import ArrowFile
from brainlm.errors import DataError, Failure

# The first of these that names anybody says who it is. The authors' published program leaves "Patient ID" empty, or
# puts the file's ending there.
SUBJECT_COLUMNS = ("Patient ID", "eid", "sub", "subject", "subject_id", "participant_id")
ENDINGS = frozenset({*(suffix.removeprefix(".") for suffix in TABLE_SUFFIXES), "nii", "nii.gz", "gz"})
FILE_COLUMNS = ("Filename", "path")
ENTITY_COLUMNS = {"session": ("session", "ses", "visit"), "task": ("task",), "run": ("run",), "site": ("site",)}
TR_COLUMN = "tr"
# What tells pieces of one run apart, where subject, session, task and run do not.
PIECE_COLUMNS = ("dir", "mod", "segment", "start", "trial_id")
NO_PHENOTYPES = frozenset(
    {
        *SUBJECT_COLUMNS,
        *FILE_COLUMNS,
        *(name for names in ENTITY_COLUMNS.values() for name in names),
        TR_COLUMN,
        "n_frames",
    }
)


@dataclass(frozen=True, eq=False)
class ArrowRow:
    """A row: where it is, its scalars, and the column with its signal."""

    file: ArrowFile
    number: int
    values: Mapping[str, Scalar]
    signal: SignalColumn

    @property
    def origin(self) -> str:
        """Where the user finds it."""
        return f"{self.file.path}, row {self.number + 1}"

    @property
    def file_name(self) -> str:
        """The file that the row was made from, as its maker called it."""
        return next((name for column in FILE_COLUMNS if (name := text_of(self.values.get(column)))), "")

    @property
    def is_bids_named(self) -> bool:
        """True when that file has a name such as ``sub-01_task-rest_bold.nii.gz``."""
        return bool(re.match(r"sub-[^_.]+", Path(self.file_name).name))

    def id_in(self, column: str) -> str:
        """Who it is by a column of subjects; empty when that names nobody."""
        text = text_of(self.values.get(column))
        return "" if text.lstrip(".").lower() in ENDINGS else text


@dataclass(frozen=True, eq=False)
class Identified:
    """The rows whose owner is known, failures for the others, and what the user should know."""

    rows: tuple[tuple[ArrowRow, Entities], ...]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]


def identify(rows: Sequence[ArrowRow], pattern: re.Pattern[str] | None = None) -> Identified:
    """Whose recordings the rows are.

    The subject is what ``pattern`` finds in the file's name; without a pattern, what the first of ``SUBJECT_COLUMNS``
    says that names anybody; without such a column, the ``sub-`` of the file's name, or that name without its ending.
    A row that the rule does not tell, or about which two columns disagree, fails.
    """
    column = None if pattern else next((name for name in SUBJECT_COLUMNS if any(row.id_in(name) for row in rows)), None)
    contradicting = _contradicting(rows, column) if column else {}
    known: list[tuple[ArrowRow, Entities]] = []
    failures = []
    for position, row in enumerate(rows):
        try:
            if position in contradicting:
                raise contradicting[position]
            known.append((row, _entities(row, column, pattern)))
        except DataError as error:
            failures.append(failure_of(row.origin, error))
    known, told_apart_by = _told_apart(known)
    return Identified(tuple(known), tuple(failures), tuple(_notes(rows, column, pattern, told_apart_by)))


def _entities(row: ArrowRow, column: str | None, pattern: re.Pattern[str] | None) -> Entities:
    in_name = None
    if pattern or row.is_bids_named:
        in_name = entities_of(Path(row.file_name), pattern)
    subject = row.id_in(column) if column else in_name.subject if in_name else _stem(row.file_name)
    if not subject:
        raise DataError(
            f"{row.origin}: whose recording this is is unknown",
            expected=f"a value in the column {column}"
            if column
            else f"one of the columns {', '.join(SUBJECT_COLUMNS)}",
            found="nothing there" if column else f"columns {', '.join(row.values) or 'without scalars'}",
            remedy="add it to the data set"
            + (f", or --pattern takes it from {row.file_name}" if row.file_name else ""),
        )
    found = {}
    for entity, columns in ENTITY_COLUMNS.items():
        in_columns = next((text for name in columns if (text := text_of(row.values.get(name)))), "")
        in_file = getattr(in_name, entity, "")
        found[entity] = (in_file or in_columns) if pattern else (in_columns or in_file)
    return Entities(subject_id(subject), **found)


def _contradicting(rows: Sequence[ArrowRow], column: str) -> dict[int, DataError]:
    """Errors for the rows, by position, in which another column makes one person two, or two people one."""
    errors: dict[int, DataError] = {}
    for other in (*(name for name in SUBJECT_COLUMNS if name != column), "the file's name"):
        pairs = [(row.id_in(column), _other_id(row, other)) for row in rows]
        partners: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        for one, two in pairs:
            if one and two:
                partners["one", one].add(two)
                partners["two", two].add(one)
        for position, (one, two) in enumerate(pairs):
            if one and two and (len(partners["one", one]) > 1 or len(partners["two", two]) > 1):
                errors[position] = DataError(
                    f"{rows[position].origin}: two sources contradict each other about whose recording this is",
                    expected=f"one {other} for each {column}",
                    found=f"{column} {one} with {other} {_some(partners['one', one])}; "
                    f"{other} {two} with {column} {_some(partners['two', two])}",
                    remedy="mend the data set, or say with --pattern which part of the file's name is the subject",
                )
    return errors


def _other_id(row: ArrowRow, column: str) -> str:
    if column in SUBJECT_COLUMNS:
        return row.id_in(column)
    return entities_of(Path(row.file_name)).subject if row.is_bids_named else ""


def _told_apart(known: list[tuple[ArrowRow, Entities]]) -> tuple[list[tuple[ArrowRow, Entities]], list[str]]:
    """The rows, what tells pieces and files of one person apart added to their run; and the columns that do.

    Files with BIDS-like names that agree in all entities stay alike: they are one recording twice.
    """
    used = []
    for column in (*PIECE_COLUMNS, "the file's name"):
        counts = Counter(_key(entities) for _, entities in known)
        shared = [(row, entities) for row, entities in known if counts[_key(entities)] > 1]
        if len({(_key(entities), _piece(row, column)) for row, entities in shared}) > len(
            {_key(entities) for _, entities in shared}
        ):
            known = [
                (row, replace(entities, run="-".join(filter(None, (entities.run, _piece(row, column))))))
                for row, entities in known
            ]
            used.append(column)
    return known, used


def _key(entities: Entities) -> str:
    return recording_name(entities.subject, entities.session, entities.task, entities.run)


def _piece(row: ArrowRow, column: str) -> str:
    if column not in PIECE_COLUMNS:
        return "" if row.is_bids_named else _stem(row.file_name)
    text = text_of(row.values.get(column))
    return f"{column}{text}" if text.isdecimal() else text


def _notes(
    rows: Sequence[ArrowRow], column: str | None, pattern: re.Pattern[str] | None, told_apart_by: Sequence[str]
) -> list[str]:
    notes = []
    unnamed = [name for name in SUBJECT_COLUMNS[:1] if any(name in row.values for row in rows) and name != column]
    why = f"the column {unnamed[0]} is empty, or holds file endings; " if unnamed and not pattern else ""
    if column in SUBJECT_COLUMNS[:2]:
        notes.append(f"{why}subjects are those of the column {column}")
    elif column is None and pattern is None and not all(row.is_bids_named for row in rows):
        notes.append(
            f"{why}subjects are the names of the files, each a person of its own: where one person has several files, "
            "say with --pattern which part of the name is the subject"
        )
    if told_apart_by:
        notes.append(f"recordings of one person are told apart by {' and '.join(told_apart_by)}, in their run")
    return notes


def text_of(value: Scalar) -> str:
    """A value as a label; missing is empty, and 3.0 is 3."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value).strip()
    return "" if text in MISSING_VALUES else text


def phenotype_of(value: Scalar) -> Phenotype:
    """A value as a phenotype: words or a number; None where it is missing."""
    if text_of(value) == "":
        return None
    return value if isinstance(value, str) else float(value or 0)


def _stem(file_name: str) -> str:
    """The name without folder and ending."""
    return Path(file_name.removesuffix(".gz")).stem


def _some(names: set[str], most: int = 3) -> str:
    return ", ".join(sorted(names)[:most]) + (", ..." if len(names) > most else "")
