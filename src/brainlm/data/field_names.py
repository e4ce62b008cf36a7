"""Names that people give to the same thing (age, Age, AGE_AT_SCAN), so that one leads to the other.

Used by the messages about columns that are not there, and where a column is looked for by what it means.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

# Spelled as ``plain`` spells them. Sources: BIDS, ABIDE and ADHD-200 (Preprocessed Connectomes Project), ABCD, HCP.
FIELDS: Mapping[str, frozenset[str]] = {
    "age": frozenset({"age", "ageatscan", "ageyears", "ageinyears", "ageyrs", "agey", "ageatvisit", "ageatmri",
                      "scanage", "interviewage", "participantage"}),
    "sex": frozenset({"sex", "gender", "sexatbirth", "demosex", "biologicalsex"}),
    "site": frozenset({"site", "siteid", "sitename", "scansite", "scannersite", "acquisitionsite", "imagingsite",
                       "center", "centre"}),
    "dx": frozenset({"dx", "dxgroup", "diagnosis", "diagnosisgroup", "diagnosticgroup", "group"}),
    "mean_fd": frozenset({"meanfd", "funcmeanfd", "fdmean", "meanframewisedisplacement", "framewisedisplacementmean",
                          "meanfdjenkinson", "meanfdpower"}),
}  # fmt: skip
NUM_NAMED = 5


def plain(name: object) -> str:
    """A name without its capitals, blanks and punctuation: ``AGE_AT_SCAN`` is ``ageatscan``."""
    return "".join(letter for letter in str(name).casefold() if letter.isalnum())


def field_of(name: object) -> str:
    """What a column of this name usually means; "" where that is not known."""
    return next((field for field, names in FIELDS.items() if plain(name) in names), "")


def columns_of(field: str, names: Iterable[object]) -> list[str]:
    """The columns that mean ``field``; the one that is called so comes first."""
    found = [str(name) for name in names if field_of(name) == field]
    return sorted(found, key=lambda name: plain(name) != plain(field))


def nearest(word: str, names: Iterable[object]) -> str:
    """The names most like ``word`` in meaning or spelling, or the first ones, for a message."""
    known = [str(name) for name in names]
    spelled: dict[str, list[str]] = {}
    for name in known:
        spelled.setdefault(plain(name), []).append(name)
    close = difflib.get_close_matches(plain(word), spelled, n=3, cutoff=0.4)
    field = field_of(word)
    found = [
        *spelled.get(plain(word), []),
        *(columns_of(field, known) if field else []),
        *(name for key in close for name in spelled[key]),
    ]
    return ", ".join(list(dict.fromkeys(found))[:NUM_NAMED] or known[:NUM_NAMED]) or "none at all"
