"""One forecast as frozen objects: cohorts, methods, their scores by step, the linear ceiling, the band, examples.

The numbers are computed in ``brainlm.evaluation.forecasting`` and read by ``forecast_file.py``; here they are only
asked. What was not computed is None, NaN or empty. P parcels, H steps of the horizon, N subjects, T points drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from brainlm.evaluation.statistics import Interval, Verdict

# In the order in which they are listed: the model's own ways first, then what it is measured against.
GROUPS: Mapping[str, str] = {
    "model": "Pretrained model, as it is",
    "finetuned": "Pretrained model, fine-tuned",
    "scratch": "Without pretraining",
    "linear": "Linear models",
    "neural": "Other neural networks",
    "simple": "Simple rules",
}
PRETRAINED = ("model", "finetuned")


@dataclass(frozen=True, eq=False)
class StepScores:
    """One metric at every step ahead, with its interval; NaN where there is none."""

    value_H: Float[np.ndarray, "H"]
    low_H: Float[np.ndarray, "H"]
    high_H: Float[np.ndarray, "H"]


@dataclass(frozen=True, eq=False)
class Ceiling:
    """The R2 that a linear model of each parcel's own past implies, and under which assumption."""

    r2_H: Float[np.ndarray, "H"]
    r2: float
    assumption: str


@dataclass(frozen=True, eq=False)
class Coverage:
    """The share of true values inside the bands of a method that should hold ``nominal`` of them."""

    nominal: float
    share_H: Float[np.ndarray, "H"]
    overall: float


@dataclass(frozen=True, eq=False)
class ForecastMethod:
    """What one method reached in one cohort.

    Args:
        tuned: what was chosen for it, and on what, in words.
        seconds: to fit it; ``window_ms`` to forecast one window.
        scores: by metric (r2, mse, mae, r), over all steps.
        by_step: by metric.
        r2_subject_N: sorted, without names.
        minus_best_baseline: of R2, paired over subjects; ``p`` is that of its permutation test.
    """

    name: str
    group: str
    tuned: str
    seconds: float
    window_ms: float
    scores: Mapping[str, Interval]
    by_step: Mapping[str, StepScores]
    r2_P: Float[np.ndarray, "P"] | None
    r2_subject_N: Float[np.ndarray, "N"]
    minus_best_baseline: Interval | None
    p: float
    coverage: Coverage | None


@dataclass(frozen=True)
class Comparison:
    """Method ``name`` minus method ``other`` in R2 over all steps, paired over subjects."""

    name: str
    other: str
    difference: Interval
    p: float


@dataclass(frozen=True, eq=False)
class DrawnForecast:
    """What one method said of one parcel, and the band it gave; NaN where it gave none."""

    name: str
    values_H: Float[np.ndarray, "H"]
    low_H: Float[np.ndarray, "H"]
    high_H: Float[np.ndarray, "H"]


@dataclass(frozen=True, eq=False)
class Example:
    """One parcel in one window: the end of its context and the horizon, from point ``origin`` on."""

    parcel: str
    title: str
    time_s_T: Float[np.ndarray, "T"]
    truth_T: Float[np.ndarray, "T"]
    origin: int
    forecasts: tuple[DrawnForecast, ...]


@dataclass(frozen=True, eq=False)
class ForecastCohort:
    """One store's judged people: all methods in the same windows. ``difference`` is main minus best baseline.

    ``comparisons`` are those beside it: what fine-tuning and pretraining are worth.
    """

    name: str
    store: str
    tr_s: tuple[float, ...]
    counts: Mapping[str, int]
    ceiling: Ceiling | None
    methods: tuple[ForecastMethod, ...]
    main: str | None
    best_baseline: str | None
    difference: Interval | None
    p: float
    comparisons: tuple[Comparison, ...]
    examples: tuple[Example, ...]

    def method(self, name: str | None) -> ForecastMethod | None:
        """The method of that name, None without one."""
        return next((method for method in self.methods if method.name == name), None)

    @property
    def common_tr_s(self) -> float | None:
        """The repetition time of all recordings in seconds, None where they differ or none is known."""
        return self.tr_s[0] if len(set(self.tr_s)) == 1 else None

    @property
    def verdict(self) -> Verdict:
        """That of the paired difference."""
        return "unknown" if self.difference is None else self.difference.verdict

    @property
    def has_intervals(self) -> bool:
        """Whether any method has one: with a single subject there is nobody to resample."""
        found = (method.scores.get("r2") for method in self.methods)
        return any(score is not None and score.has_limits for score in found)


@dataclass(frozen=True)
class Band:
    """Whether a cohort's signal was filtered: limits of the pass band in Hz (NaN: none) and power above it."""

    cohort: str
    is_limited: bool
    low_hz: float
    high_hz: float
    share_above: float
    sentence: str


@dataclass(frozen=True, eq=False)
class Forecast:
    """One context and horizon: everything `brainlm forecast` wrote about it."""

    folder: str
    context: int
    horizon: int
    settings: Mapping[str, Any]
    facts: Mapping[str, Any]
    tuning: str
    bands: tuple[Band, ...]
    cohorts: tuple[ForecastCohort, ...]
    conclusion: str
    notes: tuple[str, ...]

    @property
    def common_tr_s(self) -> float | None:
        """The repetition time of all recordings of all cohorts in seconds, None where they differ or are not known."""
        found = {cohort.common_tr_s for cohort in self.cohorts}
        return found.pop() if len(found) == 1 else None

    @property
    def confidence_percent(self) -> str:
        """The level of every interval, as text: ``95 %``."""
        return f"{100 * float(self.settings.get('confidence') or 0.95):g} %"

    @property
    def method_groups(self) -> Mapping[str, str]:
        """The group of every method of any cohort."""
        return {method.name: method.group for cohort in self.cohorts for method in cohort.methods}

    def band_of(self, cohort: ForecastCohort) -> Band | None:
        """The band of that cohort's signal, None where it was not looked at."""
        return next((band for band in self.bands if band.cohort == cohort.name), None)
