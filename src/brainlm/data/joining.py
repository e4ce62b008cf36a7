"""What is known about a recording from elsewhere, put together with what its file says; contradictions are refused.

The participants table is read in ``bids.py``; plans become a store in ``planned.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from brainlm.data.bids import Participants
from brainlm.data.planned import PlannedRecording
from brainlm.data.splits import SplitRule
from brainlm.errors import Failure


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
    site = people.site_of(plan.subject, said=plan.site, origin=plan.origin)
    return replace(plan, site=site, phenotypes={**plan.phenotypes, **people.phenotypes.get(plan.subject, {})})
