"""Scans -> a store, over processes or a cluster, in as many attempts as it takes: what ``brainlm parcellate`` does.

One scan is done in ``processing.py``, many at a time in ``workers.py`` and ``cluster.py``. What is finished is kept in
``partial.py``, and becomes the store in ``assembling.py``.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from brainlm import atomic
from brainlm.data.assembling import assemble, failures_of, is_published, manifest_checksum, summary_of
from brainlm.data.atlas import Atlas
from brainlm.data.cluster import over_cluster
from brainlm.data.partial import LEDGER_SUFFIX, Part, Partial
from brainlm.data.planned import ImportSummary, Progress, people_of
from brainlm.data.processing import ParcellationSettings, Processed, fingerprint
from brainlm.data.scan import Scan
from brainlm.data.scan_plan import header_of, plan_of
from brainlm.data.scans import FoundScans
from brainlm.data.shards import StoredType
from brainlm.data.splits import SplitRule, assign_splits
from brainlm.data.store_writer import check_destination, check_phenotype_names
from brainlm.data.workers import Task, one_after_another, over_processes
from brainlm.errors import AtlasError, ConfigError, DataError

PARTIAL_SUFFIX = ".partial"
WRITING = "writing the store"  # the note of progress when all scans are done
LOOKING_AT_ONCE = 16  # files whose size and time are asked for at the same time: over a network each takes a while


def partial_folder(out: str | Path) -> Path:
    """Where what is finished of the store ``out`` is kept."""
    out = Path(out)
    return out.with_name(out.name + PARTIAL_SUFFIX)


def parcellate_scans(
    found: FoundScans,
    out: str | Path,
    *,
    atlas: Atlas,
    settings: ParcellationSettings | None = None,
    jobs: int = 1,
    dask: str | None = None,
    split: SplitRule | None = None,
    part: Part | None = None,
    dtype: StoredType = "float32",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ImportSummary:
    """Read, clean and store the scans that were found.

    What is finished is kept beside the store. Called again with the same arguments after any interruption, nothing that
    was finished is done again, and the store is the same, byte for byte, as from one uninterrupted call, from any
    number of jobs, or from a cluster. Scans whose files have changed, and those that failed, are done again.

    Args:
        found: the scans.
        out: the store's folder.
        atlas: whose parcels.
        settings: how, and which recordings are left out.
        jobs: processes at a time, each of one thread; with more than one, call this below
            ``if __name__ == "__main__":``.
        dask: address of the scheduler of a Dask cluster that does the work instead.
        split: how subjects are divided.
        part: do only this share of the scans, for an array of jobs whose parts ``merge`` puts together; the result is
            then no store yet, and the summary's ``store`` is the file that holds the part.
        dtype: stored type.
        overwrite: replace a store that is there, and what was kept with other settings.
        progress: called when scans are finished.

    Raises:
        DataError: no scan could be used, the place of the store is taken, what is kept there was made with other
            settings, or the disk refuses. Anything wrong with one scan is a failure in the summary instead.
        AtlasError: the atlas cannot be used for any of the scans.
        ConfigError: options that contradict each other or cannot be followed.
    """
    out, part = Path(out), part or Part()
    settings, split = settings or ParcellationSettings(), split or SplitRule()
    _check_workers(jobs, dask)
    ledger = partial_folder(out) / part.file_name
    if part.is_whole and not overwrite and ledger.is_file() and (done := _finished_before(ledger, out)):
        return done
    check_destination(out, overwrite=overwrite)
    check_phenotype_names(found.phenotypes, has_quality=True)
    if found.scans and (split.group or split.stratify or split.hold_out):
        assign_splits(people_of(found.scans), split)  # for its complaints, before hours of work
    _check_parts(ledger, part)
    atlas = _for_workers(atlas, found.scans)
    own = [scan for position, scan in enumerate(found.scans, start=1) if part.takes(position)]
    with _saying_what_is_kept(), Partial(ledger) as kept:
        kept.begin(header_of(atlas, settings, part), atlas.parcels, atlas.image, overwrite=overwrite)
        kept.write_plan(plan_of(found, own, split, dtype))
        work = _Work(kept, Task(atlas, settings), jobs, dask, progress)
        before = work.do(own)
        notes = [f"{before} scans were finished in an earlier attempt, and not done again"] if before else []
        if part.is_whole:
            summary = assemble(
                [kept],
                out,
                before_publishing=lambda manifest: kept.note_published(manifest_checksum(manifest)),
                overwrite=overwrite,
                progress=_renamed(progress),
            )
            _remove(ledger)
        else:
            summary = _summary_of_part(kept, ledger, found)
    return replace(summary, notes=(*summary.notes, *notes))


@contextmanager
def _saying_what_is_kept() -> Iterator[None]:
    """Let what the disk refuses say that nothing is lost."""
    try:
        yield
    except DataError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        remedy = f"{error.remedy}; what is finished is kept, the same command goes on"
        raise DataError(error.problem, expected=error.expected, found=error.found, remedy=remedy) from error.__cause__


@dataclass(frozen=True, eq=False)
class _Work:
    """The scans of one call, and where their results go."""

    kept: Partial
    task: Task
    jobs: int
    dask: str | None
    progress: Progress | None

    def do(self, scans: Sequence[Scan]) -> int:
        """Do what is not finished; how many were."""
        known = [scan for scan in scans if scan.recording_name in self.kept.outcomes]
        with ThreadPoolExecutor(LOOKING_AT_ONCE) as threads:
            marks = dict(zip((scan.recording_name for scan in known), threads.map(fingerprint, known), strict=True))
        finished = {name for name, mark in marks.items() if self.kept.is_finished(name, mark)}
        remaining = [scan for scan in scans if scan.recording_name not in finished]
        counts = Counter(excluded=sum(self.kept.outcomes[name].failure is not None for name in finished))
        started, total = time.monotonic(), len(scans)
        if self.progress is not None and scans:
            self.progress(len(finished), total, f"{len(finished)} finished before" if finished else "starting")
        num_done = 0
        with closing(self._results(remaining, marks)) as results:  # ends the workers if this ends early
            for batch in results:
                for result in batch:
                    self.kept.add(result, marks[result.name])
                    counts.update(excluded=result.excluded, failed=result.failure is not None and not result.excluded)
                self.kept.sync()  # before anybody is told that they are finished
                num_done += len(batch)
                if self.progress is not None and batch:
                    speed = num_done / (time.monotonic() - started)
                    self.progress(len(finished) + num_done, total, _note(speed, counts))
        return len(finished)

    def _results(self, scans: Sequence[Scan], marks: dict[str, str]) -> Generator[Sequence[Processed], None, None]:
        def marked() -> Iterator[Scan]:
            for scan in scans:
                marks[scan.recording_name] = fingerprint(scan)  # before it is read: a later change must be seen
                yield scan

        if not scans:
            return one_after_another((), self.task)
        if self.dask is not None:
            return over_cluster(marked(), self.task, address=self.dask)
        if self.jobs > 1:
            return over_processes(marked(), self.task, jobs=min(self.jobs, len(scans)))
        return one_after_another(marked(), self.task)


def _note(speed: float, counts: Mapping[str, int]) -> str:
    parts = [f"{speed:.3g} scans/s", f"{counts['failed']} failed"]
    return ", ".join([*parts, *([f"{counts['excluded']} left out by rule"] if counts["excluded"] else [])])


def _renamed(progress: Progress | None) -> Progress | None:
    if progress is None:
        return None
    return lambda done, total, _: progress(done, total, WRITING)


def _check_workers(jobs: int, dask: str | None) -> None:
    if jobs < 1 or (dask is not None and jobs > 1):
        raise ConfigError(
            "the number of jobs cannot be followed",
            expected="at least 1, and none with a Dask cluster, whose workers decide",
            found=f"--jobs {jobs}" + (f" with --dask {dask}" if dask is not None else ""),
            remedy="correct --jobs, or leave it out",
        )


def _check_parts(ledger: Path, part: Part) -> None:
    """Make sure that nobody divides the same scans in another way into the same place."""
    there = [path.name for path in sorted(ledger.parent.glob(f"*{LEDGER_SUFFIX}"))]
    if others := [name for name in there if not name.endswith(f"-of-{part.of}{LEDGER_SUFFIX}")]:
        raise DataError(
            f"{ledger.parent} holds parts of another division",
            expected=f"parts of {part.of}" if not part.is_whole else "no parts of job arrays",
            found=", ".join(others[:5]),
            remedy="use the same number of parts, merge these (brainlm merge), or remove the folder to begin anew",
        )


def _finished_before(ledger: Path, out: Path) -> ImportSummary | None:
    """The summary of the store, if an earlier call was interrupted between publishing it and removing the ledger."""
    with Partial(ledger) as kept:
        if not is_published(kept, out):
            return None
        # What the interrupted call would have cleared up, too.
        (out / atomic.LOCK_FILE).unlink(missing_ok=True)
        atomic.recover(out)
        _remove(ledger)
    summary = summary_of(out)
    return replace(summary, notes=(*summary.notes, "the store was finished in an earlier attempt"))


def _remove(ledger: Path) -> None:
    ledger.unlink()
    if not any(ledger.parent.iterdir()):
        ledger.parent.rmdir()


def _for_workers(atlas: Atlas, scans: Sequence[Scan]) -> Atlas:
    """The atlas, its files by paths that hold in any folder, with its dlabel, fetched once, if scans need that.

    Where there is no dlabel and only some need it, these fail alone.
    """
    in_need = [scan for scan in scans if scan.path.endswith(".dtseries.nii")]
    try:
        atlas = atlas.with_grayordinates() if in_need else atlas
    except AtlasError:
        if len(in_need) == len(scans):
            raise
    image, dlabel = (file and file.absolute() for file in (atlas.image, atlas.grayordinates))
    return replace(atlas, image=image, grayordinates=dlabel)


def _summary_of_part(kept: Partial, ledger: Path, found: FoundScans) -> ImportSummary:
    finished = [item for item in kept.plan["recordings"] if kept.outcomes[item["name"]].failure is None]
    return ImportSummary(
        store=ledger,
        num_recordings=len(finished),
        num_subjects=len({item["subject"] for item in finished}),
        num_per_split={},
        failures=tuple(failures_of([kept])),
        notes=found.notes,
    )
