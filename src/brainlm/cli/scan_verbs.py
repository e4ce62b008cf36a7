"""``brainlm parcellate`` and ``brainlm merge``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from brainlm.atomic import check_writable
from brainlm.cli.console import ProgressBar, next_command, progress_bar, say, show_failures, step
from brainlm.cli.endings import DONE, SOME_FAILED, Stopped
from brainlm.cli.next_steps import after_store, command_line
from brainlm.data.atlas import Atlas
from brainlm.data.cleaning import Cleaning
from brainlm.data.merging import merge_parts
from brainlm.data.parcellating import WRITING, parcellate_scans, partial_folder
from brainlm.data.partial import Part
from brainlm.data.people import PeopleRules
from brainlm.data.planned import ImportSummary
from brainlm.data.processing import BY_RULE, ParcellationSettings
from brainlm.data.scans import FoundScans, find_scans
from brainlm.data.splits import SplitRule
from brainlm.errors import ConfigError
from brainlm.extras import check_extra

MOST_SCANS = 20  # listed by --dry_run


def parcellate(
    source: str,
    store: Path,
    *,
    atlas: str | None = None,
    parcels: Path | None = None,
    dlabel: Path | None = None,
    jobs: int = 1,
    dask: str | None = None,
    part: str | None = None,
    dry_run: bool = False,
    layout: Literal["auto", "bids", "xcpd", "hcp", "ukb", "plain"] = "auto",
    subject: list[str] = [],
    session: list[str] = [],
    task: list[str] = [],
    run: list[str] = [],
    space: list[str] = [],
    res: list[str] = [],
    den: list[str] = [],
    desc: list[str] = [],
    acq: list[str] = [],
    rec: list[str] = [],
    dir: list[str] = [],
    ce: list[str] = [],
    cohort: list[str] = [],
    pattern: str | None = None,
    participants: list[str] = [],
    phenotypes: list[str] = [],
    id_column: str | None = None,
    missing: list[str] = [],
    value_labels: list[str] = [],
    tr: float | None = None,
    assume_space: str = "",
    min_parcel_coverage: float = 0.5,
    confounds: Literal["none", "motion6", "motion24", "compcor", "ica-aroma"] = "none",
    scrub: float = 0.0,
    detrend: bool = False,
    low_hz: float = 0.0,
    high_hz: float = 0.0,
    target_tr: float = 0.0,
    max_fd: float = 0.0,
    min_volumes: int = 0,
    min_coverage: float = 0.0,
    split: SplitRule | None = None,
    dtype: Literal["float32", "float16"] = "float32",
    overwrite: bool = False,
) -> int:
    """Average preprocessed scans over the parcels of an atlas and write them as a store, one recording a run.

    What is finished is kept at once in STORE.partial: after any interruption, the same command goes on.

    Args:
        source: a folder of derivatives, an image, or a pattern such as 'data/*_bold.nii.gz'.
        store: the store to write.
        atlas: name (A424, MIST-122, schaefer:100:7, ...) or path of the atlas.
        parcels: the parcels.tsv of an atlas given by path, where it does not lie beside it.
        dlabel: the CIFTI dlabel with the same parcels, for dtseries, where it does not lie beside the image.
        jobs: processes at a time.
        dask: address of a Dask cluster's scheduler, such as tcp://10.0.0.1:8786, that does the work instead.
        part: only this share of the scans, such as 3/20 in the third of 20 jobs; brainlm merge puts them together.
        dry_run: only list what would be read.
        layout: how the folders are laid out.
        subject: only these subjects; repeat the option for several.
        session: only these sessions.
        task: only these tasks, such as --task rest.
        run: only these runs.
        space: only images in these spaces, such as MNI152NLin6Asym; in this way, and what follows to cohort, one is
            chosen where there are several of a run.
        res: only these resolutions.
        den: only these densities of surfaces.
        desc: only these variants, such as preproc or smoothAROMAnonaggr.
        acq: only these acquisitions.
        rec: only these reconstructions.
        dir: only these phase-encoding directions.
        ce: only these contrast agents.
        cohort: only these cohorts of a template.
        pattern: regular expression with named groups (subject, session, task, run, site) for names that are not BIDS.
        participants: table with a row a participant, or a session; its columns become phenotypes. Repeat it
            for several. By default the participants.tsv of the data set.
        phenotypes: further tables, also beside the participants.tsv of the data set.
        id_column: the column of the participants table with the subjects, such as SUB_ID; known names are found.
        missing: values of that table that mean missing, such as -9999,n/a, or age:-1 for one column; none if what
            looks like such a code is a value.
        value_labels: names for codes, such as DX_GROUP:1=autism,2=control; repeat it for other columns.
        tr: repetition time in seconds, whatever headers and sidecars say.
        assume_space: the space of images that do not say it, such as MNI152NLin6Asym.
        min_parcel_coverage: parcels of which a smaller share has signal are stored as missing.
        confounds: what is regressed out.
        scrub: volumes with a larger framewise displacement (mm) are censored, such as 0.5; 0: none.
        detrend: remove a straight line.
        low_hz: lower edge of the pass band, such as 0.008; 0: none.
        high_hz: upper edge of the pass band, such as 0.1; 0: none.
        target_tr: repetition time in seconds to resample to; 0: as it is.
        max_fd: leave out recordings with a larger mean framewise displacement (mm); 0: none.
        min_volumes: leave out recordings with fewer volumes that are not censored.
        min_coverage: leave out recordings with a smaller mean coverage of the parcels, such as 0.9.
        split: how subjects are divided.
        dtype: type of the stored signals.
        overwrite: replace a store that is there, and begin anew what was kept with other settings.
    """
    chosen = _atlas(atlas, parcels, dlabel)
    settings = ParcellationSettings(
        min_parcel_coverage=min_parcel_coverage,
        cleaning=Cleaning(confounds, scrub, detrend, low_hz, high_hz, target_tr),
        max_fd=max_fd,
        min_volumes=min_volumes,
        min_coverage=min_coverage,
        assume_space=assume_space,
    )
    share = Part.parse(part)
    check_writable(store)
    if dask is not None:
        check_extra("distributed", what="the workers of a Dask cluster", otherwise="use --jobs")
    selected = {"sub": subject, "ses": session, "task": task, "run": run, "space": space, "res": res, "den": den}
    selected |= {"desc": desc, "acq": acq, "rec": rec, "dir": dir, "ce": ce, "cohort": cohort}
    step(f"looking for scans in {source}")
    found = find_scans(
        [source],
        layout=layout,
        entities={name: values for name, values in selected.items() if values},
        participants=participants,
        phenotypes=phenotypes,
        people_rules=PeopleRules.parse(id_column, missing, value_labels),
        tr=tr,
        pattern=pattern,
        atlas=chosen.name,
    )
    if dry_run:
        return _show_found(found, share)
    own = sum(share.takes(position) for position in range(1, len(found.scans) + 1))
    step(f"parcellating {_of_part(own, share)} -> {store}")
    with progress_bar("scans") as bar:
        reporter = _Reporter(bar)
        try:
            summary = parcellate_scans(
                found,
                store,
                atlas=chosen,
                settings=settings,
                jobs=jobs,
                dask=dask,
                split=split,
                part=share,
                dtype=dtype,
                overwrite=overwrite,
                progress=reporter.update,
            )
        except (Stopped, KeyboardInterrupt) as stop:
            kept = f"kept in {partial_folder(store)}" if reporter.total else "nothing was begun"
            done = f"{reporter.done:,} of {reporter.total:,} scans are finished and {kept}"
            stop.add_note(f"{done}; the same command goes on from there")
            raise
    return _report(summary) if share.is_whole else _report_part(summary, share, store)


def _atlas(atlas: str | None, parcels: Path | None, dlabel: Path | None) -> Atlas:
    if atlas is None:
        raise ConfigError(
            "which atlas the scans are to be parcellated with is not said",
            expected="--atlas NAME_OR_PATH",
            found="nothing",
            remedy="for example --atlas A424, --atlas schaefer:400:7, or --atlas labels.nii.gz",
        )
    return Atlas.load(atlas, table=parcels, grayordinates=dlabel)


class _Reporter:
    """Remembers how many scans are finished, beside showing it on a bar."""

    def __init__(self, bar: ProgressBar) -> None:
        self._bar = bar
        self.done = self.total = 0  # scans, not what is written of them

    def update(self, done: int, total: int, note: str) -> None:
        """A callback."""
        if note != WRITING:
            self.done, self.total = done, total
        self._bar.update(done, total, note)


def _of_part(number: int, part: Part) -> str:
    return f"{number:,} scans" + ("" if part.is_whole else f" (part {part})")


def _show_found(found: FoundScans, part: Part) -> int:
    own = [scan for position, scan in enumerate(found.scans, start=1) if part.takes(position)]
    say(f"would read {_of_part(len(own), part)}, layout {found.layout}:")
    for scan in own[:MOST_SCANS]:
        tr = f"{scan.tr_s:g} s" if scan.tr_s is not None else "in its header"
        confounds = "a table of confounds" if scan.confounds else f"motion ({scan.motion_kind})" if scan.motion else ""
        others = [f"TR {tr}", scan.space and f"space {scan.space}", scan.mask and "a mask", confounds]
        say(f"  {scan.recording_name}: {scan.name} ({', '.join(text for text in others if text)})")
    if len(own) > MOST_SCANS:
        say(f"  ... and {len(own) - MOST_SCANS:,} more")
    subjects = len({scan.subject for scan in own})
    say(f"{len(own):,} recordings of {subjects:,} subjects; phenotypes: {', '.join(found.phenotypes) or 'none'}")
    for note in found.notes:
        say(f"note: {note}")
    show_failures(found.failures)
    return SOME_FAILED if found.failures else DONE


def _report(summary: ImportSummary) -> int:
    parts = ", ".join(f"{name} {number}" for name, number in summary.num_per_split.items())
    say(f"{summary.num_recordings:,} recordings of {summary.num_subjects:,} subjects in {summary.store} ({parts})")
    for note in summary.notes:
        say(f"note: {note}")
    show_failures(summary.failures, all_in=summary.store / "manifest.json")
    next_command(*after_store(summary.store))
    return _status(summary)


def _report_part(summary: ImportSummary, part: Part, store: Path) -> int:
    say(f"part {part}: {summary.num_recordings:,} recordings of {summary.num_subjects:,} subjects in {summary.store}")
    for note in summary.notes:
        say(f"note: {note}")
    show_failures(summary.failures)
    say(f"when all {part.of} parts are done, put them together:")
    next_command(command_line("merge", partial_folder(store), "--out", store))
    return _status(summary)


def _status(summary: ImportSummary) -> int:
    """What the user's own rules leave out has not failed."""
    failed = [failure for failure in summary.failures if not failure.reason.startswith(BY_RULE)]
    return SOME_FAILED if failed else DONE


def merge(parts: list[str], *, out: Path | None = None, overwrite: bool = False) -> int:
    """Put the parts of an array of jobs together: the store is the same as if one process had done it all.

    Args:
        parts: the folder STORE.partial in which the jobs left their parts, or the parts themselves.
        out: the store to write.
        overwrite: replace a store that is there.
    """
    if out is None:
        raise ConfigError("which store to write is not said", expected="--out STORE", found="nothing", remedy="add it")
    step(f"merging {', '.join(parts[:3])}{' ...' if len(parts) > 3 else ''} -> {out}")
    with progress_bar("recordings") as bar:
        summary = merge_parts(parts, out, overwrite=overwrite, progress=bar.update)
    return _report(replace(summary, notes=(*summary.notes, "the parts are not needed any more, and can be removed")))
