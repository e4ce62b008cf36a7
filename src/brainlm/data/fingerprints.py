"""A short fingerprint of a recording's signal, by which copies of it are recognised in this store and in others.

It holds the ranks of each parcel's first 64 changes from one time point to the next, projected onto 64 vectors of
random signs. Offsets, scales and rounding to float16 change it little, and the signal cannot be computed back from it.
Found are copies with other names, units, z-scoring or stored type, and copies that end earlier, but not before time
point 65. Not found are copies cut at the beginning, of other parcels, or filtered, cleaned or resampled otherwise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# A change of these numbers makes others of all fingerprints: those in stores and runs need another name then.
NUM_CHANGES = 64
NUM_PROJECTIONS = 64  # one byte each
STEPS_PER_SD = 24
LEAST_VALUES = 128  # ranks; of fewer, different recordings may be alike by chance
LEAST_CORRELATION = 0.8  # of the ranks of two recordings that count as copies; different ones stay below .2
UNKNOWN = "00" * NUM_PROJECTIONS  # of recordings too short to have one: they are copies of nothing
ROWS_AT_A_TIME = 500


def fingerprint_of(bold_TP: Float[np.ndarray, "T P"]) -> str:
    """The fingerprint of a recording as 128 hexadecimal digits; parcels without signal (NaN) do not count."""
    changes_PT = np.diff(np.asarray(bold_TP[: NUM_CHANGES + 1], dtype=np.float32).T, axis=1)
    counts_P = np.isfinite(changes_PT).all(axis=1) & (np.ptp(changes_PT, axis=1) > 0) if changes_PT.size else []
    num_values = int(np.sum(counts_P)) * changes_PT.shape[1]
    if num_values < LEAST_VALUES:
        return UNKNOWN
    ranks_PT = changes_PT.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable").astype(np.float32)
    ranks_PT -= (changes_PT.shape[1] - 1) / 2
    ranks_PT[~np.asarray(counts_P)] = 0.0
    projections = ranks_PT.T.reshape(-1) @ _signs(changes_PT.shape[0])[: ranks_PT.size]
    steps = np.clip(np.round(projections / np.linalg.norm(ranks_PT) * STEPS_PER_SD), -127, 127)
    return steps.astype(np.int8).tobytes().hex()


def pairs_of_copies(fingerprints: Sequence[str]) -> Int64[np.ndarray, "K 2"]:
    """The positions of all pairs of equal recordings, the earlier one first."""
    steps_NK = _steps(fingerprints)
    found = [np.empty((0, 2), np.int64)]
    for first in range(0, len(steps_NK), ROWS_AT_A_TIME):
        close = _close(steps_NK[first : first + ROWS_AT_A_TIME], steps_NK[first:])
        found.append(np.argwhere(np.triu(close, k=1)) + first)
    return np.concatenate(found)


def are_among(fingerprints: Sequence[str], others: Sequence[str]) -> Bool[np.ndarray, "N"]:
    """Which of the recordings are copies of one of the others."""
    steps_NK, others_MK = _steps(fingerprints), _steps(others)
    parts = [
        _close(steps_NK[first : first + ROWS_AT_A_TIME], others_MK).any(axis=1)
        for first in range(0, len(steps_NK), ROWS_AT_A_TIME)
    ]
    return np.concatenate([np.empty(0, bool), *parts])


def joined(names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """For each name the smallest of those that pairs join it with, directly or through others; itself if none."""
    distinct = sorted({*names, *(name for pair in pairs for name in pair)})
    number = {name: position for position, name in enumerate(distinct)}
    ends = np.array([[number[one], number[other]] for one, other in pairs], dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(distinct), len(distinct)))
    _, labels = connected_components(graph, directed=False)
    first: dict[int, str] = {}
    return {name: first.setdefault(int(label), name) for name, label in zip(distinct, labels, strict=True)}


@lru_cache(maxsize=4)
def _signs(num_parcels: int) -> Float32[np.ndarray, "V K"]:
    """Random signs that are the same on every machine and with every version of numpy."""
    num = NUM_CHANGES * num_parcels * NUM_PROJECTIONS
    bits = np.frombuffer(hashlib.shake_128(b"brainlm fingerprint").digest(-(-num // 8)), np.uint8)
    return (2 * np.unpackbits(bits)[:num].astype(np.float32) - 1).reshape(-1, NUM_PROJECTIONS)


def _steps(fingerprints: Sequence[str]) -> Float32[np.ndarray, "N K"]:
    joined_bytes = bytes.fromhex("".join(fingerprints))
    return np.frombuffer(joined_bytes, np.int8).astype(np.float32).reshape(-1, NUM_PROJECTIONS)


def _close(one_NK: Float32[np.ndarray, "N K"], other_MK: Float32[np.ndarray, "M K"]) -> Bool[np.ndarray, "N M"]:
    """Where the squared distance is at most what ranks of the least correlation have on average."""
    one_N, other_M = (one_NK**2).sum(axis=1), (other_MK**2).sum(axis=1)
    squared_NM = one_N[:, None] + other_M - 2 * one_NK @ other_MK.T
    most = 2 * (1 - LEAST_CORRELATION) * NUM_PROJECTIONS * STEPS_PER_SD**2
    return np.asarray((squared_NM <= most) & (one_N[:, None] > 0) & (other_M > 0))
