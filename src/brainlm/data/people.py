"""What tables say about people, put together for each recording: participants, sessions, any others with phenotypes.

One place for `brainlm import` and `brainlm parcellate`. A table is read in ``people_files.py``, its ids are matched
in ``matching_ids.py``. Tables that contradict each other cost the recordings concerned.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import pandas as pd

from brainlm.data.field_names import columns_of, nearest, plain
from brainlm.data.matching_ids import IdMatch, match_ids
from brainlm.data.missing_values import MissingRule, has_decimal_commas, is_number, question, questionable, typed
from brainlm.data.people_files import PeopleFile
from brainlm.data.planned import PlannedRecording, listed
from brainlm.data.recording import Phenotype, recording_name
from brainlm.data.repetition import seconds
from brainlm.data.scan import Scan
from brainlm.data.shards import RESERVED_COLUMNS
from brainlm.errors import ConfigError, DataError

# As ``plain`` spells them, in the order in which they are preferred where several say the same: BIDS, then as
# spreadsheets, ABIDE, ABCD, ConnectomeDB and UK Biobank call them.
SUBJECT_COLUMNS = (
    "participantid", "participant", "subject", "subjectid", "subid", "subjid", "srcsubjectid", "subjectkey", "eid",
    "id",
)  # fmt: skip
SESSION_COLUMNS = ("sessionid", "session", "ses", "sesid", "visit", "visitid", "eventname", "timepoint")
TR_COLUMNS = ("tr", "repetitiontime")
NUM_EXAMPLES = 5

Recorded = tuple[str, str]  # subject and session of a recording
Item = TypeVar("Item", Scan, PlannedRecording)


@dataclass(frozen=True)
class PeopleRules:
    """What a user may say about tables of people.

    Attributes:
        id_column: whose values are the subjects; a known name otherwise.
        missing: values that mean nothing is known.
        value_labels: by column, what its codes mean: ``{"DX_GROUP": {"1": "autism", "2": "control"}}``.
    """

    id_column: str | None = None
    missing: MissingRule = field(default_factory=MissingRule)
    value_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def parse(
        cls, id_column: str | None = None, missing: Sequence[str] = (), value_labels: Sequence[str] = ()
    ) -> PeopleRules:
        """From the words of ``--id_column``, ``--missing`` and ``--value_labels COLUMN:1=NAME,2=NAME``.

        Raises:
            ConfigError: a label that cannot be read.
        """
        labels: dict[str, dict[str, str]] = defaultdict(dict)
        for words in value_labels:
            column, _, pairs = words.partition(":")
            for pair in pairs.split(","):
                code, equals, label = (part.strip() for part in pair.partition("="))
                if not (column and code and equals and label):
                    raise ConfigError(
                        "the labels of values cannot be read",
                        expected="COLUMN:CODE=NAME,CODE=NAME",
                        found=words,
                        remedy="for example --value_labels DX_GROUP:1=autism,2=control",
                    )
                labels[column.strip()][code] = label
        return cls(id_column, MissingRule.parse(missing), labels)


NO_RULES = PeopleRules()


@dataclass(frozen=True, eq=False)
class PeopleTable:
    """What one table says of those who have been recorded, by their subject and session.

    The session is "" throughout where the table speaks of people (``by_session`` is False). ``contradictory`` are those
    who are there more than once with different values: nothing is known of them.
    """

    path: str
    columns: tuple[str, ...] = ()
    values: Mapping[Recorded, Mapping[str, Phenotype]] = field(default_factory=dict)
    site: Mapping[Recorded, str] = field(default_factory=dict)
    tr_s: Mapping[Recorded, float] = field(default_factory=dict)
    contradictory: frozenset[Recorded] = frozenset()
    by_session: bool = False
    codes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def join(
        cls,
        file: PeopleFile,
        recorded: Iterable[Recorded],
        rules: PeopleRules = NO_RULES,
        *,
        reserved: frozenset[str] = RESERVED_COLUMNS,
    ) -> PeopleTable:
        """What ``file`` says of the recorded subjects and sessions.

        The column ``site`` (or one of that meaning) and ``tr`` (s) are of the recordings; every other column is a
        phenotype, but those that are called like a ``reserved`` column of a store, which are left out and noted.

        Raises:
            DataError: no column of subjects, several that differ, or no subject in common.
            ConfigError: an option names a column or a value that is not there.
        """
        recorded = sorted(set(recorded))
        subjects = {subject for subject, _ in recorded}
        who = _owners(file, subjects, rules.id_column)
        when = _sessions(file, who, recorded)
        left_out = [str(name) for name in file.table if name in reserved - {"site", "tr"}]
        left_out = [name for name in left_out if name not in (*who.columns, when.column)]
        table = file.table.drop(columns=[*who.columns, *([when.column] if when.column else []), *left_out])
        table = _labelled(file, _without_missing(table, rules.missing), rules.value_labels)
        rows, contradictory, num_equal = _rows(table, who, when)
        site_column = next(iter(columns_of("site", table)), "")
        tr_column = next((str(name) for name in table if plain(name) in TR_COLUMNS), "")
        own = {name: table[name].iloc[list(rows.positions)] for name in (site_column, tr_column) if name}
        columns = {str(name): typed(table[name]) for name in table if name not in own}
        return cls(
            path=file.path,
            columns=tuple(columns),
            values={
                key: {name: values[row] for name, values in columns.items()}
                for key, row in zip(rows.keys, rows.positions, strict=True)
            },
            site={key: site for key, site in zip(rows.keys, own.get(site_column, []), strict=False) if site},
            tr_s={
                key: seconds(tr, f"{file.path}, participant {key[0]}")
                for key, tr in zip(rows.keys, own.get(tr_column, []), strict=False)
                if tr
            },
            contradictory=contradictory,
            by_session=bool(when.column),
            codes={
                name: found
                for name, values in columns.items()
                if rules.missing.asks and (found := questionable(values))
            },
            notes=(
                *file.notes,
                *who.notes(file, subjects),
                *_notes_on_rows(file, recorded if when.column else (), {*rows.keys, *contradictory}, num_equal),
                *_notes_on_columns(file, table, left_out, site_column),
            ),
        )

    def about(self, subject: str, session: str) -> Mapping[str, Phenotype]:
        """The values for a recording; none if it has no line.

        Raises:
            DataError: it has several that differ.
        """
        key = self.key(subject, session)
        if key in self.contradictory:
            whom = f"{key[0]}, session {key[1]}" if self.by_session else key[0]
            raise DataError(
                f"{subject}: it is in a table more than once, with different values",
                expected=f"one line for {whom} in {self.path}",
                found="several that differ",
                remedy="remove all but the right one"
                + ("" if self.by_session else ", or tell them apart in a column session_id"),
            )
        return self.values.get(key, {})

    def key(self, subject: str, session: str) -> Recorded:
        """Under which the table speaks of a recording."""
        return (subject, session if self.by_session else "")


@dataclass(frozen=True, eq=False)
class People:
    """Everything that tables say; ``unusable`` are subjects whose own tables cannot be read."""

    tables: tuple[PeopleTable, ...] = ()
    unusable: Mapping[str, DataError] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def join(
        cls,
        files: Sequence[PeopleFile],
        recorded: Iterable[Recorded],
        rules: PeopleRules = NO_RULES,
        *,
        reserved: frozenset[str] = RESERVED_COLUMNS,
        unusable: Mapping[str, DataError] | None = None,
    ) -> People:
        """All tables by one rule, see ``PeopleTable.join``.

        Raises:
            DataError: a table cannot be joined.
            ConfigError: an option names a column or a value that no table has.
        """
        _check_columns(files, rules)
        recorded = list(recorded)
        tables = tuple(PeopleTable.join(file, recorded, rules, reserved=reserved) for file in files)
        codes: dict[str, dict[str, int]] = defaultdict(dict)
        for table in tables:
            for column, found in table.codes.items():
                codes[column] |= found
        notes = [note for table in tables for note in table.notes]
        return cls(tables, unusable or {}, (*notes, *question(codes)))

    @property
    def columns(self) -> tuple[str, ...]:
        """All phenotypes, each once, in the order of the tables."""
        return tuple(dict.fromkeys(name for table in self.tables for name in table.columns))

    def repetition_times(self, subject: str, session: str) -> dict[str, float]:
        """What the tables say about a recording's TR (s), by path."""
        found = {table.path: table.tr_s.get(table.key(subject, session)) for table in self.tables}
        return {path: tr_s for path, tr_s in found.items() if tr_s is not None}

    def introduce(self, item: Item) -> Item:
        """The recording with its participant's site and phenotypes.

        Raises:
            DataError: tables contradict each other, or what the recording's own source says.
        """
        if item.subject in self.unusable:
            raise self.unusable[item.subject]
        origin = item.path if isinstance(item, Scan) else item.origin
        site = item.site
        site_from = "the path"
        known: dict[str, Phenotype] = dict(item.phenotypes)
        said_by = dict.fromkeys(known, "the data set")
        for table in self.tables:
            found = table.about(item.subject, item.session)
            here = table.site.get(table.key(item.subject, item.session), "")
            if here and site and plain(here) != plain(site):
                raise DataError(
                    f"{origin}: two sources contradict each other about the site",
                    expected="one value",
                    found=f"{site} in {site_from}, {here} in {table.path}",
                    remedy="correct the one that is wrong; or leave the site out of --pattern, where the table has it",
                )
            site, site_from = (here, table.path) if here else (site, site_from)
            for name, value in found.items():
                if known.get(name) is not None and value is not None and not _is_same(known[name], value):
                    raise DataError(
                        f"{origin}: two tables contradict each other about {name}",
                        expected="one value",
                        found=f"{known[name]} in {said_by[name]}, {value} in {table.path}",
                        remedy="correct the one that is wrong, or rename one of the columns",
                    )
                if known.get(name) is None:
                    known[name], said_by[name] = value, table.path
        return replace(item, site=site, phenotypes=known)


def _is_same(one: Phenotype, other: Phenotype) -> bool:
    """Whether two tables say the same, one of which may have a number as text."""
    return one == other or (is_number(one) and is_number(other) and float(str(one)) == float(str(other)))


def _check_columns(files: Sequence[PeopleFile], rules: PeopleRules) -> None:
    """Refuse options that name columns of no table."""
    there = [str(name) for file in files for name in file.table]
    wanted = {"--id_column": [rules.id_column] if rules.id_column else [], "--value_labels": [*rules.value_labels]}
    wanted["--missing"] = [*rules.missing.by_column]
    for option, names in wanted.items():
        for name in names:
            if name not in there:
                raise ConfigError(
                    f"{option} names a column that no table about people has",
                    expected="a column of the participants table" + ("" if files else " (--participants)"),
                    found=f"{name}; nearest: {nearest(name, there)}",
                    remedy="correct the spelling" if files else "give the table, too",
                )


@dataclass(frozen=True, eq=False)
class _Owners:
    """Whom the rows are about: recorded subjects, NaN for others; ``same`` are columns that say it again."""

    column: str
    same: tuple[str, ...]
    match: IdMatch
    ids: pd.Series
    subjects: pd.Series

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column, *self.same)

    def notes(self, file: PeopleFile, recorded: set[str]) -> list[str]:
        """How many were matched and how, who of the table has no recording, and who is not in the table."""
        how = f", {self.match.how}" if self.match.how else ""
        notes = [f"{file.name}: matched {len(self.match.ids)} of {len(recorded)} subjects by {self.column}{how}"]
        if self.same:
            notes.append(
                f"{file.name}: {listed(self.same, NUM_EXAMPLES)} says the same as {self.column}, and was left out"
            )
        if lonely := sorted(set(self.ids[self.subjects.isna()]) - {""}):
            notes.append(f"{len(lonely)} participants of {file.name} have no recording: {listed(lonely, NUM_EXAMPLES)}")
        if unknown := sorted(recorded - set(self.match.ids)):
            notes.append(
                f"{len(unknown)} subjects with recordings are not in {file.name}, and have no phenotypes: "
                f"{listed(unknown, NUM_EXAMPLES)}"
            )
        return notes


def _owners(file: PeopleFile, subjects: set[str], id_column: str | None) -> _Owners:
    """By the column that was named, or by the one of the known names that matches."""
    names = [str(name) for name in file.table]
    known = [name for wanted in SUBJECT_COLUMNS for name in names if plain(name) == wanted]
    candidates = [id_column] if id_column in names else known
    if not candidates:
        raise _no_subjects(file, subjects)
    matches = {name: match_ids(subjects, file.table[name]) for name in dict.fromkeys([*candidates, *known])}
    owners = {name: _mapped(file.table[name], match) for name, match in matches.items()}
    found = [name for name in candidates if matches[name].ids]
    column = max(candidates, key=lambda name: len(matches[name].ids))
    if subjects and not found and file.is_given:
        raise _nobody(file, subjects, column)
    same = [name for name in known if name != column and matches[name].ids and owners[name].equals(owners[column])]
    if different := [name for name in found if name not in (column, *same)]:
        counts = (f"{name} would match {len(matches[name].ids)}" for name in (column, *different))
        raise DataError(
            f"{file.path} has several columns of subjects, and they do not agree",
            expected="one column whose values are the subjects of the recordings",
            found=f"{', '.join(counts)} of {len(subjects)} subjects",
            remedy=f"say which, such as --id_column {column}",
        )
    return _Owners(column, tuple(same), matches[column], file.table[column], owners[column])


def _mapped(column: pd.Series, match: IdMatch) -> pd.Series:
    return column.map({one: name for name, ids in match.ids.items() for one in ids})


@dataclass(frozen=True, eq=False)
class _Sessions:
    """Of which recorded session the rows are; ``column`` is "" where the table speaks of people."""

    column: str
    sessions: pd.Series


def _sessions(file: PeopleFile, who: _Owners, recorded: Sequence[Recorded]) -> _Sessions:
    everywhere = _Sessions("", pd.Series("", index=file.table.index))
    known = sorted({session for _, session in recorded} - {""})
    columns = [str(name) for wanted in SESSION_COLUMNS for name in file.table if plain(name) == wanted]
    if not known or not columns:
        return everywhere
    matches = {name: match_ids(known, file.table[name], prefix="ses") for name in columns}
    column = max(columns, key=lambda name: len(matches[name].ids))
    if not matches[column].ids and not who.subjects.dropna().duplicated().any():
        return everywhere  # a row a person, whatever its session was
    if not matches[column].ids and file.is_given:
        raise DataError(
            f"none of the sessions of {file.path} has a recording",
            expected=f"sessions of the recordings, such as {listed(known, NUM_EXAMPLES)}",
            found=f"{listed(sorted(set(file.table[column]) - {''}), NUM_EXAMPLES)} in the column {column}",
            remedy=f"write the recordings' sessions there; or keep one row a person and remove the column {column}",
        )
    return _Sessions(column, _mapped(file.table[column], matches[column]))


def _without_missing(table: pd.DataFrame, rule: MissingRule) -> pd.DataFrame:
    return table.apply(lambda column: column.mask(rule.missing_in(column), ""))


def _labelled(file: PeopleFile, table: pd.DataFrame, labels: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """The table with names for codes; every code of a column that has names must have one."""
    for name, of_codes in labels.items():
        if name not in table:
            continue
        label_of = {
            value: next((label for code, label in of_codes.items() if _is_same(code, value)), None)
            for value in table[name].unique()
            if value
        }
        if unknown := sorted(value for value, label in label_of.items() if label is None):
            raise ConfigError(
                f"values of {name} in {file.path} have no label",
                expected=f"a label for each value of {name}",
                found=f"none for {listed(unknown, NUM_EXAMPLES)}",
                remedy=f"name them in --value_labels {name}:..., or say with --missing that they are missing",
            )
        table = table.assign(**{name: table[name].map(label_of | {"": ""})})
    return table


@dataclass(frozen=True, eq=False)
class _Rows:
    """Whose rows are used, and where they are in the table."""

    keys: tuple[Recorded, ...]
    positions: tuple[int, ...]


def _rows(table: pd.DataFrame, who: _Owners, when: _Sessions) -> tuple[_Rows, frozenset[Recorded], int]:
    """The rows that count, who has several that differ, and how many rows are there again."""
    keys = pd.DataFrame({"\0subject": who.subjects.to_numpy(), "\0session": when.sessions.to_numpy()})
    of_recorded = keys.notna().all(axis=1).to_numpy()
    everything = pd.concat([keys, table.reset_index(drop=True)], axis=1)
    again = everything.duplicated().to_numpy() & of_recorded
    kept = keys[of_recorded & ~again]
    twice = kept.duplicated(keep=False).to_numpy()
    contradictory = frozenset(map(tuple, kept[twice].itertuples(index=False)))
    single = kept[~twice]
    found = tuple((str(subject), str(session)) for subject, session in single.itertuples(index=False))
    return _Rows(found, tuple(single.index.tolist())), contradictory, int(again.sum())


def _notes_on_rows(file: PeopleFile, recorded: Sequence[Recorded], known: set[Recorded], num_equal: int) -> list[str]:
    """Which of the ``recorded`` sessions have no line, and how many lines are there again."""
    notes = []
    if num_equal:
        notes.append(f"{file.name}: {num_equal} lines are there more than once, equal, and count once")
    if without := [recording_name(*key) for key in recorded if key not in known]:
        notes.append(f"{len(without)} sessions have no line in {file.name}: {listed(without, NUM_EXAMPLES)}")
    return notes


def _notes_on_columns(file: PeopleFile, table: pd.DataFrame, left_out: Sequence[str], site: str) -> list[str]:
    notes = [f"{file.name}: {site} is the site of the recordings"] if site not in ("", "site") else []
    if left_out:
        notes.append(
            f"{file.name}: columns called like those that a store has of its own were left out: "
            f"{listed(left_out, NUM_EXAMPLES)}"
        )
    if commas := [str(name) for name in table if has_decimal_commas(table[name][table[name] != ""])]:
        notes.append(f"{file.name}: decimal commas were read in {listed(commas, NUM_EXAMPLES)}")
    return notes


def _matching_columns(file: PeopleFile, subjects: set[str]) -> dict[str, int]:
    """How many of the subjects each column would match."""
    found = {str(name): len(match_ids(subjects, file.table[name]).ids) for name in file.table}
    return {name: number for name, number in sorted(found.items(), key=lambda item: -item[1]) if number}


def _no_subjects(file: PeopleFile, subjects: set[str]) -> DataError:
    counts = _matching_columns(file, subjects)
    unnamed = {number: len(match_ids(subjects, values).ids) for number, values in file.unnamed.items()}
    likely = next(iter(counts), "")
    remedy = f"say which column it is, such as --id_column {likely or 'SUB_ID'}"
    if not likely and any(unnamed.values()):
        position = max(unnamed, key=lambda number: unnamed[number])
        remedy = f"give column {position}, which has no name, the name participant_id"
    would = ", ".join(f"{name} would match {number}" for name, number in list(counts.items())[:NUM_EXAMPLES])
    columns = listed([str(name) for name in file.table], 20)
    return DataError(
        f"the table {file.path} has no column of subjects",
        expected="a column participant_id, subject, SUB_ID, src_subject_id, eid or ID",
        found=f"columns {columns}; "
        + (f"{would} of {len(subjects)} subjects" if would else "none matches a recording"),
        remedy=remedy,
    )


def _nobody(file: PeopleFile, subjects: set[str], column: str) -> DataError:
    """Nobody of the table has been recorded: examples of both sides, and the rule that would match."""
    others = _matching_columns(file, subjects)
    inside = _inside(subjects, file.table[column])
    ids = sorted(set(file.table[column]) - {""})
    if others:
        name, number = next(iter(others.items()))
        remedy = f"--id_column {name} would match {number}"
    elif inside:
        name, part, number = inside
        remedy = (
            f"the subject is only a part of the name: a --pattern whose (?P<subject>...) takes {part} of {name} would "
            f"match {number}"
        )
    else:
        remedy = "give the column with the recordings' subjects (--id_column), or name them in files and table alike"
    return DataError(
        f"0 of {len(subjects)} subjects with recordings are in {file.path}",
        expected=f"subjects of the recordings, such as {listed(sorted(subjects), NUM_EXAMPLES)}",
        found=f"{listed(ids, NUM_EXAMPLES) or 'nobody'} in the column {column}",
        remedy=remedy,
    )


def pattern_for(files: Sequence[PeopleFile], stems: Iterable[str]) -> str:
    """A ``--pattern`` that takes the subjects of the tables out of file names; "" where there is none."""
    names = set(stems)
    found = [inside for file in files for column in file.table if (inside := _inside(names, file.table[column]))]
    if not found:
        return ""
    name, part, _ = max(found, key=lambda inside: inside[2])
    behind = name.partition(part)[2]
    kind = r"\d+" if part.isdigit() else "[A-Za-z0-9]+"
    return f"(?P<subject>{kind}){re.escape(behind[:5])}"


def _inside(subjects: set[str], ids: Iterable[str]) -> tuple[str, str, int] | None:
    """A recorded name, the part of it that is an id of the table, and in how many that part is one."""
    listed_ids = list(ids)
    parts = {name: re.split(r"[^0-9A-Za-z]+", name.removeprefix("sub-")) for name in sorted(subjects)}
    best: dict[str, str] = {}
    longest = max(map(len, parts.values()), default=0)
    for place in (*range(longest), *range(-longest, 0)):
        of_place = {words[place]: name for name, words in parts.items() if -len(words) <= place < len(words)}
        found = match_ids(of_place, listed_ids).ids
        if len(found) > len(best):
            best = {of_place[part]: part for part in found}
    return (*next(iter(best.items())), len(best)) if best else None


def sessions_of(roots: Iterable[Path], subjects: Iterable[str]) -> tuple[PeopleFile | None, dict[str, DataError]]:
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
    where = ", ".join(str(root / "sub-*_sessions.tsv") for root in folders)
    return PeopleFile(where, pd.DataFrame(lines, dtype=object).fillna(""), is_given=False), unusable


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
