"""Per-recording, per-parcel statistics: computed once when a recording is stored, used whenever it is scaled.

What scaling does with them is in ``scaling.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32


@dataclass(frozen=True, eq=False)
class RecordingStatistics:
    """Median, mean and standard deviation over time of each parcel of N recordings, in the recordings' own units.

    NaN where the parcel has no signal in that recording. The deviation is the population one (divided by T).
    """

    median: Float32[np.ndarray, "N P"]
    mean: Float32[np.ndarray, "N P"]
    std: Float32[np.ndarray, "N P"]


def recording_statistics(bold_TP: Float[np.ndarray, "T P"]) -> RecordingStatistics:
    """The statistics of one recording (N = 1), computed in float64 and kept as float32."""
    # float64, because the sum of squares of raw scanner units around 10,000 exhausts float32.
    bold = np.asarray(bold_TP, dtype=np.float64)
    return RecordingStatistics(
        median=np.median(bold, axis=0)[None].astype(np.float32),
        mean=bold.mean(axis=0)[None].astype(np.float32),
        std=bold.std(axis=0)[None].astype(np.float32),
    )


def constant_parcels(bold_TP: Float[np.ndarray, "T P"]) -> Bool[np.ndarray, "P"]:
    """True for the parcels that never change: they carry no signal and cannot be scaled."""
    return np.asarray(bold_TP.max(axis=0) == bold_TP.min(axis=0))
