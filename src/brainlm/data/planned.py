"""Recordings of which all but the signal is known -> a store, one signal in memory at a time.

Every source ends here: tables in ``importing.py``, ready-made data sets in ``sources/``.
"""

from __future__ import annotations

import gzip
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pandas as pd

from brainlm.data.exclusions import PLACE, group_reasons
from brainlm.data.fingerprints import pairs_of_copies
from brainlm.data.manifest import ATLAS_IMAGE, Manifest
from brainlm.data.parcels import Parcels
from brainlm.data.quality import MeasuredSignal
from brainlm.data.read import MisfitError, Signal
from brainlm.data.recording import Phenotype, Recording, recording_name
from brainlm.data.scan import Scan
from brainlm.data.shards import StoredType
from brainlm.data.splits import SplitRule, assign_splits, bare_subject
from brainlm.data.store_writer import StoreWriter
from brainlm.errors import BrainLMError, DataError, Failure

MOST_REMARKS = 5  # of different ones about tables, listed
Progress = Callable[[int, int, str], None]  # recordings done, of how many, the name of the last one


@dataclass(frozen=True, eq=False)
class PlannedRecording:
    """A recording of which all but the signal is known; ``load`` reads that when its turn comes.

    ``split`` is the one that the source has put its subject in, "" where the store's rule decides. Of several for one
    recording, the one with the smallest ``rank`` is read first.
    """

    load: Callable[[], Signal]
    subject: str
    tr: float
    session: str = ""
    task: str = ""
    run: str = ""
    site: str = ""
    source: str = ""
    path: str = ""
    phenotypes: Mapping[str, Phenotype] = field(default_factory=dict)
    split: str = ""
    rank: tuple[int, ...] = ()

    @property
    def origin(self) -> str:
        """Where the user finds it: its path, or what the source calls it."""
        return self.path or self.source

    @property
    def name(self) -> str:
        """The recording's name within the store."""
        return recording_name(self.subject, self.session, self.task, self.run)

    def with_signal(self, signal: Signal, *, atlas: str) -> Recording:
        """The recording, once its signal has been read."""
        return Recording(
            signal.bold,
            self.tr,
            self.subject,
            session=self.session,
            task=self.task,
            run=self.run,
            site=self.site,
            atlas=atlas,
            source=self.source,
            phenotypes=self.phenotypes,
        )


@dataclass(frozen=True, eq=False)
class ImportPlan:
    """All that an import knows before the first signal is read.

    ``split`` is the source's own rule, for when the user gives none; ``source`` goes into the store's manifest.
    """

    planned: Sequence[PlannedRecording]
    phenotypes: Sequence[str] = ()
    failures: Sequence[Failure] = ()
    notes: Sequence[str] = ()
    source: Mapping[str, str] = field(default_factory=dict)
    split: SplitRule | None = None


@dataclass(frozen=True)
class ImportSummary:
    """What an import did: how much is in the store, what was left out and why, and what the user should know."""

    store: Path
    num_recordings: int
    num_subjects: int
    num_per_split: Mapping[str, int]
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()


def write_store(
    out: str | Path,
    planned: Iterable[PlannedRecording],
    *,
    parcels: Parcels,
    atlas: str,
    phenotypes: Sequence[str] = (),
    split: SplitRule | None = None,
    dtype: StoredType = "float32",
    source: Mapping[str, str] | None = None,
    failures: Sequence[Failure] = (),
    notes: Sequence[str] = (),
    atlas_image: str | Path | None = None,
    has_quality: bool = False,
    before_publishing: Callable[[Manifest], None] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ImportSummary:
    """Read the planned recordings one by one, in the order of their names, and write them as the store ``out``.

    Of several inputs for one recording, the first that fits the parcels is stored; the others are left out for what
    they are.

    With ``has_quality`` the store has columns for what a ``MeasuredSignal`` says.

    Raises:
        DataError: none of them could be read, the store cannot be written, or a source has put a subject in two splits.
    """
    split = split or SplitRule()
    inputs_of = _by_recording(planned)
    failed = list(failures)
    if not inputs_of:
        raise _nothing_left(failed)
    chosen = [plans[0] for plans in inputs_of.values()]
    people, own = people_of(chosen), _own_splits(chosen)
    splits = assign_splits(people, split, existing=own)
    split_of = dict(zip(inputs_of, splits, strict=True))
    stored: list[_Stored] = []
    beside: list[Failure] = []
    writer = StoreWriter(
        out,
        parcels,
        atlas=atlas,
        dtype=dtype,
        split_rule=split,
        phenotypes=phenotypes,
        source={**(source or {}), **({"notes": "\n".join(notes)} if notes else {})},
        has_quality=has_quality,
        before_publishing=before_publishing,
        overwrite=overwrite,
    )
    with writer:
        for number, (name, plans) in enumerate(inputs_of.items(), start=1):
            added = _add_first(plans, writer, atlas=atlas, split=split_of[name])
            stored += added.stored
            failed += added.failures
            beside += added.beside
            if progress is not None:
                progress(number, len(inputs_of), name)
        if not stored:
            raise _nothing_left(failed)
        copies = _copies(stored)
        if copies and own is None:
            subjects = [(one.plan.subject, other.plan.subject) for one, other in copies]
            together = dict(zip(inputs_of, assign_splits(people, split, copies=subjects), strict=True))
            writer.move({p.subject: together[p.name] for p in chosen if together[p.name] != split_of[p.name]})
            split_of = together
        for failure in failed:
            writer.exclude(failure)
        if atlas_image is not None:
            _attach_image(writer, Path(atlas_image))
    return ImportSummary(
        store=Path(out),
        num_recordings=len(stored),
        num_subjects=len({item.plan.subject for item in stored}),
        num_per_split=dict(sorted(Counter(split_of[item.plan.name] for item in stored).items())),
        failures=tuple(failed),
        notes=(*notes, *_notes_on_copies(copies, split_of), *_notes_on_signals(stored), *_notes_on_others(beside)),
    )


def failure_of(origin: str, error: BrainLMError) -> Failure:
    """The failure that ``error`` means for the input at ``origin``, whose path is not said twice."""
    failure = Failure.from_error(origin, error)
    return replace(failure, reason=failure.reason.removeprefix(origin).lstrip(": "))


def _attach_image(writer: StoreWriter, image: Path) -> None:
    """Keep the label image in the store, compressed as its name there says."""
    if image.suffix == ".gz":
        writer.attach(image, ATLAS_IMAGE)
        return
    with tempfile.TemporaryDirectory() as folder:
        compressed = Path(folder) / ATLAS_IMAGE
        compressed.write_bytes(gzip.compress(image.read_bytes(), mtime=0))  # no time in it: same input, same bytes
        writer.attach(compressed, ATLAS_IMAGE)


@dataclass(frozen=True, eq=False)
class _Stored:
    plan: PlannedRecording
    num_without_signal: int
    transposed: bool
    reordered: bool
    remarks: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True, eq=False)
class _Added:
    """What became of the inputs for one recording; ``beside`` are those that are no time series of the parcels."""

    stored: list[_Stored]
    failures: list[Failure]
    beside: list[Failure]


def _by_recording(planned: Iterable[PlannedRecording]) -> dict[str, list[PlannedRecording]]:
    """The inputs for each recording, the best first, sorted by the recordings' names."""
    inputs_of: dict[str, list[PlannedRecording]] = {}
    for plan in sorted(
        planned, key=lambda plan: (plan.subject, plan.session, plan.task, plan.run, plan.rank, plan.source)
    ):
        inputs_of.setdefault(plan.name, []).append(plan)
    return inputs_of


def _add_first(plans: Sequence[PlannedRecording], writer: StoreWriter, *, atlas: str, split: str) -> _Added:
    """Add the first input that can be read and fits; a second one that fits as well is a failure."""
    stored: list[_Stored] = []
    failures: list[Failure] = []
    misfits: list[Failure] = []
    for plan in plans:
        recording = None
        try:
            signal = plan.load()
            if stored:
                first = stored[0].plan
                failures.append(
                    Failure(
                        plan.origin,
                        f"{plan.name} is there twice: {first.origin} was kept, {plan.origin} left out",
                        "leave one of them out, or tell them apart by session, task or run (--pattern)",
                    )
                )
                continue
            recording = plan.with_signal(signal, atlas=atlas)
            quality = signal.quality if isinstance(signal, MeasuredSignal) else None
            fingerprint = writer.add(recording, split=split, quality=quality)
            how = (signal.num_without_signal, signal.transposed, signal.reordered, tuple(signal.remarks))
            stored.append(_Stored(plan, *how, fingerprint))
        except DataError as error:
            # What the disk refuses ends the import; what is wrong with one recording does not.
            if recording is not None and isinstance(error.__cause__, OSError):
                raise
            (misfits if isinstance(error, MisfitError) else failures).append(failure_of(plan.origin, error))
    return _Added(stored, failures, misfits) if stored else _Added(stored, [*failures, *misfits], [])


def people_of(planned: Sequence[PlannedRecording | Scan]) -> pd.DataFrame:
    """A row a recording, with all columns that a split rule may name."""
    return pd.DataFrame(
        [
            {**plan.phenotypes, "subject": plan.subject, "session": plan.session, "task": plan.task, "site": plan.site}
            for plan in planned
        ]
    )


def _own_splits(planned: Sequence[PlannedRecording]) -> dict[str, str] | None:
    """The splits that the source has put subjects in; None where it has not."""
    splits: dict[str, str] = {}
    for plan in planned:
        if plan.split and splits.setdefault(plan.subject, plan.split) != plan.split:
            raise DataError(
                f"the source has put {plan.subject} in two splits",
                expected="one split for all recordings of a subject",
                found=f"{splits[plan.subject]}, and {plan.split} for {plan.origin}",
                remedy="divide people anew with --split",
            )
    return splits or None


def _nothing_left(failures: Sequence[Failure]) -> DataError:
    return DataError(
        "no input could be used, so no store was written",
        expected="at least one recording",
        found=f"{len(failures)} failed; the first: {failures[0].reason}" if failures else "no recording",
        remedy=failures[0].remedy if failures else "give the folder with the parcellated time series",
    )


def _copies(stored: Sequence[_Stored]) -> list[tuple[_Stored, _Stored]]:
    """Recordings with the same signal."""
    pairs = pairs_of_copies([item.fingerprint for item in stored])
    return [(stored[one], stored[other]) for one, other in pairs]


def _notes_on_copies(copies: Sequence[tuple[_Stored, _Stored]], split_of: Mapping[str, str]) -> list[str]:
    """Which recordings have the same signal, and what that means for the splits."""
    notes = []
    for of_one, whose in ((False, "different people"), (True, "one person")):
        pairs = [
            (one.plan.name, other.plan.name)
            for one, other in copies
            if (bare_subject(one.plan.subject) == bare_subject(other.plan.subject)) is of_one
        ]
        if not pairs:
            continue
        divided = sum(split_of[one] != split_of[other] for one, other in pairs)
        how = "they are in one split" if not divided else f"{divided} are divided between the splits of the source"
        named = listed([f"{one} = {other}" for one, other in pairs], MOST_REMARKS)
        notes.append(f"{len(pairs)} pairs of recordings of {whose} have the same signal ({how}): {named}")
    return notes


def _notes_on_signals(stored: Sequence[_Stored]) -> list[str]:
    notes = []
    repetition_times = Counter(item.plan.tr for item in stored)
    if len(repetition_times) > 1:
        counts = ", ".join(f"{tr:g} s ({number})" for tr, number in sorted(repetition_times.items()))
        notes.append(f"{len(repetition_times)} repetition times, kept as they are: {counts}")
    affected = [item.num_without_signal for item in stored if item.num_without_signal]
    if affected:
        notes.append(
            f"{sum(affected)} parcels in {len(affected)} recordings are constant or missing: no signal, stored as NaN"
        )
    if num_transposed := sum(item.transposed for item in stored):
        notes.append(f"{num_transposed} tables had parcels in rows and were transposed")
    if num_reordered := sum(item.reordered for item in stored):
        notes.append(f"{num_reordered} tables had another order of parcels, by their names, and were reordered")
    remarks = Counter(remark for item in stored for remark in item.remarks)
    notes += [f"in {number} tables {remark}" for remark, number in remarks.most_common(MOST_REMARKS)]
    if len(remarks) > MOST_REMARKS:
        notes.append(f"{len(remarks) - MOST_REMARKS} more kinds of lines and columns were left out as names or counts")
    return notes


def _notes_on_others(beside: Sequence[Failure]) -> list[str]:
    """Tables of recordings that another table was stored for, by what they are."""
    return [
        f"{group.num_inputs} tables of recordings that are stored from another table were left out: "
        f"{group.reason.removeprefix(PLACE).lstrip(': ')}: {listed(group.sources, 3)}"
        for group in group_reasons([asdict(failure) for failure in beside])
    ]


def listed(names: Sequence[str], most: int = 20) -> str:
    """The names in a row, the first ``most`` of them."""
    return ", ".join(names[:most]) + (f", and {len(names) - most} more" if len(names) > most else "")
