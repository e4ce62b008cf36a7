"""XCP-D's derivatives: named as BIDS says, but with runs put end to end, which are no recordings of their own.

Images, tables and motion files are found as in ``bids.py``; denoised images come before anything else there.
"""

from __future__ import annotations

from collections.abc import Iterable

from brainlm.data.layouts.bids import find_bids
from brainlm.data.layouts.candidates import Candidate
from brainlm.data.layouts.source import Found, Source


def find_xcpd(source: Source) -> Found:
    """All candidates of XCP-D's output; of a task with single runs, its runs put end to end are passed over."""
    found = find_bids(source)
    single = {_task(item) for item in found.candidates if item.scan.run}
    joined = [item for item in found.candidates if not item.scan.run and _task(item) in single]
    if joined:
        passed_over = {id(item) for item in joined}
        found.candidates = [item for item in found.candidates if id(item) not in passed_over]
        found.notes.append(
            f"{_count(joined)} recordings put end to end from several runs (--combine-runs) were passed over: their "
            "runs are there singly"
        )
    return found


def _task(candidate: Candidate) -> tuple[str, str, str]:
    return candidate.scan.subject, candidate.scan.session, candidate.scan.task


def _count(candidates: Iterable[Candidate]) -> int:
    return len({item.scan.recording_name for item in candidates})
