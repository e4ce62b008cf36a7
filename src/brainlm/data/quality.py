"""How good a scan was: volumes, motion, signal to noise and coverage, as they stand in a store's columns.

They are measured in ``processing.py``; tables that are imported have none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32

from brainlm.data.read import Signal

# A store has all of these columns or none; what is not known of a recording is null.
QUALITY_COLUMNS: Mapping[str, Literal["int64", "float64"]] = {
    "num_volumes": "int64",
    "num_censored": "int64",
    "mean_fd": "float64",
    "max_fd": "float64",
    "tsnr": "float64",
    "coverage": "float64",
}
PARCEL_COVERAGE = "parcel_coverage"  # one number a parcel; NaN throughout where it is not known


@dataclass(frozen=True, eq=False)
class Quality:
    """What is known of one scan beside its signal.

    Attributes:
        num_volumes: of the scan as it came.
        num_censored: of these, left out for motion.
        mean_fd: mean framewise displacement in mm over all volumes; NaN where the motion is not known.
        max_fd: the largest one.
        tsnr: median over parcels of mean / standard deviation in time, before cleaning; NaN for tables.
        parcel_coverage: share of each parcel's atlas voxels that have signal, 0 to 1.
    """

    num_volumes: int
    num_censored: int
    mean_fd: float
    max_fd: float
    tsnr: float
    parcel_coverage: Float32[np.ndarray, "P"]

    @property
    def coverage(self) -> float:
        """The mean over parcels."""
        return float(self.parcel_coverage.mean(dtype=np.float64))

    @property
    def columns(self) -> dict[str, int | float]:
        """The value of each of ``QUALITY_COLUMNS``."""
        return {name: getattr(self, name) for name in QUALITY_COLUMNS}


@dataclass(frozen=True, eq=False)
class MeasuredSignal(Signal):
    """A signal of which it is known how good the scan was."""

    quality: Quality | None = None
