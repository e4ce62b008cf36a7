"""How much of each parcel the recordings of a store have seen, a part of the store at a time.

Where it is measured, and what else is known of a scan, is in ``quality.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from brainlm.data.store import Store

RECORDINGS_AT_A_TIME = 1000  # bounds the memory, whatever the store's size


@dataclass(frozen=True, eq=False)
class Coverage:
    """Per parcel, over the recordings of a store.

    Attributes:
        share: mean share of the parcel's atlas voxels that have signal; where the store does not know it, the share of
            the recordings in which the parcel has signal. 0 to 1.
        num_measured: recordings whose coverage was measured; 0 where the store does not know it.
        num_without_signal: recordings in which the parcel is not valid.
        num_incomplete: recordings in which any parcel is not valid.
    """

    share: Float64[np.ndarray, "P"]
    num_measured: int
    num_without_signal: Int64[np.ndarray, "P"]
    num_incomplete: int


def parts(store: Store) -> Iterator[Int64[np.ndarray, "M"]]:
    """The positions of all recordings in order, a thousand at a time."""
    for start in range(0, len(store), RECORDINGS_AT_A_TIME):
        yield np.arange(start, min(start + RECORDINGS_AT_A_TIME, len(store)))


def coverage_of(store: Store) -> Coverage:
    """The coverage of each parcel: measured where the store has it, else whether there is signal."""
    total_P = np.zeros(store.num_parcels)
    without_P = np.zeros(store.num_parcels, dtype=np.int64)
    num_measured = num_incomplete = 0
    for rows in parts(store):
        missing_NP = np.isnan(store.statistics_of(rows).std)
        without_P += missing_NP.sum(axis=0)
        num_incomplete += int(missing_NP.any(axis=1).sum())
        if store.quality_columns:
            covered_NP = store.take(rows).parcel_coverage
            known_NP = covered_NP[np.isfinite(covered_NP).all(axis=1)]
            total_P += known_NP.sum(axis=0, dtype=np.float64)
            num_measured += len(known_NP)
    share_P = total_P / num_measured if num_measured else 1 - without_P / max(len(store), 1)
    return Coverage(share_P, num_measured, without_P, num_incomplete)
