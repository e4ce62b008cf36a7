"""What is known about a recording from elsewhere, put together with what its file says; contradictions are refused.

The participants table is read in ``bids.py``; plans become a store in ``planned.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from brainlm.data.bids import Participants
from brainlm.data.planned import PlannedRecording, listed
from brainlm.data.splits import SplitRule
from brainlm.errors import DataError, Failure


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


def with_participant(plan: PlannedRecording, people: Participants) -> PlannedRecording:
    """The plan with its participant's site and phenotypes.

    Raises:
        DataError: the participant has contradicting lines, or another site than the recording.
    """
    if plan.subject in people.contradictory:
        raise DataError(
            f"{plan.origin}: its participant is in the table more than once, with different values",
            expected=f"one line for {plan.subject} in {people.path}",
            found="several that differ",
            remedy="remove all but the right one",
        )
    site = people.site.get(plan.subject, "")
    if site and plan.site and site != plan.site:
        raise DataError(
            f"{plan.origin}: two sources contradict each other about the site",
            expected="one value",
            found=f"{plan.site} in the path, {site} in {people.path}",
            remedy="correct the one that is wrong",
        )
    return replace(
        plan, site=site or plan.site, phenotypes={**plan.phenotypes, **people.phenotypes.get(plan.subject, {})}
    )


def notes_on_people(planned: Sequence[PlannedRecording], people: Participants) -> list[str]:
    """Who of the participants table has no recording, and who has recordings but is not in the table."""
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
