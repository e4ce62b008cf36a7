"""R2, mean absolute error and Pearson's r from sums that can be added: over subjects, parcels and resamples.

Every metric is a function of the eight sums of ``Term``, so that a bootstrap over subjects is a matrix product. How
sure one can be of a metric is in ``statistics.py``.

R2 = 1 - sum (y - y')^2 / sum (y - mean y)^2, with one mean over all the hidden values that are pooled: over everything
for the pooled R2, over the parcel's, subject's or time step's own values for theirs. It is never clipped, and NaN where
the truth does not vary.
"""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from numpy.typing import ArrayLike
from torch import Tensor

from brainlm.evaluation.statistics import Interval, SubjectBootstrap, sign_flip_p

# A variance below this share of the mean square is rounding, not variation.
RELATIVE_ROUNDING = 1e-12


class Term(IntEnum):
    """The sums over scored values, y the truth and p the prediction."""

    COUNT = 0
    Y = 1
    YY = 2
    P = 3
    PP = 4
    YP = 5
    SQUARED_ERROR = 6
    ABSOLUTE_ERROR = 7


def r2(sums: Float64[np.ndarray, "*groups 8"]) -> Float64[np.ndarray, "*groups"]:
    """The coefficient of determination of each group; at most 1, negative when worse than the group's mean."""
    return np.asarray(1.0 - _divide(sums[..., Term.SQUARED_ERROR], _variation(sums, Term.Y, Term.YY)))


def mae(sums: Float64[np.ndarray, "*groups 8"]) -> Float64[np.ndarray, "*groups"]:
    """The mean absolute error of each group, in scaled units."""
    return _divide(sums[..., Term.ABSOLUTE_ERROR], sums[..., Term.COUNT])


def pearson_r(sums: Float64[np.ndarray, "*groups 8"]) -> Float64[np.ndarray, "*groups"]:
    """Pearson's correlation between truth and prediction of each group; NaN where either does not vary."""
    shared = sums[..., Term.YP] - _divide(sums[..., Term.Y] * sums[..., Term.P], sums[..., Term.COUNT])
    variations = _variation(sums, Term.Y, Term.YY) * _variation(sums, Term.P, Term.PP)
    return _divide(shared, np.sqrt(variations))


METRICS = {"r2": r2, "mae": mae, "r": pearson_r}


def mse(sums: Float64[np.ndarray, "*groups 8"]) -> Float64[np.ndarray, "*groups"]:
    """The mean squared error of each group, in squared scaled units."""
    return _divide(sums[..., Term.SQUARED_ERROR], sums[..., Term.COUNT])


def terms_of(
    predicted_BPT: Float[Tensor, "B P T"], truth_BPT: Float[Tensor, "B P T"], scored_BPT: Bool[Tensor, "B P T"]
) -> tuple[Float64[Tensor, "B P T"], ...]:
    """Each value's share of every sum, in the order of ``Term``; 0 where not scored, whatever stands there."""
    y = truth_BPT.double().masked_fill(~scored_BPT, 0.0)
    p = predicted_BPT.double().masked_fill(~scored_BPT, 0.0)
    return (scored_BPT.double(), y, y * y, p, p * p, y * p, (y - p).square(), (y - p).abs())


class ScoreSums:
    """The sums of one method in one condition, grown batch by batch.

    Attributes:
        by_subject, by_parcel, by_step: (subjects, 8), (P, 8) and (time steps, 8), float64. A step is the number of a
            hidden time point among the hidden ones of its window, which means something for future masks.
    """

    def __init__(self, num_subjects: int, num_parcels: int, num_timepoints: int) -> None:
        self.by_subject = np.zeros((num_subjects, len(Term)))
        self.by_parcel = np.zeros((num_parcels, len(Term)))
        self.by_step = np.zeros((num_timepoints, len(Term)))

    def add(
        self,
        predicted_BPT: Float[Tensor, "B P T"],
        truth_BPT: Float[Tensor, "B P T"],
        scored_BPT: Bool[Tensor, "B P T"],
        subject_B: Int64[np.ndarray, "B"],
    ) -> None:
        """Count the values at ``scored_BPT``; what is elsewhere, NaN included, does not matter."""
        terms = terms_of(predicted_BPT, truth_BPT, scored_BPT)
        by_window_and_parcel = torch.stack([term.sum(dim=2) for term in terms], dim=2).cpu().numpy()
        by_window_and_time = torch.stack([term.sum(dim=1) for term in terms], dim=2).cpu().numpy()
        np.add.at(self.by_subject, subject_B, by_window_and_parcel.sum(axis=1))
        self.by_parcel += by_window_and_parcel.sum(axis=0)
        hidden_BT = by_window_and_time[:, :, Term.COUNT] > 0
        step_BT = np.cumsum(hidden_BT, axis=1) - 1
        np.add.at(self.by_step, step_BT[hidden_BT], by_window_and_time[hidden_BT])

    @property
    def pooled(self) -> Float64[np.ndarray, "8"]:
        """The sums over everything."""
        return self.by_subject.sum(axis=0)


def _variation(sums: np.ndarray, first: Term, second: Term) -> np.ndarray:
    """Sum of squared deviations from the group's mean; exactly 0 where it is nothing but rounding."""
    deviations = sums[..., second] - _divide(sums[..., first] ** 2, sums[..., Term.COUNT])
    return np.where(deviations > RELATIVE_ROUNDING * sums[..., second], deviations, 0.0)


def _divide(numerator: ArrayLike, denominator: ArrayLike) -> np.ndarray:
    """The ratio; NaN where the denominator is 0."""
    numerator, denominator = np.asarray(numerator), np.asarray(denominator)
    known = denominator > 0
    return np.where(known, numerator / np.where(known, denominator, 1.0), np.nan)


def r2_difference(
    sums_SK: Float64[np.ndarray, "S 8"],
    others_SK: Float64[np.ndarray, "S 8"],
    resamples: SubjectBootstrap,
    *,
    seed: int,
) -> Interval:
    """R2 of one method minus that of another, with an interval over subjects and the p of the sign-flip test.

    Both methods are scored on the same values, so that the difference of their R2 is a sum over subjects: of how much
    smaller the squared error is, over the variation of all values.

    Args:
        sums_SK, others_SK: the sums of each subject.
        resamples: of these subjects.
        seed: of the signs.
    """
    assert np.array_equal(sums_SK[:, Term.COUNT], others_SK[:, Term.COUNT]), "the same values for both"
    gain_S = others_SK[:, Term.SQUARED_ERROR] - sums_SK[:, Term.SQUARED_ERROR]
    found = resamples.difference(sums_SK, others_SK, r2)
    return replace(found, p=sign_flip_p(gain_S, seed=seed))
