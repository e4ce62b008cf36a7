"""Whether predicted probabilities are right as numbers: decisions, Brier score, calibration slope and error.

Folds are pooled. How well probabilities order people is in ``ranking.py``.

Shapes: N tested units, B resamples, C classes.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64

from brainlm.evaluation.phenotypes.outcomes import Outcomes, mean_of_known, ratio

NUM_BINS = 10
SMALLEST_PROBABILITY = 1e-6  # a logit needs one; smaller ones than the resolution of any study
MAX_NEWTON_STEPS = 25
LAST_STEP = 1e-3  # of coefficients of a predictor with unit spread
# Beyond this the classes are separated by the prediction, and the slope is infinite.
LARGEST_SLOPE = 100.0
TIE = 9  # decimals: a probability equal to the prior up to rounding decides nothing


def decisions(tested: Outcomes) -> Int64[np.ndarray, "N"]:
    """The class whose probability exceeds its share among the training people most, in proportion.

    Balanced accuracy counts classes alike, however rare; this is the decision that maximises it when probabilities are
    right. At 0.5 everyone would be given the common class, and every method would have the same balanced accuracy.
    """
    prior_NC = tested.prior_NC
    gain_NC = np.where(prior_NC > 0, tested.probabilities / np.where(prior_NC > 0, prior_NC, 1.0), 0.0)
    return np.argmax(np.round(gain_NC, TIE), axis=1)


def balanced_accuracy(tested: Outcomes, weights_NB: Float64[np.ndarray, "N B"]) -> Float64[np.ndarray, "B"]:
    """The mean over classes of the share of its people given that class; classes that do not occur are left out."""
    right_N = decisions(tested) == tested.truth_N
    is_class_NC = tested.membership
    right_CB = (is_class_NC & right_N[:, None]).astype(np.float64).T @ weights_NB
    return mean_of_known(ratio(right_CB, is_class_NC.astype(np.float64).T @ weights_NB))


def brier(tested: Outcomes, weights_NB: Float64[np.ndarray, "N B"]) -> Float64[np.ndarray, "B"]:
    """Mean squared error of the probability; of several classes, the sum over classes (0 to 2, Brier 1950)."""
    errors_NC = (tested.probabilities - tested.membership) ** 2
    error_N = errors_NC[:, 1] if tested.predicted_NK.shape[1] == 1 else errors_NC.sum(axis=1)
    return ratio(error_N @ weights_NB, weights_NB.sum(axis=0))


def calibration_slope(tested: Outcomes, weights_NB: Float64[np.ndarray, "N B"]) -> Float64[np.ndarray, "B"]:
    """The slope of a logistic regression of the class on the logit of its predicted probability (Cox 1958).

    1 is right, below 1 means too extreme. NaN for predictions that do not vary within folds, which have nothing to
    calibrate, and where the prediction separates the classes.
    """
    p_N = np.clip(tested.predicted_NK[:, 0], SMALLEST_PROBABILITY, 1.0 - SMALLEST_PROBABILITY)
    logit_N = np.log(p_N) - np.log1p(-p_N)
    if not _varies_within_folds(logit_N, tested.fold_N):
        return np.full(weights_NB.shape[1], np.nan)
    scale = float(logit_N.std())
    return _logistic_slope(logit_N / scale, tested.truth_N, weights_NB) / scale


def expected_calibration_error(tested: Outcomes, weights_NB: Float64[np.ndarray, "N B"]) -> Float64[np.ndarray, "B"]:
    """The mean gap between the probability of the likeliest class and how often it is right, in ten equal bins.

    Gaps are absolute, so that noise adds to them: with few people the error is too high, and so are its limits.
    """
    confidence_N, right_N = confidence(tested), is_right(tested)
    bin_N = np.minimum((confidence_N * NUM_BINS).astype(int), NUM_BINS - 1)
    in_bin = (bin_N == np.arange(NUM_BINS)[:, None]).astype(np.float64)
    gap_B = np.abs((in_bin * (confidence_N - right_N)) @ weights_NB).sum(axis=0)
    return ratio(gap_B, weights_NB.sum(axis=0))


def confidence(tested: Outcomes) -> Float64[np.ndarray, "N"]:
    """The probability of the likeliest class."""
    return tested.probabilities.max(axis=1)


def is_right(tested: Outcomes) -> Float64[np.ndarray, "N"]:
    """1 where the likeliest class is the true one, else 0."""
    return (np.argmax(tested.probabilities, axis=1) == tested.truth_N).astype(np.float64)


def _varies_within_folds(values_N: np.ndarray, fold_N: np.ndarray) -> bool:
    spreads = [np.ptp(values_N[fold_N == fold]) for fold in np.unique(fold_N)]
    return bool(max(spreads) > 10.0**-TIE)


def _logistic_slope(x_N: np.ndarray, y_N: np.ndarray, weights_NB: np.ndarray) -> np.ndarray:
    """Newton's method for intercept and slope; every resample starts where all people ended, and stops on its own."""
    total_N1 = weights_NB.sum(axis=1, keepdims=True)
    start_21 = _newton(x_N, y_N, total_N1, np.zeros((2, 1)))
    if weights_NB.shape[1] == 1 or np.isnan(start_21).any():
        return _newton(x_N, y_N, weights_NB, np.zeros((2, weights_NB.shape[1])))[1]
    # The first step starts at one point for all resamples, so that it is a matrix product.
    p_N = _logistic(start_21[0] + x_N * start_21[1])
    curve_N, slope_N = p_N * (1.0 - p_N), y_N - p_N
    terms_5N = np.stack([slope_N, slope_N * x_N, curve_N, curve_N * x_N, curve_N * x_N * x_N])
    step_2B, usable_B = _newton_step(terms_5N @ weights_NB)
    return _newton(x_N, y_N, weights_NB, np.where(usable_B, start_21 + step_2B, 0.0))[1]


def _newton(x_N: np.ndarray, y_N: np.ndarray, weights_NB: np.ndarray, start_2B: np.ndarray) -> np.ndarray:
    found_2B = np.full_like(start_2B, np.nan)
    beta_2B, active = start_2B.copy(), np.arange(start_2B.shape[1])
    for _ in range(MAX_NEWTON_STEPS):
        weights = weights_NB if len(active) == weights_NB.shape[1] else weights_NB[:, active]
        p = _logistic(beta_2B[0] + x_N[:, None] * beta_2B[1])
        slope = weights * (y_N[:, None] - p)
        curve = weights * (p - p * p)
        sums = np.stack([slope.sum(axis=0), x_N @ slope, curve.sum(axis=0), x_N @ curve, (x_N * x_N) @ curve])
        step_2B, usable = _newton_step(sums)
        beta_2B = beta_2B + step_2B
        # Steps shrink to their squares: after one this small the next would be rounding.
        done = usable & (np.abs(step_2B).max(axis=0) < LAST_STEP)
        found_2B[:, active[done]] = beta_2B[:, done]
        going = usable & ~done & (np.abs(beta_2B).max(axis=0) < LARGEST_SLOPE)
        if not going.any():
            break
        active, beta_2B = active[going], beta_2B[:, going]
    return found_2B


def _newton_step(sums_5B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(step of intercept and slope, can it be made) from the gradient and the three entries of the curvature."""
    gradient, gradient_x, a, b, c = sums_5B
    determinant = a * c - b * b
    usable = determinant > 1e-12 * a * c
    step = np.stack([c * gradient - b * gradient_x, a * gradient_x - b * gradient])
    return np.where(usable, step / np.where(usable, determinant, 1.0), 0.0), usable


def _logistic(eta: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * eta))
