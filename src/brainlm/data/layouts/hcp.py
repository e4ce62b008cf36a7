"""The HCP's minimally preprocessed data: ``<subject>/MNINonLinear/Results/<run>/<run>_hp2000_clean.nii.gz`` and CIFTI.

Young Adult (3T and 7T) and Lifespan names are known. Glasser et al. (2013), NeuroImage 80; Salimi-Khorshidi (2014).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from brainlm.data.bids import subject_id
from brainlm.data.layouts.bids import find_in_folders
from brainlm.data.layouts.candidates import Candidate
from brainlm.data.layouts.source import Found, Source
from brainlm.data.layouts.walking import Folder, check_file
from brainlm.data.planned import failure_of, listed
from brainlm.data.scan import Scan, ScanKind
from brainlm.errors import DataError

RESULTS = re.compile(r"/(?P<subject>[^/]+)/MNINonLinear/Results/(?P<run>[^/]+)$")
LIFESPAN_SUBJECT = re.compile(r"^(?P<subject>[^_]+)_(?P<session>[^_]+)_MR$")
RUN = re.compile(
    r"^(?P<kind>rfMRI|tfMRI)_(?P<task>[A-Za-z]+?)(?P<number>\d*[a-z]?)(?P<field>_7T)?_(?P<direction>LR|RL|AP|PA)$"
)
JOINED_RUNS = re.compile(r"^(rfMRI|tfMRI|fMRI)_")  # ... without a direction: several runs put end to end
# What follows the run's name: grayordinates by their registration, the high-pass filter, one or more cleanings.
IMAGE = re.compile(
    r"^(?P<atlas>_Atlas(?P<registration>_MSMAll|_MSMSulc)?)?(?P<filter>_hp\d+)?(?P<clean>(_r?t?clean)+)?"
    r"(?P<end>\.nii\.gz|\.nii|\.dtseries\.nii|\.ptseries\.nii)$"
)
REGISTRATIONS = ("_MSMAll", "_MSMSulc", None)  # by all areal features before by folds only
MASK = "brainmask_fs.2.nii.gz"
MOTION = "Movement_Regressors.txt"
SPACE = "MNI152NLin6Asym"  # MNINonLinear is FSL's MNI152


def find_hcp(source: Source) -> Found:
    """All candidates of a study's folder, a subject's, or single files in one.

    First choice: cleaned (ICA-FIX) before not, more cleanings before fewer, volumes before grayordinates, MSMAll before
    other registrations. Runs put end to end are passed over: their runs are there singly.
    """
    joined: list[str] = []

    def candidates_in(folder: Folder, _: Source, found: Found) -> Iterable[Candidate]:
        return _candidates(folder, found, joined)

    found = find_in_folders(source, _enter, candidates_in)
    if joined:
        found.notes.append(f"{len(joined)} folders of runs put end to end were passed over: {listed(joined, 5)}")
    return found


def _enter(parent: str, name: str) -> bool:
    """Only on the way to a run: subjects hold thousands of other files."""
    if "/MNINonLinear" not in f"/{parent}":
        return name not in ("T1w", "T2w", "unprocessed", "release-notes", "MEG")
    return name == "Results" if parent.endswith("MNINonLinear") else parent.endswith("/Results")


def _candidates(folder: Folder, found: Found, joined: list[str]) -> Iterable[Candidate]:
    place = RESULTS.search(folder.path)
    if place is None:
        return
    run = RUN.match(place["run"])
    if run is None:
        if JOINED_RUNS.match(place["run"]):
            joined.append(folder.name)
        return
    for file in sorted(folder.files):
        image = IMAGE.match(file.removeprefix(place["run"])) if file.startswith(place["run"]) else None
        if image is None or (image["atlas"] is None) != image["end"].startswith((".nii", ".nii.gz")):
            continue
        try:
            check_file(folder, file)
        except DataError as error:
            found.failures.append(failure_of(folder.path_of(file), error))
            continue
        yield _candidate(folder, file, place["subject"], run, image)


def _candidate(folder: Folder, file: str, subject: str, run: re.Match[str], image: re.Match[str]) -> Candidate:
    lifespan = LIFESPAN_SUBJECT.match(subject)
    kind: ScanKind = "cifti" if image["atlas"] else "nifti"
    task = "rest" if run["kind"] == "rfMRI" else run["task"]
    label = run["number"] + run["direction"] + (run["field"] or "").removeprefix("_")
    cleaned = (image["clean"] or "").count("clean")
    scan = Scan(
        path=folder.path_of(file),
        name=folder.name_of(file),
        kind=kind,
        subject=subject_id(lifespan["subject"] if lifespan else subject),
        session=lifespan["session"] if lifespan else "",
        task=task,
        run=label,
        space=SPACE if kind == "nifti" else "fsLR",
        mask=folder.path_of(MASK) if kind == "nifti" and MASK in folder.files else "",
        motion=folder.path_of(MOTION) if MOTION in folder.files else "",
        motion_kind="hcp" if MOTION in folder.files else "",
    )
    described = "".join(part.title() for part in re.split(r"_", (image["filter"] or "") + (image["clean"] or "")))
    entities = {"sub": scan.subject.removeprefix("sub-"), "ses": scan.session, "task": task, "run": label}
    entities |= {"dir": run["direction"], "space": scan.space}
    entities |= {"desc": (image["registration"] or "").removeprefix("_") + described}
    rank = (-cleaned, int(kind == "cifti"), REGISTRATIONS.index(image["registration"]), int(image["filter"] is None))
    return Candidate(scan, entities, rank, sidecar=None)
