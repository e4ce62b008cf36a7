"""The same person under two spellings: which ids of a table belong to which subjects or sessions of recordings.

A looser rule is only used where it gives a one-to-one match, and what it removed is told to the user.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

PREFIXES = {"sub": r"sub(ject|j)?", "ses": r"ses(sion)?"}
ALL_FLOAT = re.compile(r"(\d+)\.0+")  # pandas made floats of numbers
LEADING_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")


@dataclass(frozen=True, eq=False)
class IdMatch:
    """``ids`` has, for every recorded name that the table knows, all spellings of it there; ``removed`` says how."""

    ids: Mapping[str, tuple[str, ...]]
    removed: tuple[str, ...] = ()

    @property
    def how(self) -> str:
        """For a message; empty where the ids are equal."""
        if not self.removed:
            return ""
        *others, last = self.removed
        return "after removing " + (f"{', '.join(others)} and {last}" if others else last)


def match_ids(recorded: Iterable[str], listed: Iterable[str], *, prefix: str = "sub") -> IdMatch:
    """Match ``recorded`` names (``sub-0050232``) with the ids of a table (``50232``).

    Three rules, each looser than the one before: equal apart from ``sub-``; equal without ``sub`` in any spelling,
    punctuation, capitals and a ``.0`` behind a whole number; then without zeros in front of digits. The first that
    matches most is taken; the second and third only if no two ids, and no two recorded names, become the same.
    """
    recorded, listed = sorted(set(recorded)), sorted(set(listed) - {""})
    best = IdMatch({})
    for level, key in enumerate((_bare, _without_punctuation, _without_zeros)):
        ids = _pairs(recorded, listed, key, prefix, is_one_to_one=level > 0)
        if ids is not None and len(ids) > len(best.ids):
            best = IdMatch(ids, _removed(ids, prefix) if level else ())
    return best


def _pairs(
    recorded: Iterable[str],
    listed: Iterable[str],
    key: Callable[[str, str], str],
    prefix: str,
    *,
    is_one_to_one: bool,
) -> dict[str, tuple[str, ...]] | None:
    """By recorded name the ids with the same key; None if that is not one to one."""
    by_key: dict[str, list[str]] = defaultdict(list)
    for name in listed:
        by_key[key(name, prefix)].append(name)
    ids = {name: tuple(found) for name in recorded if (found := by_key.get(key(name, prefix)))}
    # `sub-01` and `01` are one person by the first rule, which is BIDS; more than that is never joined.
    is_single = all(len({_bare(name, prefix) for name in names}) == 1 for names in ids.values())
    if is_one_to_one and not (is_single and len({key(name, prefix) for name in ids}) == len(ids)):
        return None
    return ids


def _bare(name: str, prefix: str) -> str:
    return name.strip().removeprefix(f"{prefix}-")


def _without_punctuation(name: str, prefix: str) -> str:
    whole = ALL_FLOAT.fullmatch(_bare(name, prefix))
    text = whole[1] if whole else re.sub(rf"^{PREFIXES[prefix]}[-_ .]?(?=\w)", "", name.strip(), flags=re.IGNORECASE)
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def _without_zeros(name: str, prefix: str) -> str:
    return LEADING_ZEROS.sub("", _without_punctuation(name, prefix))


def _removed(ids: Mapping[str, tuple[str, ...]], prefix: str) -> tuple[str, ...]:
    """What had to be removed from at least one of the pairs, in words."""
    pairs = [(_bare(name, prefix), _bare(one, prefix)) for name, names in ids.items() for one in names]
    pairs = [(name, one) for name, one in pairs if name != one]
    found = [f"'{prefix}-'"]  # which all recorded names have
    if any(ALL_FLOAT.fullmatch(one) for _, one in pairs):
        found.append("'.0'")
    if any(re.search(r"[\W_]", ALL_FLOAT.sub(r"\1", text)) for pair in pairs for text in pair):
        found.append("punctuation")
    if any(name.casefold() == one.casefold() for name, one in pairs):
        found.append("capitals")
    if any(_without_punctuation(name, prefix) != _without_punctuation(one, prefix) for name, one in pairs):
        found.append("leading zeros")
    return tuple(found)
