"""From one map a recording to one a subject, and intervals of what is averaged over subjects.

Shapes: N recordings, S subjects, P parcels, R resamples. NaN is a parcel without signal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Float, Float64, Int64
from scipy.stats import rankdata

from brainlm.data.splits import bare_subject
from brainlm.evaluation.statistics import Interval, SubjectBootstrap


@dataclass(frozen=True, eq=False)
class Subjects:
    """Who the recordings are of: names in order (``sub-01`` and ``01`` are one), and the number of each recording's."""

    names: tuple[str, ...]
    subject_N: Int64[np.ndarray, "N"]

    @classmethod
    def of(cls, metadata: pd.DataFrame) -> Subjects:
        """The subjects of a store's recordings."""
        names, subject_N = np.unique(metadata["subject"].map(bare_subject).astype(str), return_inverse=True)
        return cls(tuple(map(str, names)), subject_N.astype(np.int64))

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def recordings(self) -> list[Int64[np.ndarray, "_"]]:
        """The positions of each subject's recordings."""
        order_N = np.argsort(self.subject_N, kind="stable")
        ends = np.cumsum(np.bincount(self.subject_N, minlength=len(self)))
        return np.split(order_N, ends[:-1])

    def means(self, values_NP: Float[np.ndarray, "N P"]) -> Float64[np.ndarray, "S P"]:
        """The mean map of each subject's recordings."""
        return np.stack([mean_map(values_NP[rows]) for rows in self.recordings])


def mean_map(maps_NP: Float[np.ndarray, "N P"]) -> Float64[np.ndarray, "P"]:
    """The mean over the first axis of what is not NaN; NaN where nothing is."""
    known_NP = np.isfinite(maps_NP)
    count_P = known_NP.sum(axis=0)
    sums_P = np.where(known_NP, maps_NP, 0.0).sum(axis=0, dtype=np.float64)
    return np.where(count_P > 0, sums_P / np.maximum(count_P, 1), np.nan)


def resampled_maps(resamples: SubjectBootstrap, maps_SP: Float64[np.ndarray, "S P"]) -> Float64[np.ndarray, "R P"]:
    """The mean map of each resample of the subjects."""
    known_SP = np.isfinite(maps_SP)
    sums_RP = resamples.counts_RS @ np.where(known_SP, maps_SP, 0.0)
    count_RP = resamples.counts_RS @ known_SP.astype(np.float64)
    return np.where(count_RP > 0, sums_RP / np.maximum(count_RP, 1), np.nan)


def map_intervals(resamples: SubjectBootstrap, maps_SP: Float64[np.ndarray, "S P"]) -> list[Interval]:
    """The mean of every parcel with its interval over subjects."""
    means_RP = resampled_maps(resamples, maps_SP)
    return [
        resamples.interval_of(float(mean), means_R) for mean, means_R in zip(mean_map(maps_SP), means_RP.T, strict=True)
    ]


def rank_correlation(
    resamples: SubjectBootstrap, maps_SP: Float64[np.ndarray, "S P"], others_SP: Float64[np.ndarray, "S P"]
) -> Interval:
    """Spearman's correlation over parcels of two group maps of the same subjects, both averaged over each resample.

    Ranks, because attention is skewed: two or three parcels would decide a plain correlation.
    """
    first_P, second_P = mean_map(maps_SP), mean_map(others_SP)
    values_R = spearman(resampled_maps(resamples, maps_SP), resampled_maps(resamples, others_SP))
    return resamples.interval_of(float(spearman(first_P[None], second_P[None])[0]), values_R)


def spearman(first_RP: Float64[np.ndarray, "R P"], second_RP: Float64[np.ndarray, "R P"]) -> Float64[np.ndarray, "R"]:
    """Spearman's correlation of each pair of rows over the parcels that all rows know; NaN where a row is constant."""
    known_P = np.isfinite(first_RP).all(axis=0) & np.isfinite(second_RP).all(axis=0)
    if known_P.sum() < 2:
        return np.full(len(first_RP), np.nan)
    ranks = [rankdata(rows_RP[:, known_P], axis=1) for rows_RP in (first_RP, second_RP)]
    centred = [rows_RP - rows_RP.mean(axis=1, keepdims=True) for rows_RP in ranks]
    spread_R = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    return np.where(spread_R > 0, (centred[0] * centred[1]).sum(axis=1) / np.where(spread_R > 0, spread_R, 1), np.nan)


def consistency(resamples: SubjectBootstrap, maps_SP: Float64[np.ndarray, "S P"]) -> Interval:
    """How alike subjects are: the mean rank correlation of a subject's map with the mean map of all others."""
    if len(maps_SP) < 2:
        return Interval(math.nan)
    known_SP = np.isfinite(maps_SP)
    values_SP, count_SP = np.where(known_SP, maps_SP, 0.0), known_SP.sum(axis=0) - known_SP
    sums_SP = values_SP.sum(axis=0) - values_SP
    others_SP = np.where(count_SP > 0, sums_SP / np.maximum(count_SP, 1), np.nan)
    r_S = np.array([spearman(own[None], rest[None])[0] for own, rest in zip(maps_SP, others_SP, strict=True)])
    known_S = np.isfinite(r_S)
    sums_S2 = np.stack([np.where(known_S, r_S, 0.0), known_S.astype(np.float64)], axis=1)
    return resamples.interval(sums_S2, mean_of_sums)


def mean_of_sums(sums: Float64[np.ndarray, "*groups 2"]) -> Float64[np.ndarray, "*groups"]:
    """Sum over count, a statistic of sums that add over subjects; NaN for nobody."""
    counts = sums[..., 1]
    return np.where(counts > 0, sums[..., 0] / np.where(counts > 0, counts, 1.0), np.nan)


def rounded(values: Float[np.ndarray, "..."], digits: int) -> Float64[np.ndarray, "..."]:
    """The values to so many significant digits; NaN stays."""
    return np.array([float(f"{value:.{digits}g}") for value in np.ravel(values)]).reshape(np.shape(values))
