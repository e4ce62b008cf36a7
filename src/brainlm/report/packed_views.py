"""Puts interactive views into a page: what they share once, the rest of each beside it, all compressed.

A browser unpacks a view when its fold is opened (the script is in ``base.html``); ``brain_views.py`` makes the views.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PackedViews:
    """Documents as gzip in base64: each is ``shared`` of its kind followed by its own ``rests``.

    ``kind_of`` holds for each document the position of what it starts with in ``shared``.
    """

    shared: tuple[str, ...]
    kind_of: tuple[int, ...]
    rests: tuple[str, ...]


def pack(documents: Sequence[str]) -> PackedViews:
    """The documents by what they start with: views of one kind differ in their last part only, their colours."""
    kinds: list[list[str]] = []
    kind_of = []
    for document in documents:
        place = next((n for n, kind in enumerate(kinds) if _share_much(kind[0], document)), None)
        if place is None:
            kinds.append([document])
        else:
            kinds[place].append(document)
        kind_of.append(len(kinds) - 1 if place is None else place)
    starts = [_common_start(kind) for kind in kinds]
    rests = [document[len(starts[place]) :] for document, place in zip(documents, kind_of, strict=True)]
    return PackedViews(
        tuple(_packed(start) for start in starts), tuple(kind_of), tuple(_packed(rest) for rest in rests)
    )


def _share_much(one: str, other: str) -> bool:
    return len(_common_start([one, other])) > min(len(one), len(other)) // 4


def _common_start(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)  # all others lie between these in the alphabet
    pairs = zip(first, last, strict=False)
    return first[: next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(first), len(last)))]


def _packed(text: str) -> str:
    # Without the time of packing: same views, same bytes.
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
