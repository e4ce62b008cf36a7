"""Which parcels are the same place in the left and in the right half of the brain.

The two are nearly one observation: whoever cuts an atlas into parts, for folds or for resampling, keeps them together.
The table itself is read in ``parcels.py``.

Shapes: P parcels, Q pairs that could be.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from brainlm.data.parcels import Parcels

# Pairs that are named so lie up to 11.7 mm (A424) and 12.8 mm (MIST-122) from each other once one is mirrored.
NAMED_MM = 15.0
# Where this share of the pairs of one name lie that close, names mean places. Elsewhere (Schaefer's atlases) they only
# number the parcels of each half.
TRUSTED_SHARE = 0.9
# Neighbours lie 17 mm apart in CC200 (median): much beyond half of that, the mirror image is rather another parcel.
MIRRORED_MM = 12.0
MIDLINE_MM = 5.0  # centres closer to the middle than this belong to parcels of both halves, or to none

_SIDES = {"left": "right", "lh": "rh", "l": "r", "right": "left", "rh": "lh", "r": "l"}
_SIDE = re.compile(r"(?<![a-z0-9])(left|right|lh|rh|l|r)(?![a-z0-9])")


@dataclass(frozen=True, eq=False)
class Homologues:
    """Parcels in groups of two (one of the left half and its counterpart in the right) or of one (all others).

    Attributes:
        group_P: the number of each parcel's group, counted from 0 in the order of their first parcels.
        num_pairs: how many groups are of two.
        how: where the pairs come from, as a clause for reports ("names", "mirrored coordinates", ...).
    """

    group_P: Int64[np.ndarray, "P"]
    num_pairs: int
    how: str


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Pairs of parcels, the smaller position first, and how far one is from the other's mirror image (mm)."""

    pairs_Q2: Int64[np.ndarray, "Q 2"]
    distance_Q: Float64[np.ndarray, "Q"]

    def __len__(self) -> int:
        return len(self.distance_Q)

    def where(self, keep_Q: Bool[np.ndarray, "Q"]) -> _Pairs:
        return _Pairs(self.pairs_Q2[keep_Q], self.distance_Q[keep_Q])


def homologues(parcels: Parcels) -> Homologues:
    """The left-right pairs of an atlas.

    Names come first: two parcels whose names differ in the side alone (``L_V1`` and ``R_V1``, ``Left_IX`` and
    ``Right_IX``, ``rHipp_L`` and ``rHipp_R``, ``V1-lh`` and ``V1-rh``) are a pair if one lies within ``NAMED_MM`` of
    the other's mirror image, the closest first where several have one name; names are left aside altogether if that
    holds for less than ``TRUSTED_SHARE`` of their pairs. Of what remains, parcels on the two sides of the midline are a
    pair if they lie within ``MIRRORED_MM`` after mirroring, again the closest first, so that as few as possible are
    left without the one they overlap with. Without coordinates names decide alone.
    """
    named = _named(parcels)
    is_near_Q = named.distance_Q <= NAMED_MM
    named = named.where(is_near_Q & (is_near_Q.mean() >= TRUSTED_SHARE if len(named) else True))
    free = np.setdiff1d(np.arange(len(parcels)), named.pairs_Q2)
    mirrored = _mirrored(parcels, free)
    first_P = np.arange(len(parcels))
    for pairs_Q2 in (named.pairs_Q2, mirrored.pairs_Q2):
        first_P[pairs_Q2[:, 1]] = pairs_Q2[:, 0]
    group_P = np.unique(first_P, return_inverse=True)[1].astype(np.int64)
    return Homologues(group_P, len(named) + len(mirrored), how=_how(len(named), len(mirrored)))


def _named(parcels: Parcels) -> _Pairs:
    names = [str(name).lower() for name in parcels.table["name"]]
    called = defaultdict(list)
    for parcel, name in enumerate(names):
        called[name].append(parcel)
    pairs = {
        (parcel, other)
        for parcel, name in enumerate(names)
        for counterpart in _counterparts(name)
        for other in called.get(counterpart, [])
        if parcel < other
    }
    return _one_to_one(_measured(sorted(pairs), parcels))


def _counterparts(name: str) -> list[str]:
    """The name with one word for a side turned into the other side's, for each such word in it."""
    return [name[: side.start()] + _SIDES[side.group()] + name[side.end() :] for side in _SIDE.finditer(name)]


def _mirrored(parcels: Parcels, free: Int64[np.ndarray, "_"]) -> _Pairs:
    """Pairs of parcels in ``free`` that lie close to each other once one is mirrored, the closest first."""
    if not parcels.has_coordinates:
        return _measured([], parcels)
    x_P = parcels.coordinates[free, 0]
    left, right = free[x_P < -MIDLINE_MM].tolist(), free[x_P > MIDLINE_MM].tolist()
    every = _measured([(min(a, b), max(a, b)) for a in left for b in right], parcels)
    return _one_to_one(every.where(every.distance_Q <= MIRRORED_MM))


def _measured(pairs: list[tuple[int, int]], parcels: Parcels) -> _Pairs:
    """Nearest first; in the order given where there are no coordinates."""
    pairs_Q2 = np.array(pairs, np.int64).reshape(-1, 2)
    distance_Q = np.zeros(len(pairs_Q2))
    if parcels.has_coordinates:
        place_P3 = parcels.coordinates.astype(np.float64)
        distance_Q = np.linalg.norm(place_P3[pairs_Q2[:, 0]] * [-1, 1, 1] - place_P3[pairs_Q2[:, 1]], axis=1)
    order = np.argsort(distance_Q, kind="stable")
    return _Pairs(pairs_Q2[order], distance_Q[order])


def _one_to_one(pairs: _Pairs) -> _Pairs:
    """Each parcel in one pair at most; the first ones stay."""
    taken: set[int] = set()
    keep_Q = np.zeros(len(pairs), dtype=bool)
    for number, pair in enumerate(pairs.pairs_Q2.tolist()):
        if taken.isdisjoint(pair):
            keep_Q[number] = True
            taken.update(pair)
    return pairs.where(keep_Q)


def _how(num_named: int, num_mirrored: int) -> str:
    if num_named and num_mirrored:
        return f"names ({num_named}) and mirrored coordinates ({num_mirrored})"
    if num_named or num_mirrored:
        return "names" if num_named else "mirrored coordinates"
    return "no pair was found"
