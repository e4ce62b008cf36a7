"""The tested units of one repeat with what was predicted for them: what every score is a function of.

The scores are in ``regression_scores.py``, ``ranking.py`` and ``calibration.py``.

Shapes: N tested units, K outputs, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64


@dataclass(frozen=True, eq=False)
class OneVsRest:
    """The probability of one class, and who is of it."""

    score_N: Float64[np.ndarray, "N"]
    positive_N: Bool[np.ndarray, "N"]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """One repeat of one method, test folds together.

    Args:
        truth_N: original units, or class codes.
        predicted_NK: see ``Predictions``.
        fold_N: number of the fold in which a unit was tested.
        prior_NC: share of each class among the people the unit's fold was trained on; no columns for regression.
    """

    truth_N: Float64[np.ndarray, "N"]
    predicted_NK: Float64[np.ndarray, "N K"]
    fold_N: Int64[np.ndarray, "N"]
    prior_NC: Float64[np.ndarray, "N C"]

    @property
    def probabilities(self) -> Float64[np.ndarray, "N C"]:
        """The probability of every class, two columns for a binary target."""
        if self.predicted_NK.shape[1] > 1:
            return self.predicted_NK
        return np.concatenate([1.0 - self.predicted_NK, self.predicted_NK], axis=1)

    @property
    def membership(self) -> Bool[np.ndarray, "N C"]:
        """Which class each unit is of."""
        return self.truth_N[:, None] == np.arange(self.prior_NC.shape[1])

    def one_vs_rest(self) -> list[OneVsRest]:
        """The positive class of a binary target, or each class of several, against all others."""
        first = 1 if self.predicted_NK.shape[1] == 1 else 0
        probability_NC, is_class_NC = self.probabilities, self.membership
        return [OneVsRest(probability_NC[:, c], is_class_NC[:, c]) for c in range(first, probability_NC.shape[1])]


def mean_of_known(values: Float64[np.ndarray, "M B"]) -> Float64[np.ndarray, "B"]:
    """The mean over the first axis of what is not NaN; NaN where nothing is known."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The quotient; NaN where the denominator is 0."""
    known = denominator > 0
    return np.where(known, numerator / np.where(known, denominator, 1.0), np.nan)
