"""Finding scans: which images of a folder of derivatives are read, one a run, with all that tables say about them.

No image is opened. Where things lie in each layout is in ``layouts/``; what a scan is, in ``scan.py``.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from brainlm.data.bids import Sidecars, compile_pattern
from brainlm.data.layouts.bids import find_bids
from brainlm.data.layouts.candidates import Candidate, Selection, choose, nothing_selected
from brainlm.data.layouts.detecting import derivatives_of, layout_of, raw_dataset_of
from brainlm.data.layouts.hcp import find_hcp
from brainlm.data.layouts.plain import find_plain
from brainlm.data.layouts.source import Found, Source
from brainlm.data.layouts.ukb import find_ukb
from brainlm.data.layouts.walking import matching, printable
from brainlm.data.layouts.xcpd import find_xcpd
from brainlm.data.people import NO_RULES, People, PeopleRules, sessions_of
from brainlm.data.people_files import read_people_files
from brainlm.data.planned import failure_of, listed
from brainlm.data.repetition import agreed_tr, seconds
from brainlm.data.scan import MotionKind, Scan, ScanKind
from brainlm.data.shards import RESERVED_WITH_QUALITY
from brainlm.errors import ConfigError, DataError, Failure

__all__ = ["FoundScans", "Layout", "MotionKind", "Scan", "ScanKind", "find_scans"]

Layout = Literal["auto", "bids", "xcpd", "hcp", "ukb", "plain"]

FINDERS: Mapping[str, Callable[[Source], Found]] = {
    "bids": find_bids,
    "xcpd": find_xcpd,
    "hcp": find_hcp,
    "ukb": find_ukb,
    "plain": find_plain,
}


@dataclass(frozen=True)
class FoundScans:
    """What is there to read.

    Attributes:
        scans: sorted by the names of their recordings, which are unique.
        failures: files and runs that were left out, each with its reason and a remedy.
        notes: what the user should know: what was chosen and what not, what lacks confounds, who has no scan.
        phenotypes: the columns that tables about people have.
        layout: how the folders are laid out, as told or found.
    """

    scans: tuple[Scan, ...]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]
    phenotypes: tuple[str, ...]
    layout: str


def find_scans(
    inputs: Sequence[str | Path],
    *,
    layout: Layout = "auto",
    entities: Mapping[str, Sequence[str]] | None = None,
    participants: str | Path | Sequence[str | Path] | None = None,
    phenotypes: Sequence[str | Path] = (),
    people_rules: PeopleRules = NO_RULES,
    tr: float | None = None,
    pattern: str | None = None,
    atlas: str = "",
) -> FoundScans:
    """The scans in folders, files or patterns such as ``data/sub-*.nii.gz``: at most one for each run.

    Args:
        inputs: where to look.
        layout: how the folders are laid out; ``auto`` finds out.
        entities: values to keep, by entity: ``{"task": ["rest"], "space": ["MNI152NLin2009cAsym"]}``.
        participants: a table or several, with a line a participant, or a session; by default the ``participants.tsv``
            of the data set, or of the raw one that it was made from.
        phenotypes: further tables, also where ``participants`` are those of the data set.
        people_rules: which column has the subjects, which values are missing, what codes mean.
        tr: repetition time in seconds that overrides all others.
        pattern: regular expression with the named groups subject, session, task, run, site, for names that no standard
            explains; the layout is then plain.
        atlas: the name of the atlas asked for: tables of parcels that say they are of another are passed over.

    Raises:
        DataError: nothing there, nothing left by the selection, or a table about people that cannot be read.
        ConfigError: an entity, a pattern or a combination of options that has no meaning.
    """
    tr = None if tr is None else seconds(tr, "--tr")
    selection = Selection.of(entities or {})
    sources = _sources(inputs, layout, pattern)
    candidates: list[Candidate] = []
    chosen: list[Candidate] = []
    failures: list[Failure] = []
    notes: list[str] = []
    num_files = 0
    for source in sources:
        found = FINDERS[source.layout](source)
        best = choose(found.candidates, selection, atlas=atlas)
        candidates += found.candidates
        chosen += best.candidates
        failures += [*found.failures, *best.failures]
        notes += [*source.notes, *found.notes, *_notes_on_others(source, found), *best.notes]
        num_files += found.num_files
    chosen, twice = _once(chosen)
    failures += twice
    if not chosen and not failures:
        if candidates:
            raise nothing_selected(candidates, selection)
        raise _nothing_found(inputs, sources, num_files)
    people = _people(sources, chosen, participants, phenotypes, people_rules)
    scans, unusable = _finished(chosen, people, tr)
    notes += [*_notes_on_confounds(scans, sources), *people.notes]
    return FoundScans(
        scans=tuple(scans),
        failures=tuple(_printable(failure) for failure in (*failures, *unusable)),
        notes=tuple(map(printable, notes)),
        phenotypes=people.columns,
        layout=" and ".join(sorted({source.layout for source in sources})),
    )


def _sources(inputs: Sequence[str | Path], layout: Layout, pattern: str | None) -> list[Source]:
    """Each folder given, and the files given, by layout."""
    compiled = compile_pattern(pattern) if pattern else None
    if compiled is not None and layout not in ("auto", "plain"):
        raise ConfigError(
            f"a pattern has no meaning for the layout {layout}, whose names say what is where",
            found="--pattern",
            remedy="leave it out, or read the files with --layout plain",
        )
    sources: dict[Path, Source] = {}
    files: dict[str, list[Path]] = defaultdict(list)
    for given in inputs:
        paths = matching(given)
        if not paths:
            raise DataError(
                f"no input at {given}",
                expected="a folder, a file, or a pattern that matches files",
                found="nothing there",
                remedy="correct the path",
            )
        for path in paths:
            folder = derivatives_of(path) if path.is_dir() and compiled is None and layout == "auto" else path
            kind = "plain" if compiled is not None else layout_of(folder) if layout == "auto" else layout
            if path.is_dir():
                notes = () if folder == path else (f"{path} is a raw data set: its derivatives in {folder} were read",)
                sources.setdefault(folder.resolve(), Source(folder, kind, pattern=compiled, notes=notes))
            else:
                files[kind].append(path)
    single = [Source(Path(), kind, tuple(dict.fromkeys(paths)), compiled) for kind, paths in files.items()]
    return [*sources.values(), *single]


def _notes_on_others(source: Source, found: Found) -> list[str]:
    """Which of the files given are nothing that is read."""
    used = {item.scan.path.split("!/")[0] for item in found.candidates} | {item.source for item in found.failures}
    others = [str(path) for path in source.files if str(path) not in used]
    if not others:
        return []
    return [f"{len(others)} of the files given are no images of runs and were passed over: {listed(others, 5)}"]


def _once(candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[Failure]]:
    """The candidates sorted by recording; a run that was found in two places is read from neither."""
    runs: dict[str, list[Candidate]] = defaultdict(list)
    for item in candidates:
        runs[item.scan.recording_name].append(item)
    chosen: list[Candidate] = []
    failures: list[Failure] = []
    for name in sorted(runs):
        places = runs[name]
        if len(places) > 1:  # the same file may have been given twice
            places = list({os.path.realpath(item.scan.path): item for item in reversed(places)}.values())
        if len(places) == 1:
            chosen.append(places[0])
            continue
        paths = sorted(item.scan.path for item in places)
        failures.append(
            Failure(
                paths[0],
                f"{len(paths)} of the inputs hold the same run, {name}, and none was read: {listed(paths, 5)}",
                "give one of the inputs alone, or tell the runs apart by session, task or run (--pattern)",
            )
        )
    return chosen, failures


def _people(
    sources: Sequence[Source],
    chosen: Sequence[Candidate],
    participants: str | Path | Sequence[str | Path] | None,
    phenotypes: Sequence[str | Path],
    rules: PeopleRules,
) -> People:
    """All tables about people: those given, and those that lie in the data sets."""
    roots = [Path(item.root) for item in chosen if item.root]
    for source in sources:
        roots += list(source.by_folder()) or [source.root]
    roots = list(dict.fromkeys(roots))
    files = read_people_files(participants)
    if not files and (beside := _participants_beside(roots)) is not None:
        files = read_people_files(beside, is_given=False)
    unusable: Mapping[str, DataError] = {}
    if any(item.scan.session for item in chosen):
        raw = [above for above in map(raw_dataset_of, roots) if above is not None]
        subjects = sorted({item.scan.subject for item in chosen})
        by_session, unusable = sessions_of(dict.fromkeys([*roots, *raw]), subjects)
        files += [by_session] if by_session is not None else []
    files += read_people_files(phenotypes, what="phenotype table", option="--phenotypes")
    recorded = [(item.scan.subject, item.scan.session) for item in chosen]
    return People.join(files, recorded, rules, reserved=RESERVED_WITH_QUALITY, unusable=unusable)


def _participants_beside(roots: Sequence[Path]) -> Path | None:
    """The table in the one data set, or else in the raw one that it was made from.

    Raises:
        ConfigError: several data sets have one each.
    """
    tables: dict[Path, Path] = {}
    for root in roots:
        places = [root, raw_dataset_of(root)]
        beside = [place / "participants.tsv" for place in places if place is not None]
        table = next((path for path in beside if path.is_file()), None)
        if table is not None:
            tables.setdefault(table.resolve(), table)
    if len(tables) > 1:
        raise ConfigError(
            "more than one participants table lies beside the inputs",
            expected="one",
            found=listed([str(path) for path in tables.values()], 5),
            remedy="put them together, and give the table with --participants",
        )
    return next(iter(tables.values()), None)


def _finished(chosen: Sequence[Candidate], people: People, tr: float | None) -> tuple[list[Scan], list[Failure]]:
    """The scans with their repetition times, sites and phenotypes; those about which there are contradictions fail."""
    sidecars = Sidecars()
    scans: list[Scan] = []
    failures: list[Failure] = []
    for item in chosen:
        try:
            scans.append(people.introduce(_timed(item, people, sidecars, tr)))
        except DataError as error:
            failures.append(failure_of(item.scan.path, error))
    return scans, failures


def _timed(item: Candidate, people: People, sidecars: Sidecars, tr: float | None) -> Scan:
    """The scan with the repetition time that is said outside the image, if it is said."""
    scan = item.scan
    if tr is not None:
        return replace(scan, tr_s=tr, tr_source="--tr")
    said: dict[str, float] = {scan.tr_source: scan.tr_s} if scan.tr_s is not None else {}
    sidecar = Path(item.sidecar) if item.sidecar else None
    if sidecar is not None and "RepetitionTime" not in sidecars.content(sidecar):
        sidecar = None
    if sidecar is None and item.sidecar is not None:
        sidecar = sidecars.find(Path(scan.path))
    if sidecar is not None:
        said[str(sidecar)] = seconds(sidecars.content(sidecar)["RepetitionTime"], str(sidecar))
    said |= people.repetition_times(scan.subject, scan.session)
    if not said and scan.kind != "table":
        return scan
    agreed = agreed_tr(scan.path, said, expected="--tr, or RepetitionTime in a JSON sidecar")
    return replace(scan, tr_s=agreed, tr_source=" and ".join(said))


def _notes_on_confounds(scans: Sequence[Scan], sources: Sequence[Source]) -> list[str]:
    """How many lack what their layout usually has for each run."""
    if all(source.layout == "plain" for source in sources):
        return []
    missing = [scan.recording_name for scan in scans if not (scan.confounds or scan.motion)]
    return [f"{len(missing)} scans have no confounds and no motion file: {listed(missing, 5)}"] if missing else []


def _printable(failure: Failure) -> Failure:
    return Failure(printable(failure.source), printable(failure.reason), printable(failure.remedy))


def _nothing_found(inputs: Sequence[str | Path], sources: Sequence[Source], num_files: int) -> DataError:
    expected = {
        "bids": "sub-<label>/[ses-<label>/]func/*_space-MNI152*_desc-preproc_bold.nii.gz, *_bold.dtseries.nii",
        "xcpd": "sub-<label>/[ses-<label>/]func/*_desc-denoised_bold.nii.gz or *_timeseries.tsv",
        "hcp": "<subject>/MNINonLinear/Results/<run>/<run>_hp2000_clean.nii.gz or *_Atlas*.dtseries.nii",
        "ukb": "<subject>_20227_2_0 or .zip with fMRI/rfMRI.ica/reg_standard/filtered_func_data_clean.nii.gz",
        "plain": "*.nii, *.nii.gz, *.dtseries.nii or *.ptseries.nii",
    }
    layouts = sorted({source.layout for source in sources})
    return DataError(
        f"no scans in {listed([str(given) for given in inputs], 5)}",
        expected=" or ".join(expected[layout] for layout in layouts),
        found=f"{num_files} files, none of these (layout: {', '.join(layouts)})",
        remedy="give the folder with the preprocessed images, or say with --layout how it is laid out",
    )
