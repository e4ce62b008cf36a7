"""The split that others' data came in: their folders for training, validation and testing, kept where that is sound.

Where people are in more than one of them, nobody's split is kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from brainlm.data.planned import PlannedRecording, listed
from brainlm.data.splits import SplitRule

PART_COLUMN = "source_split"  # which of the source's folders a recording was in
# What their folders are called, by the split that they are.
PARTS = {
    "train": re.compile(r"(train|training)(?![a-z])", re.IGNORECASE),
    "validation": re.compile(r"(val|valid|validation|dev)(?![a-z])", re.IGNORECASE),
    "test": re.compile(r"test(?![a-z])", re.IGNORECASE),
}


@dataclass(frozen=True, eq=False)
class TheirSplit:
    """The recordings, each in the split its source says, if any; the rule for the others, None for the usual one."""

    planned: Sequence[PlannedRecording]
    rule: SplitRule | None = None
    notes: Sequence[str] = ()


def their_split(planned: Sequence[PlannedRecording], parts: Sequence[str]) -> TheirSplit:
    """Their training, validation and test people as they are, if there is a part to test on and nobody is in two."""
    if len(parts) < 2:
        return TheirSplit(planned)
    splits = {part: _split_named(part) for part in parts}
    if None in splits.values() or "test" not in splits.values():
        note = f"people of {listed(parts)} are divided anew; where they were is in the column {PART_COLUMN}"
        return TheirSplit(planned, notes=[note])
    split_of: dict[str, str | None] = {}
    crossing = set()
    for plan in planned:
        own = splits[str(plan.phenotypes[PART_COLUMN])]
        if split_of.setdefault(plan.subject, own) != own:
            crossing.add(plan.subject)
    if crossing:
        note = (
            f"{len(crossing)} people are in more than one of {listed(parts)}, so all are divided anew: "
            f"{listed(sorted(crossing))}"
        )
        return TheirSplit(planned, notes=[note])
    if "test" not in split_of.values():
        return TheirSplit(planned)
    # Without people to validate on, some of the training ones are drawn; nobody is added to the test split.
    drawn = "validation" not in split_of.values()
    kept = [
        plan if drawn and split_of[plan.subject] == "train" else replace(plan, split=split_of[plan.subject] or "")
        for plan in planned
    ]
    how = "validation is drawn from those for training" if drawn else "exactly"
    note = f"people keep the split of {listed(parts)} ({how}; --split divides them otherwise)"
    return TheirSplit(kept, replace(SplitRule(), test=0.0), [note])


def _split_named(part: str) -> str | None:
    """The split that the name of a part means, None if none."""
    name = part.rsplit("/", 1)[-1]
    return next((split for split, pattern in PARTS.items() if pattern.match(name)), None)
