"""Others' Arrow data -> a plan: which rows become which recordings, with which phenotypes and which split.

Files are found in ``arrow_files.py``; ``importing.py`` puts the plan into a store.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from brainlm.data.bids import Entities
from brainlm.data.people import People, PeopleFile, PeopleRules, PeopleTable
from brainlm.data.planned import ImportPlan, PlannedRecording, failure_of, listed
from brainlm.data.read import Orientation, Signal, parcels_come_first, signal_from_values
from brainlm.data.recording import Phenotype
from brainlm.data.repetition import agreed_tr, seconds
from brainlm.data.shards import RESERVED_COLUMNS
from brainlm.data.sources.arrow_columns import (
    MEAN,
    STD,
    SignalColumn,
    is_coordinates,
    list_columns,
    restored,
    scalar_columns,
    scalar_values,
    signal_column,
)
from brainlm.data.sources.arrow_files import ArrowFile, FoundFiles
from brainlm.data.sources.arrow_reading import OpenFiles, open_arrow
from brainlm.data.sources.arrow_rows import NO_PHENOTYPES, TR_COLUMN, ArrowRow, identify, phenotype_of, text_of
from brainlm.data.sources.arrow_split import PART_COLUMN, TheirSplit, their_split
from brainlm.data.sources.target_maps import read_targets, target_files, target_files_beside
from brainlm.errors import DataError, Failure


@dataclass(frozen=True)
class ArrowOptions:
    """What a user may say about Arrow data: see ``import_recordings``."""

    num_parcels: int
    column: str | None = None
    orientation: Orientation = "auto"
    tr: float | None = None
    pattern: re.Pattern[str] | None = None
    targets: Sequence[str | Path] = ()
    split_is_given: bool = False


def plan_arrow(
    found: FoundFiles, tables: Sequence[PeopleFile], rules: PeopleRules, options: ArrowOptions
) -> ImportPlan:
    """The recordings in the rows of the files found.

    Raises:
        DataError: no file holds a signal that could be imported, or two sources give the same phenotype.
    """
    content = _read_rows(found.files, options.column)
    failures = [*found.failures, *content.failures]
    identified = identify(content.rows, options.pattern)
    labels = _labels(content.rows)
    subjects = {entities.subject for _, entities in identified.rows}
    people = People.join(tables, [(entities.subject, entities.session) for _, entities in identified.rows], rules)
    targets = _targets(content.rows, options.targets, taken=(*labels, *people.columns, *RESERVED_COLUMNS))
    targets, notes_on_targets = _of_these(targets, subjects)
    of_targets = People((targets,))
    _refuse_same_names(labels, people)
    parts = sorted({row.file.part for row in content.rows})
    files = OpenFiles()
    planned: list[PlannedRecording] = []
    for row, entities in identified.rows:
        part = {PART_COLUMN: row.file.part} if len(parts) > 1 else {}
        try:
            plan = _plan(row, entities, {**_phenotypes(row, labels), **part}, files, people, options)
            planned.append(of_targets.introduce(people.introduce(plan)))
        except DataError as error:
            failures.append(failure_of(row.origin, error))
    theirs = TheirSplit(planned) if options.split_is_given else their_split(planned, parts)
    columns = sorted({row.signal.name for row in content.rows})
    return ImportPlan(
        theirs.planned,
        phenotypes=[
            *labels,
            *people.columns,
            *targets.columns,
            *([PART_COLUMN] if len(parts) > 1 else []),
        ],
        failures=[*failures, *identified.failures],
        notes=[
            *found.notes,
            *content.notes,
            *_notes_on_signals(content.rows),
            *identified.notes,
            *people.notes,
            *notes_on_targets,
            *theirs.notes,
        ],
        source={"description": f"Arrow data, column {', '.join(columns)}"},
        split=theirs.rule,
    )


@dataclass(frozen=True, eq=False)
class _Content:
    rows: list[ArrowRow]
    failures: list[Failure]
    notes: list[str]


def _read_rows(files: Iterable[ArrowFile], column: str | None) -> _Content:
    """Every row's scalars; the signals stay in their files."""
    content = _Content([], [], [])
    errors: list[DataError] = []
    passed_over: list[str] = []
    for file in files:
        opened = open_arrow(file.path)
        if opened.damage is not None:
            content.failures.append(failure_of(str(file.path), opened.damage))
        if not opened.batches:
            continue
        schema = opened.batches[0].schema
        if not list_columns(schema):
            kind = "coordinates of parcels (for --parcels)" if is_coordinates(schema) else "no recordings"
            content.notes.append(f"{file.name} holds {kind}, and was passed over")
            continue
        try:
            signal = signal_column(schema, column, origin=str(file.path))
        except DataError as error:
            errors.append(error)
            content.failures.append(failure_of(str(file.path), error))
            continue
        names, others = scalar_columns(schema)
        passed_over += [*others, *(set(names) & RESERVED_COLUMNS - NO_PHENOTYPES)]
        content.rows.extend(_rows(file, signal, opened.batches, names))
    if errors and not content.rows:
        raise errors[0]
    if passed_over:
        names = sorted(set(passed_over))
        content.notes.append(f"columns that cannot be phenotypes were passed over: {listed(names)}")
    return content


def _rows(
    file: ArrowFile, signal: SignalColumn, batches: Iterable[pa.RecordBatch], names: Sequence[str]
) -> Iterable[ArrowRow]:
    number = 0
    for batch in batches:
        columns = [scalar_values(batch.column(name)) for name in names]
        for position in range(len(batch)):
            values = {name: column[position] for name, column in zip(names, columns, strict=True)}
            yield ArrowRow(file, number, values, signal)
            number += 1


def _labels(rows: Iterable[ArrowRow]) -> list[str]:
    """The scalar columns that become phenotypes, in the order of the data."""
    names = dict.fromkeys(name for row in rows for name in row.values)
    return [name for name in names if name not in NO_PHENOTYPES | RESERVED_COLUMNS | {PART_COLUMN}]


def _phenotypes(row: ArrowRow, labels: Iterable[str]) -> dict[str, Phenotype]:
    return {name: phenotype_of(row.values.get(name)) for name in labels}


def _targets(rows: Sequence[ArrowRow], given: Sequence[str | Path], *, taken: Sequence[str]) -> PeopleTable:
    """The target maps given, or those beside a data set of Brainmarks."""
    if given:
        return read_targets(target_files(given), taken=taken)
    folders = sorted({row.file.path.parent for row in rows if row.signal.is_restored})
    return read_targets(dict.fromkeys(file for folder in folders for file in target_files_beside(folder)), taken=taken)


def _of_these(targets: PeopleTable, subjects: Iterable[str]) -> tuple[PeopleTable, list[str]]:
    """The maps that have a value for anybody of the subjects, and what the user should know."""
    values = {subject: targets.values.get((subject, ""), {}) for subject in subjects}
    counts = {name: sum(own.get(name) is not None for own in values.values()) for name in targets.columns}
    used = tuple(name for name, number in counts.items() if number)
    unused = [name for name in counts if name not in used]
    notes = []
    if used:
        shown = [f"{name} ({counts[name]})" for name in used]
        notes.append(f"phenotypes from target maps, with the number of people: {listed(shown)}")
    if unused:
        notes.append(f"target maps with none of these people were left out: {listed(unused)}")
    used_values = {(subject, ""): {name: own[name] for name in used if name in own} for subject, own in values.items()}
    return replace(targets, values=used_values, columns=used), notes


def _refuse_same_names(labels: Sequence[str], people: People) -> None:
    if same := sorted(set(labels) & set(people.columns)):
        raise DataError(
            "two sources give the same phenotypes",
            expected="a name of its own for each",
            found=f"{listed(same)} in the data set and in {listed([table.path for table in people.tables])}",
            remedy="rename or remove these columns of the participants table",
        )


def _plan(
    row: ArrowRow,
    entities: Entities,
    phenotypes: dict[str, Phenotype],
    files: OpenFiles,
    people: People,
    options: ArrowOptions,
) -> PlannedRecording:
    sources: dict[str, float] = {} if options.tr is None else {"--tr": options.tr}
    if text_of(row.values.get(TR_COLUMN)):
        sources[f"the column {TR_COLUMN}"] = seconds(row.values[TR_COLUMN], row.origin)
    sources |= people.repetition_times(entities.subject, entities.session)
    expected = "--tr, or a column tr in the data set or the participants table"
    return PlannedRecording(
        partial(_read_signal, files, row, options.num_parcels, options.orientation),
        entities.subject,
        agreed_tr(row.origin, sources, expected=expected),
        session=entities.session,
        task=entities.task,
        run=entities.run,
        site=entities.site,
        source=f"{row.file.name}, row {row.number + 1}" + (f" ({row.file_name})" if row.file_name else ""),
        path=row.origin,
        phenotypes=phenotypes,
    )


def _read_signal(files: OpenFiles, row: ArrowRow, num_parcels: int, orientation: Orientation) -> Signal:
    values = files.array(row.file.path, row.number, row.signal.name)
    if row.signal.is_restored:
        orientation = "time-first"  # as its mean and deviation say
    transposed = parcels_come_first(
        values.shape,
        num_parcels,
        # Rows lie both ways in one data set: the number of parcels decides, and the option only where it cannot.
        orientation if len(set(values.shape)) == 1 else "auto",
        what=f"{row.origin}, {row.signal.name},",
        remedy="give the atlas or parcels table that these recordings were made with",
    )
    if row.signal.is_restored:
        mean, std = (files.array(row.file.path, row.number, name) for name in (MEAN, STD))
        values = restored(values, mean, std, origin=row.origin)
    signal = signal_from_values(values.T if transposed else values, source=row.origin)
    return replace(signal, transposed=transposed)


def _notes_on_signals(rows: Sequence[ArrowRow]) -> list[str]:
    notes = []
    if scaled := sorted({row.signal.name for row in rows if row.signal.is_scaled}):
        notes.append(
            f"the column {listed(scaled)} was scaled by its makers: the scaling of pretraining comes on top of that "
            "(--training.scaler none leaves it as it is)"
        )
    if any(row.signal.is_restored for row in rows):
        notes.append(f"z-scores were made signals again: bold x {STD} + {MEAN}")
    return notes
