"""Tables of parcel signals, found and described -> one store: what `brainlm import` does.

Bad inputs are collected, the good ones stored. One file is read in ``read.py``, names and tables about people in
``bids.py``; ``planned.py`` writes the store.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from brainlm.data.bids import Participants, Sidecars, compile_pattern, entities_of, repetition_time, seconds
from brainlm.data.parcels import Parcels
from brainlm.data.planned import ImportSummary, PlannedRecording, Progress, failure_of, listed, write_store
from brainlm.data.read import TABLE_SUFFIXES, Orientation, Signal, read_table
from brainlm.data.shards import StoredType
from brainlm.data.splits import SplitRule
from brainlm.errors import DataError, Failure

# Tables of a BIDS folder that hold no parcel signals, and texts that are no tables.
NO_SIGNALS = re.compile(
    r"^(participants|parcels|README|CHANGES|LICENSE)\b"
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
    atlas_image: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ImportSummary:
    """Read tables of parcel signals and write them as the store ``out``.

    Args:
        inputs: folders (searched below, too), files, or patterns such as ``data/sub-*.tsv``.
        out: the store's folder.
        parcels: the table of the parcels; it decides how files are read.
        atlas: the atlas's name, kept in the store.
        participants: table with a row a participant; its columns become phenotypes.
        tr: repetition time in seconds, when neither the table nor sidecars have it.
        pattern: regular expression with the named groups subject, session, task, run, site, for names that are not
            BIDS-like.
        split: how subjects are divided.
        dtype: stored type.
        orientation: which axis of the tables comes first.
        drop_columns: columns of the tables that are no parcels.
        ignore_header: trust the order of the columns whatever the headers call them.
        atlas_image: label image to keep in the store, for brain maps.
        overwrite: replace a store that is there.
        progress: called after each recording.

    Raises:
        DataError: no input could be used, the participants table cannot be read, or the store cannot be written.
            Anything wrong with one input is a failure in the summary instead.
    """
    compiled = compile_pattern(pattern) if pattern else None
    tr = None if tr is None else seconds(tr, "--tr")
    people = Participants.read(participants) if participants is not None else Participants()
    found, skipped = _find_inputs(inputs, but=participants)
    sidecars = Sidecars()
    planned: list[PlannedRecording] = []
    failures: list[Failure] = []
    for item in found:
        load = partial(
            read_table,
            item.path,
            parcels,
            orientation=orientation,
            drop_columns=drop_columns,
            ignore_header=ignore_header,
        )
        try:
            planned.append(_plan(item, load, people, compiled, tr, sidecars))
        except DataError as error:
            failures.append(failure_of(str(item.path), error))
    notes = _notes_on_people(planned, people) if participants is not None else []
    if skipped:
        notes.append(f"{len(skipped)} files hold no parcel signals and were passed over: {listed(skipped)}")
    return write_store(
        out,
        planned,
        parcels=parcels,
        atlas=atlas,
        phenotypes=people.columns,
        split=split,
        dtype=dtype,
        failures=failures,
        notes=notes,
        atlas_image=atlas_image,
        overwrite=overwrite,
        progress=progress,
    )


def _find_inputs(inputs: Sequence[str | Path], *, but: str | Path | None) -> tuple[list[_Input], list[str]]:
    """The tables among the inputs, sorted, each once; and the names of files in folders that hold no signals."""
    found: dict[Path, _Input] = {}
    skipped: list[str] = []
    for given in map(Path, inputs):
        if given.is_dir():
            for path in sorted(given.rglob("*")):
                name = path.relative_to(given)
                hidden = any(part.startswith(".") for part in name.parts)
                if hidden or path.suffix.lower() not in TABLE_SUFFIXES or not path.is_file():
                    continue
                if NO_SIGNALS.search(path.name) or (but is not None and path.samefile(but)):
                    skipped.append(name.as_posix())
                else:
                    found.setdefault(path.resolve(), _Input(path, name.as_posix()))
            continue
        matches = [given] if given.is_file() else _matches(given)
        if not matches:
            raise DataError(
                f"no input at {given}",
                expected="a folder, a file, or a pattern that matches files",
                found="nothing there",
                remedy="correct the path",
            )
        for path in sorted(matches):
            found.setdefault(path.resolve(), _Input(path, path.as_posix()))
    if not found:
        raise DataError(
            f"no tables in {', '.join(map(str, inputs))}",
            expected=f"files that end in {' '.join(TABLE_SUFFIXES)}",
            found=f"none that could hold parcel signals; passed over: {listed(skipped) or 'none'}",
            remedy="give the folder with the parcellated time series",
        )
    return sorted(found.values(), key=lambda item: item.name), skipped


def _matches(pattern: Path) -> list[Path]:
    """The files that a pattern such as ``data/sub-*.tsv`` matches."""
    fixed = next((folder for folder in pattern.parents if not set("*?[") & set(str(folder))), Path())
    return [path for path in fixed.glob(str(pattern.relative_to(fixed))) if path.is_file()]


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
    subject = entities.subject
    if subject in people.contradictory:
        raise DataError(
            f"{item.path}: its participant is in the table more than once, with different values",
            expected=f"one line for {subject} in {people.path}",
            found="several that differ",
            remedy="remove all but the right one",
        )
    site = people.site.get(subject, "")
    if site and entities.site and site != entities.site:
        raise DataError(
            f"{item.path}: two sources contradict each other about the site",
            expected="one value",
            found=f"{entities.site} in the path, {site} in {people.path}",
            remedy="correct the one that is wrong",
        )
    return PlannedRecording(
        load,
        subject,
        repetition_time(item.path, entities, tr=tr, participants=people, sidecars=sidecars),
        session=entities.session,
        task=entities.task,
        run=entities.run,
        site=site or entities.site,
        source=item.name,
        path=str(item.path),
        phenotypes=people.phenotypes.get(subject, {}),
    )


def _notes_on_people(planned: Sequence[PlannedRecording], people: Participants) -> list[str]:
    recorded = {plan.subject for plan in planned}
    known = set(people.phenotypes)
    notes = []
    if lonely := sorted(known - recorded):
        notes.append(f"{len(lonely)} participants of {Path(people.path).name} have no recording: {listed(lonely)}")
    if unknown := sorted(recorded - known):
        notes.append(
            f"{len(unknown)} subjects with recordings are not in {Path(people.path).name}, and have no phenotypes: "
            f"{listed(unknown)}"
        )
    return notes
