"""Parcel signals in tables or in others' Arrow data, found and described -> one store: what `brainlm import` does.

Bad inputs are collected, the good ones stored. One table is read in ``read.py``, names and tables about people in
``bids.py`` and ``people.py``, Arrow data in ``sources/arrow_plan.py``; ``planned.py`` writes the store.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pandas as pd

from brainlm.data.bids import (
    Entities,
    Sidecars,
    compile_pattern,
    entities_of,
    key_values,
    part_of_image,
    repetition_time,
)
from brainlm.data.layouts.bids import atlas_of, rank_of, why_only_parts
from brainlm.data.layouts.candidates import same_atlas
from brainlm.data.layouts.walking import Folder, Walker, check_file, matching
from brainlm.data.parcels import Parcels
from brainlm.data.people import NO_RULES, People, PeopleRules, pattern_for
from brainlm.data.people_files import PeopleFile, read_people_files
from brainlm.data.planned import ImportPlan, ImportSummary, PlannedRecording, Progress, failure_of, listed, write_store
from brainlm.data.read import TABLE_SUFFIXES, Orientation, Signal, read_raw, read_table
from brainlm.data.recording import recording_name
from brainlm.data.repetition import seconds
from brainlm.data.shards import StoredType
from brainlm.data.shipped_atlases import Candidate, candidates
from brainlm.data.sources.arrow_files import find_arrow_files
from brainlm.data.sources.arrow_plan import ArrowOptions, plan_arrow
from brainlm.data.splits import SplitRule
from brainlm.data.table_names import Header, Index
from brainlm.errors import ConfigError, DataError, Failure

# Tables that hold no parcel signals, by what they are: those of XCP-D, DPABI and others beside time series, those of a
# BIDS folder, the authors' coordinates, and texts that are no tables.
NO_SIGNALS: Mapping[str, re.Pattern[str]] = {
    "connectivity matrices": re.compile(
        r"_(relmat|conmat|connectome|connectivity)\b|_(stat|measure)-\w*correlation|^ROICorrelation_", re.IGNORECASE
    ),
    "ALFF and ReHo tables": re.compile(r"_stat-(alff|reho)_|_(alff|reho)\.", re.IGNORECASE),
    "coverage tables": re.compile(r"_stat-coverage_|_coverage\.", re.IGNORECASE),
    "tables of quality and motion": re.compile(
        r"_(qc|motion|outliers|confounds|regressors)\b|confounds_timeseries", re.I
    ),
    "other tables": re.compile(
        r"^(participants|parcels|README|CHANGES|LICENSE|A424_Coordinates|ROI_OrderKey\w*)\b"
        r"|_(events|channels|scans|sessions|physio|stim|dseg|design)\b",
        re.IGNORECASE,
    ),
}


# Kinds of tables that are not read, but not passed over in silence.
OTHER_KINDS = re.compile(r"\.((tsv|csv|txt|1d|dat)\.gz|xlsx?|ods|h5|hdf5|parquet|pkl|[pd]tseries\.nii)$", re.IGNORECASE)


@dataclass(frozen=True)
class _Input:
    path: Path
    name: str  # as recorded in the store: below the folder given, so that a store does not depend on where that is


@dataclass(eq=False)
class _Inputs:
    """What there is to read; what holds no signals, by kind; and what cannot be read."""

    tables: dict[Path, _Input] = field(default_factory=dict)
    passed_over: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    failures: list[Failure] = field(default_factory=list)

    @property
    def described(self) -> str:
        """What was passed over, by kind."""
        return "; ".join(f"{len(names)} {kind}: {listed(names, 5)}" for kind, names in self.passed_over.items())


def import_recordings(
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    parcels: Parcels,
    atlas: str,
    participants: str | Path | Sequence[str | Path] | None = None,
    people_rules: PeopleRules = NO_RULES,
    tr: float | None = None,
    pattern: str | None = None,
    split: SplitRule | None = None,
    dtype: StoredType = "float32",
    orientation: Orientation = "auto",
    drop_columns: Sequence[str] = (),
    ignore_header: bool = False,
    header: Header = "auto",
    index: Index = "auto",
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
        participants: a table or several, with a row a participant, or a session; their columns become phenotypes.
        people_rules: which column has the subjects, which values are missing, what codes mean.
        tr: repetition time in seconds, when neither the table nor sidecars have it.
        pattern: regular expression with the named groups subject, session, task, run, site, for names that are not
            BIDS-like; in Arrow data, for the file names in there.
        split: how subjects are divided.
        dtype: stored type.
        orientation: which axis of the tables comes first.
        drop_columns: columns of the tables that are no parcels.
        ignore_header: trust the order of the parcels whatever the tables call them.
        header: whether the first line of tables names columns; ``"auto"`` finds out.
        index: whether the first column of tables names or counts rows; ``"auto"`` finds out.
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
    tables = read_people_files(participants)
    paths = [path for given in map(Path, inputs) for path in matching(given)]
    arrow = find_arrow_files(paths)
    if arrow.any:
        given = {"--drop_columns": drop_columns, "--ignore_header": ignore_header}
        given |= {"--header": header != "auto", "--index": index != "auto"}
        _refuse_options(given, "Arrow data")
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
        plan = plan_arrow(arrow, tables, people_rules, options)
        plan = replace(plan, notes=[*plan.notes, *_notes_on_tables(paths, but=[table.path for table in tables])])
    else:
        read = partial(
            read_table,
            parcels=parcels,
            orientation=orientation,
            drop_columns=drop_columns,
            ignore_header=ignore_header,
            header=header,
            index=index,
        )
        plan = _plan_tables(inputs, read, tables, people_rules, pattern=compiled, tr=tr, atlas=atlas)
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
    tables: Sequence[PeopleFile],
    rules: PeopleRules,
    *,
    pattern: re.Pattern[str] | None,
    tr: float | None,
    atlas: str,
) -> ImportPlan:
    found = _find_inputs(inputs, but=[table.path for table in tables])
    failures = list(found.failures)
    named: list[tuple[_Input, Entities]] = []
    parts: dict[str, list[_Input]] = defaultdict(list)  # single echoes, by recording
    items = sorted(found.tables.values(), key=lambda item: item.name)
    for item in items:
        try:
            whose = entities_of(item.path, pattern)
            if pattern is None and part_of_image(dict(key_values(item.path.name))):
                parts[recording_name(whose.subject, whose.session, whose.task, whose.run)].append(item)
            else:
                named.append((item, whose))
        except DataError as error:
            failures.append(failure_of(str(item.path), error))
    if not named and not parts and (likely := pattern_for(tables, [item.path.name.split(".", 1)[0] for item in items])):
        raise DataError(
            "whose recordings the files are cannot be told from their names",
            expected="names such as sub-01_task-rest_timeseries.tsv, or a --pattern",
            found=f"{len(items)} others, such as {items[0].path}",
            remedy=f"--pattern '{likely}' would take subjects of {listed([table.name for table in tables])} from them",
        )
    people = People.join(tables, [(whose.subject, whose.session) for _, whose in named], rules)
    sidecars = Sidecars()
    planned: list[PlannedRecording] = []
    for item, whose in named:
        try:
            planned.append(_plan(item, whose, partial(read, item.path), people, tr, sidecars, atlas=atlas))
        except DataError as error:
            failures.append(failure_of(str(item.path), error))
    for plan in planned:
        if plan.name in parts:
            found.passed_over["single echoes or phases"] += [item.name for item in parts.pop(plan.name)]
    for echoes in parts.values():
        said = [part_of_image(dict(key_values(item.path.name))) for item in echoes]
        failures.append(Failure(str(echoes[0].path), *why_only_parts(said)))
    notes = list(people.notes)
    num_skipped = sum(map(len, found.passed_over.values()))
    if num_skipped:
        notes.append(f"{num_skipped} files hold no parcel signals and were passed over: {found.described}")
    return ImportPlan(planned, phenotypes=people.columns, failures=failures, notes=notes)


def _find_inputs(inputs: Sequence[str | Path], *, but: Sequence[str]) -> _Inputs:
    """The tables among the inputs, each once; folders are searched, those that a pattern matches, too."""
    found = _Inputs()
    parents: dict[Path, Folder] = {}
    for given in map(Path, inputs):
        matches = matching(given)
        if not matches:
            raise DataError(
                f"no input at {given}",
                expected="a folder, a file, or a pattern that matches files",
                found="nothing there",
                remedy="correct the path",
            )
        for path in matches:
            if path.is_dir() and path.suffix.lower() not in TABLE_SUFFIXES:
                _search(path, found, prefix="" if path == given else f"{path.as_posix()}/", but=but)
            elif path.is_dir():
                found.failures.append(_folder_named_as_table(path))
            else:
                parent = parents.setdefault(path.parent, Walker().one(path.parent))
                _take(parent, path.name, path.as_posix(), found)
    if not found.tables and not found.failures:
        raise DataError(
            f"no tables in {', '.join(map(str, inputs))}",
            expected=f"files that end in {' '.join(TABLE_SUFFIXES)}, or a data set of *.arrow files",
            found=f"none that could hold parcel signals; passed over: {found.described or 'none'}",
            remedy="give the folder with the parcellated time series",
        )
    return found


def _search(root: Path, found: _Inputs, *, prefix: str = "", but: Sequence[str]) -> None:
    """Add the tables in a folder and below; hidden files are not seen."""
    walker = Walker()
    for folder in walker.folders(root, lambda *_: True):
        if folder.name and Path(folder.path).suffix.lower() in TABLE_SUFFIXES:
            found.failures.append(_folder_named_as_table(Path(folder.path)))
            continue
        for file in sorted(folder.files):
            path, name = Path(folder.path_of(file)), prefix + folder.name_of(file)
            if path.suffix.lower() not in TABLE_SUFFIXES:
                if OTHER_KINDS.search(file):
                    found.passed_over["files of kinds that are not read here (unpack or convert them)"].append(name)
                continue
            kind = next((kind for kind, known in NO_SIGNALS.items() if known.search(file)), "")
            if kind or (path.exists() and any(path.samefile(other) for other in but)):
                found.passed_over[kind or "other tables"].append(name)
            else:
                _take(folder, file, name, found)
    found.failures += walker.failures


def _take(folder: Folder, file: str, name: str, found: _Inputs) -> None:
    """Add a file, or why it cannot be read."""
    path = Path(folder.path_of(file))
    try:
        check_file(folder, file)
        found.tables.setdefault(path.resolve(), _Input(path, name))
    except DataError as error:
        found.failures.append(failure_of(str(path), error))


def _folder_named_as_table(path: Path) -> Failure:
    return Failure(str(path), "is a folder, though it is called like a table", "rename it, or give what is in it alone")


def _notes_on_tables(paths: Sequence[Path], *, but: Sequence[str]) -> list[str]:
    """What is not imported because Arrow data are."""
    beside = _Inputs()
    for path in paths:
        if path.is_dir():
            _search(path, beside, but=but)
    tables = [item.path.name for item in beside.tables.values()]
    tables += [path.name for path in paths if path.is_file() and path.suffix.lower() in TABLE_SUFFIXES]
    return [f"{len(tables)} tables beside Arrow data were passed over: {listed(tables)}"] if tables else []


def _plan(
    item: _Input,
    entities: Entities,
    load: Callable[[], Signal],
    people: People,
    tr: float | None,
    sidecars: Sidecars,
    *,
    atlas: str,
) -> PlannedRecording:
    """What is known of a file's recording before it is read."""
    named = dict(key_values(item.path.name))
    said = atlas_of(named)
    rank = rank_of("table", space=named.get("space", ""), desc=named.get("desc", ""), entities=named)
    in_tables = people.repetition_times(entities.subject, entities.session)
    plan = PlannedRecording(
        load,
        entities.subject,
        repetition_time(item.path, tr=tr, in_tables=in_tables, sidecars=sidecars),
        session=entities.session,
        task=entities.task,
        run=entities.run,
        site=entities.site,
        source=item.name,
        path=str(item.path),
        rank=(int(not said or not same_atlas(said, atlas)), *rank),
    )
    return people.introduce(plan)


def recognise_atlas(source: str | Path, *, parcels: Parcels | None = None, drop_columns: int = 0) -> list[Candidate]:
    """The atlases whose table comes with the package that the tables of ``source`` may be of; the best first.

    Args:
        source: a folder, a file or a pattern; its first table is looked at.
        parcels: what is known of the parcels: with coordinates, how far the atlas's lie from them is measured.
        drop_columns: how many columns are no parcels.

    Raises:
        DataError: there is no table, or it cannot be read.
        ConfigError: the source holds Arrow data, whose columns say nothing of parcels.
    """
    if find_arrow_files(list(matching(Path(source)))).any:
        raise ConfigError(
            "which atlas Arrow data are of cannot be recognised",
            expected="tables, one a recording, for --atlas auto",
            found=str(source),
            remedy="name the atlas: --atlas A424 for the data of the BrainLM authors",
        )
    found = _find_inputs([source], but=())
    if not found.tables:
        raise DataError(
            f"no table in {source} can be read",
            found=found.failures[0].reason,
            remedy=found.failures[0].remedy,
        )
    path = next(iter(found.tables.values())).path
    raw = read_raw(path, 0, "auto")
    num_rows, num_columns = raw.frame.shape
    first = raw.frame.iloc[:, 0]
    if not pd.api.types.is_numeric_dtype(first):  # names of rows: parcels come first
        return candidates([num_rows], [str(name) for name in first], parcels)
    return candidates([num_columns - drop_columns, num_rows], raw.header, parcels)
