"""R2, mean absolute error and within-fold correlation of predicted numbers, in many resamples at once.

R2 and MAE pool the folds of a repeat. R2 is against the mean of the people tested and never clipped: who predicts the
mean of the training people gets slightly less than 0. The sums and their R2 and MAE are those of ``metrics.py``.

Shapes: N tested units, B resamples, F folds.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from brainlm.evaluation import metrics
from brainlm.evaluation.metrics import RELATIVE_ROUNDING, Term
from brainlm.evaluation.phenotypes.outcomes import Outcomes, ratio


def r2(tested: Outcomes, weights_NB: Float64[np.ndarray, "N B"]) -> Float64[np.ndarray, "B"]:
    """The coefficient of determination, folds pooled."""
    return metrics.r2(_sums(tested, weights_NB).sum(axis=0))


def mae(tested: Outcomes, weights_NB: Float64[np.ndarray, "N B"]) -> Float64[np.ndarray, "B"]:
    """The mean absolute error in the target's units."""
    return metrics.mae(_sums(tested, weights_NB).sum(axis=0))


def within_fold_r(tested: Outcomes, weights_NB: Float64[np.ndarray, "N B"]) -> Float64[np.ndarray, "B"]:
    """Pearson's r of the deviations from the means of truth and prediction in each test fold.

    Pooled over folds, a method that knows nothing but the mean of its training people correlates *negatively* with the
    truth: the higher the people of a test fold, the lower the mean of the others. Deviations within the fold are free
    of that, and of other offsets between folds. NaN where predictions do not vary within any fold.
    """
    sums_FB8 = _sums(tested, weights_NB)
    count = sums_FB8[..., Term.COUNT]
    y, p = sums_FB8[..., Term.Y], sums_FB8[..., Term.P]
    filled = np.where(count > 0, count, 1.0)
    shared = (sums_FB8[..., Term.YP] - y * p / filled).sum(axis=0)
    variation_y = _variation(sums_FB8[..., Term.YY], y * y / filled)
    variation_p = _variation(sums_FB8[..., Term.PP], p * p / filled)
    return ratio(shared, np.sqrt(variation_y * variation_p))


def _variation(squares_FB: np.ndarray, squared_mean_FB: np.ndarray) -> np.ndarray:
    deviations_FB = squares_FB - squared_mean_FB
    # What is nothing but rounding is no variation: a constant prediction has no correlation.
    return np.where(deviations_FB > RELATIVE_ROUNDING * squares_FB, deviations_FB, 0.0).sum(axis=0)


def _sums(tested: Outcomes, weights_NB: np.ndarray) -> Float64[np.ndarray, "F B 8"]:
    centre = tested.truth_N.mean()  # sums of squares far from 0 would lose digits; no score depends on it
    y, p = tested.truth_N - centre, tested.predicted_NK[:, 0] - centre
    terms_N8 = np.stack([np.ones_like(y), y, y * y, p, p * p, y * p, (y - p) ** 2, np.abs(y - p)], axis=1)
    members = [tested.fold_N == fold for fold in np.unique(tested.fold_N)]
    return np.stack([weights_NB[member].T @ terms_N8[member] for member in members])
