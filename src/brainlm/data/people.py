"""What tables say about people, put together for each scan: participants, sessions, and any others with phenotypes.

The participants table itself is read in ``bids.py``. Tables that contradict each other cost the scans concerned.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from brainlm.data.bids import Participants, read_people_table, subject_column, subject_id, typed
from brainlm.data.planned import listed
from brainlm.data.recording import Phenotype
from brainlm.data.scan import Scan
from brainlm.errors import DataError

SESSION_COLUMNS = ("session_id", "session")


@dataclass(frozen=True, eq=False)
class PhenotypeTable:
    """Values by subject and session ("" throughout where the table has no column of sessions).

    ``contradictory`` holds those who are there more than once with different values: nothing is known of them.
    """

    values: Mapping[tuple[str, str], Mapping[str, Phenotype]]
    contradictory: frozenset[tuple[str, str]]
    columns: tuple[str, ...]
    path: str
    by_session: bool

    @classmethod
    def read(cls, path: str | Path) -> PhenotypeTable:
        """The table in ``path``: tab separated, or comma separated if it ends in ``.csv``.

        Raises:
            DataError: no such file, not UTF-8, no table, or no column of subjects.
        """
        path = Path(path)
        table = read_people_table(path, "phenotype table", "--phenotypes")
        subjects = [subject_id(text) for text in table.pop(subject_column(table, path, "phenotype table"))]
        return cls.of(table, subjects, path=str(path))

    @classmethod
    def of(cls, table: pd.DataFrame, subjects: Sequence[str], *, path: str) -> PhenotypeTable:
        """The table whose lines are about ``subjects``, all its values being text."""
        column = next((name for name in SESSION_COLUMNS if name in table), None)
        sessions = [text.removeprefix("ses-") for text in table.pop(column)] if column else [""] * len(table)
        keys = pd.Index(list(zip(subjects, sessions, strict=True)), tupleize_cols=False)
        table = table.set_axis(keys)
        table = table[~table.reset_index().duplicated().to_numpy()]
        contradictory = frozenset(table.index[table.index.duplicated()])
        table = table[~table.index.isin(list(contradictory))]
        values = {str(name): typed(table[name]) for name in table}
        rows = {key: {name: column[row] for name, column in values.items()} for row, key in enumerate(table.index)}
        return cls(rows, contradictory, tuple(values), path, column is not None)

    def about(self, scan: Scan) -> Mapping[str, Phenotype]:
        """The values for a scan; none if it has no line.

        Raises:
            DataError: it has several that differ.
        """
        key = (scan.subject, scan.session if self.by_session else "")
        if key in self.contradictory:
            whom = f"{key[0]}, session {key[1]}" if self.by_session else key[0]
            raise DataError(
                f"{scan.path}: its participant is in a table more than once, with different values",
                expected=f"one line for {whom} in {self.path}",
                found="several that differ",
                remedy="remove all but the right one"
                + ("" if self.by_session else ", or tell them apart in a column session_id"),
            )
        return self.values.get(key, {})


@dataclass(frozen=True, eq=False)
class People:
    """Everything that tables say, by scan; ``unusable`` are subjects whose own tables cannot be read."""

    participants: Participants = field(default_factory=Participants)
    tables: tuple[PhenotypeTable, ...] = ()
    unusable: Mapping[str, DataError] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """All phenotypes, each once, in the order of the tables."""
        further = [name for table in self.tables for name in table.columns]
        return tuple(dict.fromkeys([*self.participants.columns, *further]))

    def introduce(self, scan: Scan) -> Scan:
        """The scan with its participant's site and phenotypes.

        Raises:
            DataError: tables contradict each other, or what the scan's path says about the site.
        """
        if scan.subject in self.unusable:
            raise self.unusable[scan.subject]
        site = self.participants.site_of(scan.subject, said=scan.site, origin=scan.path)
        known: dict[str, Phenotype] = dict(self.participants.phenotypes.get(scan.subject, {}))
        said_by = dict.fromkeys(known, self.participants.path)
        for table in self.tables:
            for name, value in table.about(scan).items():
                if known.get(name) is not None and value is not None and known[name] != value:
                    raise DataError(
                        f"{scan.path}: two tables contradict each other about {name}",
                        expected="one value",
                        found=f"{known[name]} in {said_by[name]}, {value} in {table.path}",
                        remedy="correct the one that is wrong, or rename one of the columns",
                    )
                if value is not None or name not in known:
                    known[name], said_by[name] = value, table.path
        return replace(scan, site=site, phenotypes=known)

    def notes(self, scans: Sequence[Scan]) -> list[str]:
        """Who of the tables has no scan, and which scans have no line."""
        notes = []
        if self.participants.path:
            notes.append(f"participants: {Path(self.participants.path).name}")
            notes += notes_on_subjects({scan.subject for scan in scans}, self.participants)
        for table in self.tables:
            missing = [scan.recording_name for scan in scans if not table.about(scan)]
            if missing:
                notes.append(f"{len(missing)} scans have no line in {table.path}: {listed(missing, 5)}")
        return notes


def notes_on_subjects(recorded: Iterable[str], people: Participants) -> list[str]:
    """Who of the participants table has no recording, and who has recordings but is not in the table."""
    known, there = set(people.phenotypes), set(recorded)
    notes = []
    if lonely := sorted(known - there):
        notes.append(f"{len(lonely)} participants of {Path(people.path).name} have no recording: {listed(lonely)}")
    if unknown := sorted(there - known):
        notes.append(
            f"{len(unknown)} subjects with recordings are not in {Path(people.path).name}, and have no phenotypes: "
            f"{listed(unknown)}"
        )
    return notes


def sessions_of(roots: Iterable[Path], subjects: Iterable[str]) -> tuple[PhenotypeTable | None, dict[str, DataError]]:
    """The subjects' own ``sub-01/sub-01_sessions.tsv`` in the data sets as one table, and those that cannot be read."""
    lines: list[dict[str, str]] = []
    unusable: dict[str, DataError] = {}
    folders = list(roots)
    for subject in subjects:
        for root in folders:
            path = root / subject / f"{subject}_sessions.tsv"
            if path.is_file():
                try:
                    lines += _lines(path, subject)
                except DataError as error:
                    unusable[subject] = error
    if not lines:
        return None, unusable
    table = pd.DataFrame(lines).fillna("")
    subjects_of_lines = table.pop("participant_id").tolist()
    where = ", ".join(str(root / "sub-*_sessions.tsv") for root in folders)
    return PhenotypeTable.of(table, subjects_of_lines, path=where), unusable


def _lines(path: Path, subject: str) -> list[dict[str, str]]:
    # Tables of a few lines, but one for each of many thousand subjects: the csv module is fifty times pandas here.
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", restkey="", restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"the sessions table {path} cannot be read",
            expected="text in UTF-8, tab separated",
            found=str(error),
            remedy="save it again as UTF-8, or remove it",
        ) from error
    if rows and "session_id" not in rows[0]:
        raise DataError(
            f"the sessions table {path} has no column of sessions",
            expected="a column session_id",
            found=f"columns {', '.join(rows[0])}",
            remedy="rename the column of sessions to session_id",
        )
    return [{**{name: value.strip() for name, value in row.items() if name}, "participant_id": subject} for row in rows]
