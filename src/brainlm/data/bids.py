"""Whose recording a file is: entities in its name, the participants table, the repetition time in its sidecars.

The signal itself is read in ``read.py``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from brainlm.data.recording import Phenotype
from brainlm.data.repetition import agreed_tr, seconds
from brainlm.errors import ConfigError, DataError

ENTITIES = {"sub": "subject", "ses": "session", "task": "task", "run": "run"}
IN_RUN_LABEL = ("acq", "ce", "dir")  # entities that tell acquisitions apart, for which a recording has no column
GROUPS = (*ENTITIES.values(), "site")
# BIDS; then as spreadsheets, ConnectomeDB and UK Biobank call them.
SUBJECT_COLUMNS = ("participant_id", "subject", "subject_id", "Subject", "eid")
MISSING_VALUES = frozenset({"", "n/a", "N/A", "NA", "NaN", "nan", "null"})


@dataclass(frozen=True)
class Entities:
    """What a file's name says about its recording; what it does not say is empty."""

    subject: str
    session: str = ""
    task: str = ""
    run: str = ""
    site: str = ""


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The regular expression of ``--pattern``, whose named groups say what is where in a path.

    Raises:
        ConfigError: it is no regular expression, or its groups are not those of ``GROUPS``.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            f"the pattern {pattern!r} is not a regular expression", found=str(error), remedy="correct --pattern"
        ) from error
    unknown = set(compiled.groupindex) - set(GROUPS)
    if unknown or "subject" not in compiled.groupindex:
        raise ConfigError(
            f"the pattern {pattern!r} does not say what is where",
            expected=f"named groups: subject, and any of {', '.join(GROUPS[1:])}",
            found=", ".join(compiled.groupindex) or "no named group",
            remedy=r"name the groups, such as (?P<subject>\d+)_(?P<run>\d+)",
        )
    return compiled


def entities_of(path: Path, pattern: re.Pattern[str] | None = None) -> Entities:
    """The entities in a file's name (``sub-01_ses-1_task-rest_run-02_...``), or what ``pattern`` finds in its path.

    Raises:
        DataError: no subject there.
    """
    if pattern is not None:
        match = pattern.search(path.as_posix())
        values = {name: value or "" for name, value in match.groupdict().items()} if match else {}
    else:
        named = dict(key_values(path.name))
        values = {name: named.get(key, "") for key, name in ENTITIES.items()} | {"run": run_label(named)}
    subject = values.pop("subject", "")
    if not subject:
        raise DataError(
            f"{path}: whose recording this is cannot be told from its name",
            expected="a name such as sub-01_ses-1_task-rest_run-02_timeseries.tsv"
            if pattern is None
            else f"a path that matches {pattern.pattern!r}",
            found=path.name if pattern is None else path.as_posix(),
            remedy="rename it, or say what is where with --pattern; where each file is a person of its own: --pattern "
            rf"'(?P<subject>[^/]+){re.escape(path.suffix)}$'",
        )
    return Entities(subject_id(subject), **values)


def subject_id(text: str) -> str:
    """The subject as stored: with ``sub-`` in front, so that ``01`` stays text wherever it is written."""
    return f"sub-{text.strip().removeprefix('sub-')}"


def run_label(entities: Mapping[str, str]) -> str:
    """The run, with whatever else tells acquisitions apart in front: ``dirAP1`` for ``dir-AP_run-1``.

    What a file's recording is called depends on its own name only, never on which other files are there. Other entities
    (rec, space, res, den, desc) tell versions of one recording apart, of which one is read.
    """
    parts = [f"{key}{entities[key]}" for key in IN_RUN_LABEL if entities.get(key)]
    return "".join(parts) + entities.get("run", "")


def part_of_image(entities: Mapping[str, str]) -> str:
    """What a file is if it is only a part of a run's signal, a single echo or a phase; "" if it is all of it."""
    if entities.get("echo"):
        return f"a single echo (echo-{entities['echo']})"
    part = entities.get("part", "mag")
    return "" if part == "mag" else f"part-{part} alone"


def key_values(name: str) -> list[tuple[str, str]]:
    """The ``key-value`` pairs of a BIDS-like name."""
    stem = name.split(".", 1)[0]
    return [(part.split("-", 1)[0], part.split("-", 1)[1]) for part in stem.split("_") if "-" in part]


@dataclass(frozen=True, eq=False)
class Participants:
    """The participants table, by subject.

    ``contradictory`` holds the subjects who are there more than once with different values: nothing is known of them.
    """

    phenotypes: Mapping[str, Mapping[str, Phenotype]] = field(default_factory=dict)
    site: Mapping[str, str] = field(default_factory=dict)
    tr_s: Mapping[str, float] = field(default_factory=dict)
    contradictory: frozenset[str] = frozenset()
    columns: tuple[str, ...] = ()
    path: str = ""

    @classmethod
    def read(cls, path: str | Path) -> Participants:
        """The table in ``path``: tab separated, or comma separated if it ends in ``.csv``.

        The columns ``site`` and ``tr`` (s) become the recordings' own; every other column is a phenotype: a number
        where all its values are numbers, else text.

        Raises:
            DataError: no such file, not UTF-8, no column of subjects, or a ``tr`` that is no number.
        """
        path = Path(path)
        table = read_people_table(path)
        table.index = pd.Index([subject_id(text) for text in table.pop(subject_column(table, path))])
        table = table[~table.reset_index().duplicated().to_numpy()]
        contradictory = frozenset(table.index[table.index.duplicated()])
        table = table[~table.index.isin(contradictory)]
        subjects = [str(subject) for subject in table.index]
        sites = dict(zip(subjects, table.pop("site"), strict=True)) if "site" in table else {}
        repetition_times = dict(zip(subjects, table.pop("tr"), strict=True)) if "tr" in table else {}
        columns = {str(name): typed(table[name]) for name in table}
        return cls(
            phenotypes={
                subject: {name: values[row] for name, values in columns.items()} for row, subject in enumerate(subjects)
            },
            site={subject: site for subject, site in sites.items() if site not in MISSING_VALUES},
            tr_s={
                subject: seconds(tr, f"{path}, participant {subject}")
                for subject, tr in repetition_times.items()
                if tr not in MISSING_VALUES
            },
            contradictory=contradictory,
            columns=tuple(columns),
            path=str(path),
        )

    def site_of(self, subject: str, *, said: str, origin: str) -> str:
        """The subject's site: the table's, or what is ``said`` elsewhere where the table has none.

        Raises:
            DataError: the subject has contradicting lines, or another site than said; the message names ``origin``.
        """
        if subject in self.contradictory:
            raise DataError(
                f"{origin}: its participant is in the table more than once, with different values",
                expected=f"one line for {subject} in {self.path}",
                found="several that differ",
                remedy="remove all but the right one",
            )
        site = self.site.get(subject, "")
        if site and said and site != said:
            raise DataError(
                f"{origin}: two sources contradict each other about the site",
                expected="one value",
                found=f"{said} in the path, {site} in {self.path}",
                remedy="correct the one that is wrong",
            )
        return site or said


def read_people_table(path: Path, what: str = "participants table", option: str = "--participants") -> pd.DataFrame:
    """A table about people, all as text; ``what`` it is and the ``option`` that gave it are for messages.

    Raises:
        DataError: no such file, not UTF-8, or no table.
    """
    if not path.is_file():
        raise DataError(f"no {what} at {path}", remedy=f"correct {option}")
    try:
        # Text throughout, so that a subject called 007 stays one.
        table = pd.read_csv(
            path,
            sep="," if path.suffix.lower() == ".csv" else "\t",
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
            skipinitialspace=True,
        )
    except UnicodeDecodeError as error:
        raise DataError(
            f"the {what} {path} is not in UTF-8",
            expected="text in UTF-8, with or without a byte-order mark",
            found=f"{error.reason} at byte {error.start + 1}",
            remedy="save it as UTF-8 (in a spreadsheet program: 'CSV UTF-8' or 'Unicode UTF-8')",
        ) from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(
            f"the {what} {path} cannot be read",
            expected="a header and a line a participant, tab separated (comma separated in a .csv)",
            found=str(error),
            remedy="repair the table",
        ) from error
    # A cell may be NaN only where a line is shorter than the header.
    return table.fillna("").apply(lambda column: column.str.strip())


def subject_column(table: pd.DataFrame, path: Path, what: str = "participants table") -> str:
    """The name of the column that says whom a line is about.

    Raises:
        DataError: there is none.
    """
    for name in SUBJECT_COLUMNS:
        if name in table:
            return name
    raise DataError(
        f"the {what} {path} has no column of subjects",
        expected=f"a column {' or '.join(SUBJECT_COLUMNS)}",
        found=f"columns {', '.join(map(str, table.columns))}",
        remedy="rename the column of subjects to participant_id (and separate columns by tabs)",
    )


def typed(column: pd.Series) -> list[Phenotype]:
    """The column's values, as numbers if all that are there are finite numbers; None where missing."""
    present = column[~column.isin(MISSING_VALUES)]
    numbers = pd.to_numeric(present, errors="coerce")
    numeric = numbers.notna().all() and not numbers.isin([math.inf, -math.inf]).any()
    return [None if text in MISSING_VALUES else float(text) if numeric else text for text in column]


def repetition_time(
    path: Path, entities: Entities, *, tr: float | None, participants: Participants, sidecars: Sidecars
) -> float:
    """The recording's TR in seconds, from the argument, the file's sidecar or the participants table.

    Raises:
        DataError: as ``agreed_tr``.
    """
    sources: dict[str, float] = {}
    if tr is not None:
        sources["--tr"] = tr
    sidecar = sidecars.find(path)
    if sidecar is not None:
        sources[str(sidecar)] = seconds(sidecars.content(sidecar)["RepetitionTime"], str(sidecar))
    if entities.subject in participants.tr_s:
        sources[participants.path] = participants.tr_s[entities.subject]
    return agreed_tr(
        str(path), sources, expected="--tr, a column tr in the participants table, or RepetitionTime in a JSON sidecar"
    )


class Sidecars:
    """The JSON files beside and above the tables; each is looked for and read once."""

    def __init__(self) -> None:
        self._inherited: dict[Path, list[Path]] = {}
        self._contents: dict[Path, Mapping[str, object]] = {}

    def find(self, path: Path) -> Path | None:
        """The file that gives a table's RepetitionTime: of the same name, or the nearest inherited ``*_bold.json``.

        As in BIDS, a ``*_bold.json`` in the table's folder or one above applies when the table's name has all its
        entities. The search ends at the folder with ``dataset_description.json``, or three folders up
        (dataset/subject/session/func).
        """
        own = set(key_values(path.name))
        candidates = [path.with_name(path.name.split(".", 1)[0] + ".json")]
        for folder in (path.parent, *path.parent.parents[:3]):
            applicable = [item for item in self._in_folder(folder) if set(key_values(item.name)) <= own]
            candidates += sorted(applicable, key=lambda item: -len(key_values(item.name)))
            if (folder / "dataset_description.json").is_file():
                break
        return next((item for item in candidates if "RepetitionTime" in self.content(item)), None)

    def content(self, path: Path) -> Mapping[str, object]:
        """The file's entries; none if there is no such file.

        Raises:
            DataError: it is not JSON.
        """
        if path not in self._contents:
            self._contents[path] = read_json(path) if path.is_file() else {}
        return self._contents[path]

    def _in_folder(self, folder: Path) -> list[Path]:
        if folder not in self._inherited:
            self._inherited[folder] = sorted({*folder.glob("bold.json"), *folder.glob("*_bold.json")})
        return self._inherited[folder]


def read_json(path: Path, what: str = "sidecar") -> Mapping[str, object]:
    """The entries of a JSON file; none if it holds something else than entries.

    Raises:
        DataError: it is not JSON.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"the {what} {path} cannot be read", expected="JSON", found=str(error), remedy="repair the file"
        ) from error
    return content if isinstance(content, dict) else {}
