"""The inputs that a store left out, by reason: thousands of messages that differ in a name or number are one reason."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

PLACE = "…"  # stands for what differs from input to input
_VARIES = re.compile(r"[\d/\\'\"]")  # a word with one of these may be a number, a path or a name
_BETWEEN_SIGNS = re.compile(r"([(\[]*).*?([)\].,;:]*)")  # what stands before and after such a word stays
NUM_EXAMPLES = 3


@dataclass(frozen=True)
class ReasonGroup:
    """Inputs left out for one reason; what differs between their messages reads ``…``."""

    reason: str
    remedy: str
    num_inputs: int
    sources: tuple[str, ...]

    @property
    def examples(self) -> str:
        """The first inputs, and how many more there are."""
        more = self.num_inputs - NUM_EXAMPLES
        return ", ".join(self.sources[:NUM_EXAMPLES]) + (f", and {more} more" if more > 0 else "")


def group_reasons(exclusions: Sequence[Mapping[str, str]]) -> tuple[ReasonGroup, ...]:
    """The entries {source, reason, remedy} of a manifest by reason, the commonest first."""
    groups: dict[tuple[str, ...], list[Mapping[str, str]]] = {}
    for entry in exclusions:
        key = tuple(_place_of(word) if _VARIES.search(word) else word for word in _words(entry))
        groups.setdefault(key, []).append(entry)
    found = [
        ReasonGroup(
            reason=_common([_words(entry) for entry in entries]) if len(entries) > 1 else entries[0].get("reason", ""),
            remedy=_common([entry.get("remedy", "").split() for entry in entries]),
            num_inputs=len(entries),
            sources=tuple(entry.get("source", "") for entry in entries),
        )
        for entries in groups.values()
    ]
    return tuple(sorted(found, key=lambda group: -group.num_inputs))


def _words(entry: Mapping[str, str]) -> list[str]:
    """The reason's words, the input's own name taken out: it may hold spaces."""
    reason, source = entry.get("reason", ""), entry.get("source", "")
    for name in (source, PurePath(source).name):
        # A short name may be a part of ordinary words.
        reason = reason.replace(name, PLACE) if len(name) > 3 else reason
    return reason.split()


def _place_of(word: str) -> str:
    found = _BETWEEN_SIGNS.fullmatch(word)
    assert found is not None
    return found[1] + PLACE + found[2]


def _common(texts: Sequence[Sequence[str]]) -> str:
    """The words that all texts share, place by place; all of the first one if they differ in length."""
    if len({len(words) for words in texts}) > 1:
        return " ".join(texts[0])
    words = [column[0] if len(set(column)) == 1 else _place_of(column[0]) for column in zip(*texts, strict=True)]
    return " ".join(word for word, before in zip(words, ["", *words], strict=False) if (word, before) != (PLACE, PLACE))
