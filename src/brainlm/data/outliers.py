"""Which recordings of a store stand out: by the spread of their signal, by how their parcels go together, as copies.

Robust z-scores within the store; nothing is left out here. The pictures of it are in ``report/store_figures.py``.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from brainlm.data.coverage import parts
from brainlm.data.store import Store
from brainlm.errors import ConfigError

MAX_READ = 2000  # recordings whose signals are read, unless more are asked for: about a minute
MAX_FOR_COHORT = 5000  # recordings that decide what spread is usual for a parcel
MAX_PARCELS = 600  # in the correlation matrices; of finer atlases every second, third, ... parcel
MIN_COHORT = 8  # with fewer recordings nobody can say what is usual
THRESHOLD = 3.5  # of the robust z-score (Iglewicz and Hoaglin 1993, How to Detect and Handle Outliers)
LEAST_RATIO = 1.2  # a spread or distance within 20 % of the usual never stands out, however alike the others are
FAR_RATIO = 1.5  # recordings beyond it do not decide how distance depends on length

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Usual:
    """Where most values lie: their median and 1.4826 times their median absolute deviation, the robust counterpart of
    the standard deviation. Both NaN where fewer than 8 values are known.
    """

    centre: float
    deviation: float

    @classmethod
    def of(cls, logarithms: Float64[np.ndarray, "N"]) -> Usual:
        """Of the logarithms of ratios; those that are NaN do not count."""
        known = logarithms[np.isfinite(logarithms)]
        if len(known) < MIN_COHORT:
            return cls(np.nan, np.nan)
        centre = float(np.median(known))
        deviation = float(1.4826 * np.median(np.abs(known - centre)))
        return cls(centre, max(deviation, math.log(LEAST_RATIO) / THRESHOLD))

    def z(self, values: Float64[np.ndarray, "N"]) -> Float64[np.ndarray, "N"]:
        """Robust z-scores."""
        return (values - self.centre) / self.deviation

    def ratio_at(self, z: float) -> float:
        """The ratio, no longer its logarithm, with this robust z-score."""
        return float(np.exp(self.centre + z * self.deviation))


@dataclass(frozen=True, eq=False)
class Outliers:
    """What stands out in a store of N recordings.

    Attributes:
        spread: median over parcels of standard deviation / the cohort's (the median recording's).
        spread_z: robust z-score of its logarithm; NaN in a store of fewer than 8.
        distance: root mean squared difference between the recording's correlation matrix and the cohort's mean, as a
            multiple of what is usual at its length; NaN where the signal was not read.
        distance_z: robust z-score of its logarithm.
        twin: position of the first recording with the same signal, whatever its units, else -1.
        read: whether the signal was read.
        num_parcels: in the correlation matrices.
        usual_spread, usual_distance: where the logarithms of most recordings lie.
    """

    spread: Float64[np.ndarray, "N"]
    spread_z: Float64[np.ndarray, "N"]
    distance: Float64[np.ndarray, "N"]
    distance_z: Float64[np.ndarray, "N"]
    twin: Int64[np.ndarray, "N"]
    read: Bool[np.ndarray, "N"]
    num_parcels: int
    usual_spread: Usual
    usual_distance: Usual

    @property
    def by_spread(self) -> Bool[np.ndarray, "N"]:
        """Wider or narrower than the others."""
        return np.abs(self.spread_z) > THRESHOLD

    @property
    def by_connectivity(self) -> Bool[np.ndarray, "N"]:
        """Farther from the cohort's mean than the others; to be nearer is no fault."""
        return self.distance_z > THRESHOLD

    @property
    def severity(self) -> Float64[np.ndarray, "N"]:
        """The larger of the two z-scores, infinite for copies: to rank by."""
        of_distance = np.nan_to_num(self.distance_z, nan=-np.inf)
        worse = np.fmax(np.abs(self.spread_z), of_distance)
        return np.where(self.twin >= 0, np.inf, np.nan_to_num(worse, nan=0.0))

    @property
    def flagged(self) -> Int64[np.ndarray, "K"]:
        """The positions of those that stand out, the worst first."""
        stands_out = self.by_spread | self.by_connectivity | (self.twin >= 0)
        ranked = np.argsort(-self.severity, kind="stable")
        return ranked[stands_out[ranked]]


def find_outliers(
    store: Store, *, max_read: int = MAX_READ, seed: int = 0, on_progress: Progress | None = None
) -> Outliers:
    """Compare each recording with the others of the store.

    Spread and copies are told from the statistics that the store holds of all recordings; for connectivity the signals
    are read, twice.

    Args:
        store: the recordings.
        max_read: read the signals of at most this many recordings, drawn at random; 0: of all.
        seed: of the draw.
        on_progress: called with (recordings read so far, how many in all, each counted twice).

    Raises:
        ConfigError: ``max_read`` is negative.
    """
    if max_read < 0:
        raise ConfigError(
            "--max_read is negative", expected="a number of recordings, or 0 for all", found=str(max_read)
        )
    spread_N = _spread(store)
    twin_N = np.full(len(store), -1, dtype=np.int64)
    for one, other in reversed(store.copies):
        twin_N[other] = one
    rows = drawn(len(store), max_read or len(store), seed=seed)
    columns = np.arange(0, store.num_parcels, -(-store.num_parcels // MAX_PARCELS))
    distance_M = _distances(store, rows, columns, on_progress)
    distance_N = np.full(len(store), np.nan)
    usual_M = _usual_distance(distance_M, store.num_timepoints[rows])
    comparable_M = (distance_M > 0) & (usual_M > 0)  # not of a single recording, nor of copies alone
    distance_N[rows[comparable_M]] = (distance_M / np.where(comparable_M, usual_M, 1))[comparable_M]
    read_N = np.zeros(len(store), dtype=bool)
    read_N[rows] = True
    spreads, distances = Usual.of(np.log(spread_N)), Usual.of(np.log(distance_N))
    return Outliers(
        spread=spread_N,
        spread_z=spreads.z(np.log(spread_N)),
        distance=distance_N,
        distance_z=distances.z(np.log(distance_N)),
        twin=twin_N,
        read=read_N,
        num_parcels=len(columns),
        usual_spread=spreads,
        usual_distance=distances,
    )


def drawn(num: int, at_most: int, *, seed: int) -> Int64[np.ndarray, "M"]:
    """All positions, or that many of them at random, in order."""
    if num <= at_most:
        return np.arange(num)
    return np.sort(np.random.default_rng(seed).choice(num, at_most, replace=False))


def _spread(store: Store) -> Float64[np.ndarray, "N"]:
    """Spread relative to the cohort's."""
    cohort = store.statistics_of(drawn(len(store), MAX_FOR_COHORT, seed=0)).std
    usual_P = _nanmedian(np.log(cohort), axis=0)
    found = []
    for rows in parts(store):
        statistics = store.statistics_of(rows)
        found.append(_nanmedian(np.log(statistics.std) - usual_P, axis=1))
    return np.exp(np.concatenate(found).astype(np.float64))


def _nanmedian(values: Float[np.ndarray, "N P"], *, axis: int) -> Float[np.ndarray, "M"]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="All-NaN slice")  # a parcel that nobody has stays NaN
        return np.asarray(np.nanmedian(values, axis=axis))


def correlations(bold_TP: Float[np.ndarray, "T P"]) -> Float32[np.ndarray, "P P"]:
    """Correlations between the parcels over time; NaN for those that have no signal or never change."""
    signal = np.asarray(bold_TP, dtype=np.float32)
    signal = signal - signal.mean(axis=0)
    length = np.linalg.norm(signal, axis=0)
    signal /= np.where(length > 0, length, np.nan)
    return signal.T @ signal


def _distances(
    store: Store, rows: Int64[np.ndarray, "M"], columns: Int64[np.ndarray, "C"], on_progress: Progress | None
) -> Float64[np.ndarray, "M"]:
    """Of each recording's correlations to their mean over these recordings, which is needed first: two passes."""

    def tell(done: int) -> None:
        if on_progress is not None and (done % 20 == 0 or done == 2 * len(rows)):
            on_progress(done, 2 * len(rows))

    total_CC = np.zeros((len(columns), len(columns)))
    count_CC = np.zeros((len(columns), len(columns)))
    for number, row in enumerate(rows):
        tell(number)
        found_CC = correlations(store.bold(row)[:, columns])
        count_CC += np.isfinite(found_CC)
        total_CC += np.nan_to_num(found_CC, copy=False)
    mean_CC = (total_CC / np.maximum(count_CC, 1)).astype(np.float32)
    distance_M = np.empty(len(rows))
    for number, row in enumerate(rows):
        tell(len(rows) + number)
        difference_CC = correlations(store.bold(row)[:, columns]) - mean_CC
        num_known = int(np.isfinite(np.diagonal(difference_CC)).sum())
        np.fill_diagonal(difference_CC, 0)
        squares = np.square(np.nan_to_num(difference_CC, copy=False)).sum(dtype=np.float64)
        distance_M[number] = np.sqrt(squares / (num_known * (num_known - 1))) if num_known > 1 else np.nan
    tell(2 * len(rows))
    return distance_M


def _usual_distance(
    distance_M: Float64[np.ndarray, "M"], num_timepoints_M: Int64[np.ndarray, "M"]
) -> Float64[np.ndarray, "M"]:
    """The distance that is usual at each length.

    Squared, it is what people differ by plus the sampling error of correlations, which falls as 1 / T: short recordings
    lie farther from the mean by chance alone.
    """
    squared, inverse = distance_M**2, 1 / num_timepoints_M
    kept = np.isfinite(squared)
    if not kept.any():
        return np.full(len(squared), np.nan)
    usual = np.full(len(squared), np.median(squared[kept]))
    for _ in range(2):  # the second time without the recordings that lie far off the first line
        if kept.sum() < MIN_COHORT or np.ptp(inverse[kept]) < 1e-3 * inverse[kept].max():
            break
        slope, level = np.polyfit(inverse[kept], squared[kept], 1)
        if slope <= 0 or level <= 0:
            break
        usual = level + slope * inverse
        kept &= squared < FAR_RATIO**2 * usual
    return np.sqrt(usual)
