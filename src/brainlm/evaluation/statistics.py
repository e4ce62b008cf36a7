"""How sure one can be: the bootstrap over subjects of any statistic of sums that add over subjects.

Subjects, not values or windows, are what a study draws anew. What the sums are is in ``metrics.py``.

Plain percentile intervals of few subjects are too narrow: resamples vary by (n - 1) / n less than samples do, and a
normal tail is taken where Student's belongs. The limits are therefore further out, where they would be for the mean of
n normal values (the expanded percentile interval of Hesterberg, The American Statistician 69, 2015).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64, Int64
from scipy.stats import false_discovery_control, norm, t

FEW_SUBJECTS = 20  # below, the interval of a skewed statistic misses the truth more often than it says
SIGNIFICANT = 0.05  # a p or a q up to this is called an effect
NUM_FLIPS = 10_000
Statistic = Callable[[np.ndarray], np.ndarray]
Verdict = Literal["better", "worse", "level", "unknown"]


@dataclass(frozen=True)
class Interval:
    """An estimate from all subjects and its interval; NaN where undefined or not to be had.

    Attributes:
        value: the estimate.
        low, high: the limits.
        p: of a test of a difference against 0, None where none was made.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    p: float | None = None

    @classmethod
    def read(cls, entry: Mapping[str, Any] | None) -> Interval:
        """What ``as_dict`` gave, from a results file: null is a number that could not be computed."""
        entry = {} if entry is None else entry
        value, low, high = (
            math.nan if entry.get(name) is None else float(entry[name]) for name in ("value", "low", "high")
        )
        return cls(value, low, high, entry.get("p"))

    def as_dict(self) -> dict[str, float | None]:
        """As results hold it; ``p`` only where there is one."""
        values = {"value": self.value, "low": self.low, "high": self.high}
        found = {name: value if math.isfinite(value) else None for name, value in values.items()}
        return found if self.p is None else found | {"p": self.p}

    @property
    def has_limits(self) -> bool:
        """Whether there is more than the estimate."""
        return math.isfinite(self.low + self.high)

    @property
    def verdict(self) -> Verdict:
        """Of a difference: ``better`` or ``worse`` only where the interval excludes 0 and its test, if any, agrees."""
        if not self.has_limits:
            return "unknown"
        if self.low <= 0 <= self.high or (self.p is not None and self.p > SIGNIFICANT):
            return "level"
        return "better" if self.low > 0 else "worse"


@dataclass(frozen=True, eq=False)
class SubjectBootstrap:
    """Resamples of subjects, drawn once and used for everything that is to be compared.

    Args:
        counts_RS: how often each resample R contains each subject S.
        confidence: of the intervals, such as 0.95.
    """

    counts_RS: Int64[np.ndarray, "R S"]
    confidence: float = 0.95

    @classmethod
    def draw(cls, num_subjects: int, *, num_bootstrap: int, seed: int, confidence: float = 0.95) -> SubjectBootstrap:
        """``num_bootstrap`` resamples of as many subjects as there are, with replacement."""
        shares = np.full(num_subjects, 1.0 / num_subjects)
        counts_RS = np.random.default_rng(seed).multinomial(num_subjects, shares, size=num_bootstrap)
        return cls(counts_RS, confidence)

    def interval(self, sums_SK: Float64[np.ndarray, "S K"], statistic: Statistic) -> Interval:
        """``statistic`` of the summed rows, with its interval.

        ``statistic`` maps (..., K) to (...). With one subject there is nothing to resample: the limits are None.
        """
        return self.interval_of(float(statistic(sums_SK.sum(axis=0))), statistic(self.counts_RS @ sums_SK))

    def difference(
        self, sums_SK: Float64[np.ndarray, "S K"], others_SK: Float64[np.ndarray, "S K"], statistic: Statistic
    ) -> Interval:
        """The statistic of one method minus that of another, both on the same resamples."""
        value = float(statistic(sums_SK.sum(axis=0)) - statistic(others_SK.sum(axis=0)))
        values_R = statistic(self.counts_RS @ sums_SK) - statistic(self.counts_RS @ others_SK)
        return self.interval_of(value, values_R)

    def weights(
        self, subject_N: Int64[np.ndarray, "N"], weights_N: Float64[np.ndarray, "N"], resamples: slice = slice(None)
    ) -> Float64[np.ndarray, "N B"]:
        """What each unit of a subject weighs in each resample, for statistics that are no function of sums.

        Args:
            subject_N: number of the subject each unit belongs to.
            weights_N: what each unit weighs when nothing is resampled.
            resamples: which of them, so that a large cohort can be taken in blocks.
        """
        return self.counts_RS[resamples].T[subject_N] * weights_N[:, None]

    def interval_of(self, value: float, values_R: np.ndarray, *, num_subjects: int | None = None) -> Interval:
        """``interval_of`` with these resamples; ``num_subjects`` of them take part in the statistic, None for all."""
        num_subjects = self.counts_RS.shape[1] if num_subjects is None else num_subjects
        return interval_of(value, values_R, num_subjects=num_subjects, confidence=self.confidence)


def interval_of(value: float, values_R: np.ndarray, *, num_subjects: int, confidence: float = 0.95) -> Interval:
    """The interval around ``value`` from what the statistic was in each resample of ``num_subjects``.

    Resamples in which it is undefined (NaN) are left out. With one subject there are no limits.
    """
    finite_R = values_R[np.isfinite(values_R)]
    if not np.isfinite(value) or num_subjects < 2 or len(finite_R) == 0:
        return Interval(value)
    tail = expanded_tail(num_subjects, confidence)
    low, high = np.quantile(finite_R, [tail, 1.0 - tail])
    return Interval(value, float(low), float(high))


def expanded_tail(num_subjects: int, confidence: float) -> float:
    """The share of resamples beyond each limit, smaller than (1 - confidence) / 2 and close to it for many subjects."""
    student = t.ppf((1.0 + confidence) / 2.0, num_subjects - 1)
    return float(norm.cdf(-np.sqrt(num_subjects / (num_subjects - 1)) * student))


def few_subjects_note(num_subjects: int, what: str = "people") -> list[str]:
    """What every study of fewer than ``FEW_SUBJECTS`` says of itself; empty for more."""
    if num_subjects >= FEW_SUBJECTS:
        return []
    if num_subjects < 2:
        return ["There is one subject only, so there are no intervals."]
    return [
        f"{num_subjects} {what} only: intervals are widened for so few, yet can be too narrow where one of them weighs "
        f"much. A study of more is needed to be sure."
    ]


def sign_flip_p(gain_S: Float64[np.ndarray, "S"], *, num_flips: int = NUM_FLIPS, seed: int) -> float | None:
    """Two-sided p of a sum over subjects against random signs of each; None with fewer than two subjects.

    If neither of two methods were better, each subject's part of their difference could as well have the other sign.
    """
    if len(gain_S) < 2:
        return None
    signs_MS = 2.0 * np.random.default_rng(seed).integers(0, 2, size=(num_flips, len(gain_S))) - 1.0
    return permutation_p(abs(float(gain_S.sum())), np.abs(signs_MS @ gain_S))


def permutation_p(observed: float, null_values: Float64[np.ndarray, "M"]) -> float | None:
    """The share of labellings, the true one among them, that do at least as well: (1 + number) / (1 + M).

    It is never 0, since the true labelling is one of those that could have been drawn (Phipson and Smyth 2010). A
    permutation whose score is undefined counts as one that did at least as well. None where ``observed`` is undefined
    or nothing was permuted.
    """
    if not np.isfinite(observed) or len(null_values) == 0:
        return None
    # Equal scores may differ in the last bit by the order of their sums.
    below = null_values < observed - 1e-12 * max(1.0, abs(observed))
    return (1 + int((~below).sum())) / (1 + len(null_values))


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """The p values adjusted for the false discovery rate among all of them.

    Valid for independent and for positively dependent tests, as of targets of the same people (Benjamini and Yekutieli
    2001).
    """
    return [float(p) for p in false_discovery_control(np.asarray(p_values, dtype=float), method="bh")]
