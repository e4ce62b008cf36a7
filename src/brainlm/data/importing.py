"""Parcel signals in tables or in others' Arrow data, found and described -> one store: what `brainlm import` does.

Bad inputs are collected, the good ones stored. One table is read in ``read.py``, names and tables about people in
``bids.py``, Arrow data in ``sources/arrow_plan.py``; ``planned.py`` writes the store.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from brainlm.data.bids import Participants, Sidecars, compile_pattern, entities_of, repetition_time
from brainlm.data.joining import ImportPlan, with_participant
from brainlm.data.layouts.walking import matching
from brainlm.data.parcels import Parcels
from brainlm.data.people import notes_on_subjects
from brainlm.data.planned import ImportSummary, PlannedRecording, Progress, failure_of, listed, write_store
from brainlm.data.read import TABLE_SUFFIXES, Orientation, Signal, read_table
from brainlm.data.repetition import seconds
from brainlm.data.shards import StoredType
from brainlm.data.sources.arrow_files import find_arrow_files
from brainlm.data.sources.arrow_plan import ArrowOptions, plan_arrow
from brainlm.data.splits import SplitRule
from brainlm.errors import ConfigError, DataError, Failure

# Tables of a BIDS folder that hold no parcel signals, the authors' coordinates, and texts that are no tables.
NO_SIGNALS = re.compile(
    r"^(participants|parcels|README|CHANGES|LICENSE|A424_Coordinates)\b"
    r"|_(events|channels|scans|sessions|physio|stim|motion|outliers|dseg|confounds|regressors)\b"
    r"|confounds_timeseries",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Input:
    path: Path
    name: str  # as recorded in the store: below the folder given, so that a store does not depend on where that is


def import_recordings(
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    parcels: Parcels,
    atlas: str,
    participants: str | Path | None = None,
    tr: float | None = None,
    pattern: str | None = None,
    split: SplitRule | None = None,
    dtype: StoredType = "float32",
    orientation: Orientation = "auto",
    drop_columns: Sequence[str] = (),
    ignore_header: bool = False,
    column: str | None = None,
    targets: Sequence[str | Path] = (),
    atlas_image: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ImportSummary:
    """Read parcel signals and write them as the store ``out``.

    Args:
        inputs: folders (searched below, too), files, or patterns such as ``data/sub-*.tsv``. Where Arrow data are among
            them (the BrainLM authors', Brainmarks'), these are read, and tables are passed over.
        out: the store's folder.
        parcels: the table of the parcels; it decides how files are read.
        atlas: the atlas's name, kept in the store.
        participants: table with a row a participant; its columns become phenotypes.
        tr: repetition time in seconds, when neither the table nor sidecars have it.
        pattern: regular expression with the named groups subject, session, task, run, site, for names that are not
            BIDS-like; in Arrow data, for the file names in there.
        split: how subjects are divided.
        dtype: stored type.
        orientation: which axis of the tables comes first.
        drop_columns: columns of the tables that are no parcels.
        ignore_header: trust the order of the columns whatever the headers call them.
        column: the column of Arrow data with the recordings; by default the raw one.
        targets: JSON files of values by subject, or folders of such files, whose values become phenotypes of Arrow
            data; by default those in ``targets`` beside a data set of Brainmarks.
        atlas_image: label image to keep in the store, for brain maps.
        overwrite: replace a store that is there.
        progress: called after each recording.

    Raises:
        DataError: no input could be used, the participants table cannot be read, or the store cannot be written.
            Anything wrong with one input is a failure in the summary instead.
        ConfigError: an option has no meaning for this kind of input.
    """
    compiled = compile_pattern(pattern) if pattern else None
    tr = None if tr is None else seconds(tr, "--tr")
    people = Participants.read(participants) if participants is not None else Participants()
    paths = [path for given in map(Path, inputs) for path in matching(given)]
    arrow = find_arrow_files(paths)
    if arrow.any:
        _refuse_options({"--drop-columns": drop_columns, "--ignore-header": ignore_header}, "Arrow data")
    else:
        _refuse_options({"--column": column, "--targets": targets}, "tables")
    if arrow.any:
        options = ArrowOptions(
            num_parcels=len(parcels),
            column=column,
            orientation=orientation,
            tr=tr,
            pattern=compiled,
            targets=targets,
            split_is_given=split is not None,
        )
        plan = plan_arrow(arrow, people, options)
        plan = replace(plan, notes=[*plan.notes, *_notes_on_tables(paths, but=participants)])
    else:
        read = partial(
            read_table,
            parcels=parcels,
            orientation=orientation,
            drop_columns=drop_columns,
            ignore_header=ignore_header,
        )
        plan = _plan_tables(inputs, read, people, pattern=compiled, tr=tr, but=participants)
    return write_store(
        out,
        plan.planned,
        parcels=parcels,
        atlas=atlas,
        phenotypes=plan.phenotypes,
        split=split or plan.split,
        dtype=dtype,
        source=plan.source,
        failures=plan.failures,
        notes=plan.notes,
        atlas_image=atlas_image,
        overwrite=overwrite,
        progress=progress,
    )


def _refuse_options(options: Mapping[str, object], kind: str) -> None:
    for name, value in options.items():
        if value:
            raise ConfigError(
                f"{name} has no meaning for {kind}",
                expected="options for the kind of data that the source is",
                found=f"{kind}",
                remedy=f"leave out {name}, or give the folder of the other data alone",
            )


def _plan_tables(
    inputs: Sequence[str | Path],
    read: Callable[..., Signal],
    people: Participants,
    *,
    pattern: re.Pattern[str] | None,
    tr: float | None,
    but: str | Path | None,
) -> ImportPlan:
    found, skipped = _find_inputs(inputs, but=but)
    sidecars = Sidecars()
    planned: list[PlannedRecording] = []
    failures: list[Failure] = []
    for item in found:
        try:
            planned.append(_plan(item, partial(read, item.path), people, pattern, tr, sidecars))
        except DataError as error:
            failures.append(failure_of(str(item.path), error))
    notes = notes_on_subjects({plan.subject for plan in planned}, people) if but is not None else []
    if skipped:
        notes.append(f"{len(skipped)} files hold no parcel signals and were passed over: {listed(skipped)}")
    return ImportPlan(planned, phenotypes=people.columns, failures=failures, notes=notes)


def _find_inputs(inputs: Sequence[str | Path], *, but: str | Path | None) -> tuple[list[_Input], list[str]]:
    """The tables among the inputs, sorted, each once; and the names of files in folders that hold no signals."""
    found: dict[Path, _Input] = {}
    skipped: list[str] = []
    for given in map(Path, inputs):
        if given.is_dir():
            tables, others = _tables_below(given, but=but)
            skipped += others
            for table in tables:
                found.setdefault(table.path.resolve(), table)
            continue
        matches = [path for path in matching(given) if path.is_file()]
        if not matches:
            raise DataError(
                f"no input at {given}",
                expected="a folder, a file, or a pattern that matches files",
                found="nothing there",
                remedy="correct the path",
            )
        for path in matches:
            found.setdefault(path.resolve(), _Input(path, path.as_posix()))
    if not found:
        raise DataError(
            f"no tables in {', '.join(map(str, inputs))}",
            expected=f"files that end in {' '.join(TABLE_SUFFIXES)}, or a data set of *.arrow files",
            found=f"none that could hold parcel signals; passed over: {listed(skipped) or 'none'}",
            remedy="give the folder with the parcellated time series",
        )
    return sorted(found.values(), key=lambda item: item.name), skipped


def _tables_below(folder: Path, *, but: str | Path | None) -> tuple[list[_Input], list[str]]:
    """The tables in a folder and below, and the names of those that hold no signals; hidden files are not seen."""
    tables, others = [], []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if hidden or path.suffix.lower() not in TABLE_SUFFIXES or not path.is_file():
            continue
        if NO_SIGNALS.search(path.name) or (but is not None and path.samefile(but)):
            others.append(name.as_posix())
        else:
            tables.append(_Input(path, name.as_posix()))
    return tables, others


def _notes_on_tables(paths: Sequence[Path], *, but: str | Path | None) -> list[str]:
    """What is not imported because Arrow data are."""
    tables = [table.name for path in paths if path.is_dir() for table in _tables_below(path, but=but)[0]]
    tables += [path.name for path in paths if path.is_file() and path.suffix.lower() in TABLE_SUFFIXES]
    return [f"{len(tables)} tables beside Arrow data were passed over: {listed(tables)}"] if tables else []


def _plan(
    item: _Input,
    load: Callable[[], Signal],
    people: Participants,
    pattern: re.Pattern[str] | None,
    tr: float | None,
    sidecars: Sidecars,
) -> PlannedRecording:
    """What is known of a file's recording before it is read."""
    entities = entities_of(item.path, pattern)
    plan = PlannedRecording(
        load,
        entities.subject,
        repetition_time(item.path, entities, tr=tr, participants=people, sidecars=sidecars),
        session=entities.session,
        task=entities.task,
        run=entities.run,
        site=entities.site,
        source=item.name,
        path=str(item.path),
    )
    return with_participant(plan, people)
