"""Images in any folder, or single ones: what they are is said by their names, or by the user's pattern.

Names that follow BIDS mean what they mean there (``bids.py``), masks and confounds beside them included.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from brainlm.data.bids import entities_of
from brainlm.data.layouts.bids import (
    OF_INTEREST,
    candidate_of,
    companions,
    find_in_folders,
    kind_of,
    parsed,
    parts_without_whole,
)
from brainlm.data.layouts.candidates import Candidate
from brainlm.data.layouts.source import Found, Source
from brainlm.data.layouts.walking import Folder, check_file
from brainlm.data.planned import failure_of, listed
from brainlm.data.read import TABLE_SUFFIXES
from brainlm.data.scan import ScanKind
from brainlm.errors import DataError

IMAGE = re.compile(r"\.(nii\.gz|nii)$")
# Images that are no time series, by the last word of their names; and CIFTI files of other kinds.
NO_SERIES = re.compile(
    r"(^|[_.-])(mask|boldref|sbref|t1w?|t2w?|flair|dseg|aseg|probseg|dwi|epi|fieldmap|magnitude\d?|phasediff|mean"
    r"|mean_func|example_func|stdev|parcels|labels|atlas)\.(nii|nii\.gz)$"
    r"|\.(dlabel|dscalar|dconn|pconn|plabel|pscalar|pdconn|dpconn)\.nii$",
    re.IGNORECASE,
)


def find_plain(source: Source) -> Found:
    """All images in a folder and below, or single files."""
    passed_over: list[str] = []

    def candidates_in(folder: Folder, source: Source, found: Found) -> Iterable[Candidate]:
        passed_over.extend(folder.name_of(file) for file in sorted(folder.files) if _is_passed_over(file))
        return _candidates(folder, source, found)

    found = find_in_folders(source, lambda _, __: True, candidates_in)
    if passed_over and not source.files:
        found.notes.append(
            f"{len(passed_over)} files are no time series of images and were passed over (tables: `brainlm import`): "
            f"{listed(passed_over, 5)}"
        )
    return found


def _is_passed_over(file: str) -> bool:
    return NO_SERIES.search(file) is not None or (
        Path(file).suffix.lower() in TABLE_SUFFIXES and not OF_INTEREST.search(file) and file != "participants.tsv"
    )


def _candidates(folder: Folder, source: Source, found: Found) -> Iterable[Candidate]:
    beside = companions(parsed(folder.files))
    wanted = {path.name for path in source.files}
    if source.pattern is None:
        found.failures += parts_without_whole(folder, parsed(folder.files))
    for file, names in parsed(folder.files, IMAGE).items():
        if NO_SERIES.search(file) or (wanted and file not in wanted):
            continue
        path = folder.path_of(file)
        try:
            check_file(folder, file)
            said = entities_of(Path(path), source.pattern)
        except DataError as error:
            found.failures.append(failure_of(path, error))
            continue
        kind: ScanKind = "cifti" if path.endswith((".dtseries.nii", ".ptseries.nii")) else "nifti"
        if source.pattern is None and kind_of(names) is None and names.get("suffix") == "bold":
            continue  # a single echo, a phase, a map of a statistic
        candidate = candidate_of(folder, file, {"sub": "", **names}, kind, beside, root="")
        if source.pattern is not None:
            scan = replace(
                candidate.scan,
                subject=said.subject,
                session=said.session,
                task=said.task,
                run=said.run,
                site=said.site,
            )
            keys = {"sub": said.subject.removeprefix("sub-"), "ses": said.session, "task": said.task, "run": said.run}
            candidate = replace(candidate, scan=scan, entities={**candidate.entities, **keys})
        yield replace(candidate, standard=True)
