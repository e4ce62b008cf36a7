"""Ridge and L2 logistic regression over a path of penalties; the best in inner folds predicts the test rows.

Penalties are per training vote and relative to the mean variance of a coordinate, which is 1 (``rotation.py``), so that
one path serves 5 features and 20,000. Inner folds choose nothing but the penalty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from sklearn import config_context
from sklearn.linear_model import LogisticRegression, Ridge

from brainlm.evaluation.phenotypes.fits import (
    Fit,
    all_classes,
    as_outputs,
    counting_unconverged,
    log_loss,
    squared_error,
)
from brainlm.evaluation.phenotypes.problem import InnerFolds
from brainlm.evaluation.phenotypes.rotation import Coordinates

RIDGE_PENALTIES = np.logspace(-4, 4, 17)
# From strong to weak: each fit starts from the one before, and the weak, slow ones are left out once they only harm.
LOGISTIC_PENALTIES = np.logspace(3, -4, 15)
_PATIENCE = 3
_MAX_ITERATIONS = 2000
_TOLERANCE = 1e-5


@dataclass(frozen=True, eq=False)
class RidgeFits:
    """Ridge regression of many targets on the same features, each with a penalty of its own.

    Attributes:
        predicted_LT: of the test rows.
        inner_MT: of the training rows, out of the inner folds.
        penalties_T: chosen, per vote.
        coefficients_TR: per coordinate.
    """

    predicted_LT: Float64[np.ndarray, "L T"]
    inner_MT: Float64[np.ndarray, "M T"]
    penalties_T: Float64[np.ndarray, "T"]
    coefficients_TR: Float64[np.ndarray, "T R"]


def ridge(
    coordinates: Coordinates,
    values_MT: Float64[np.ndarray, "M T"],
    weights_M: Float64[np.ndarray, "M"],
    *,
    inner: InnerFolds,
) -> RidgeFits:
    """All targets at once: what costs time depends on the features alone."""
    train_MR = coordinates.train_MR
    num_penalties, num_rows = len(RIDGE_PENALTIES), len(train_MR)
    inner_AMT = np.full((num_penalties, num_rows, values_MT.shape[1]), np.nan)
    for train, test in inner:
        for index, penalty in enumerate(RIDGE_PENALTIES):
            model = _fitted_ridge(train_MR[train], values_MT[train], weights_M[train], float(penalty))
            inner_AMT[index, test] = model.predict(train_MR[test]).reshape(len(test), -1)
    errors_AT = np.stack([squared_error(inner_MT, values_MT, weights_M) for inner_MT in inner_AMT])
    best_T = errors_AT.argmin(axis=0)
    predicted_LT = np.empty((len(coordinates.test_LR), values_MT.shape[1]))
    coefficients_TR = np.empty((values_MT.shape[1], train_MR.shape[1]))
    for index in np.unique(best_T):
        chosen_T = best_T == index
        model = _fitted_ridge(train_MR, values_MT[:, chosen_T], weights_M, float(RIDGE_PENALTIES[index]))
        predicted_LT[:, chosen_T] = model.predict(coordinates.test_LR).reshape(len(predicted_LT), -1)
        coefficients_TR[chosen_T] = model.coef_.reshape(int(chosen_T.sum()), -1)
    inner_MT = np.take_along_axis(inner_AMT, best_T[None, None, :], axis=0)[0]
    return RidgeFits(predicted_LT, inner_MT, RIDGE_PENALTIES[best_T], coefficients_TR)


def _fitted_ridge(train_MR: np.ndarray, values_MT: np.ndarray, weights_M: np.ndarray, penalty: float) -> Ridge:
    model = Ridge(alpha=penalty * float(weights_M.sum()), solver="cholesky")
    return model.fit(train_MR, values_MT, sample_weight=weights_M)


def logistic(
    coordinates: Coordinates,
    classes_M: Int64[np.ndarray, "M"],
    weights_M: Float64[np.ndarray, "M"],
    *,
    num_classes: int,
    inner: InnerFolds,
) -> Fit:
    """Probabilities of classes; the penalty by the log loss in inner folds."""
    # Coordinates are finite by construction; checking them again in every small fit would take a third of the time.
    with counting_unconverged() as unconverged, config_context(assume_finite=True, skip_parameter_validation=True):
        path = _inner_path(coordinates.train_MR, classes_M, weights_M, num_classes, inner)
        model = _logistic_model()
        _fit_logistic(model, coordinates.train_MR, classes_M, weights_M, path.penalty)
        predicted_LC = all_classes(model.predict_proba(coordinates.test_LR), model.classes_, num_classes)
    return Fit(
        predicted_LK=as_outputs(predicted_LC),
        inner_MK=as_outputs(path.inner_MC),
        strength=path.penalty,
        num_unconverged=unconverged.num,
        coefficients_KR=model.coef_.astype(np.float64),
    )


@dataclass(frozen=True, eq=False)
class _Chosen:
    """The best penalty and what the inner folds predicted with it."""

    penalty: float
    inner_MC: np.ndarray


def _inner_path(
    train_MR: np.ndarray, classes_M: np.ndarray, weights_M: np.ndarray, num_classes: int, inner: InnerFolds
) -> _Chosen:
    # With one class alone there is nothing to separate; such an inner fold can only happen to permuted labels.
    usable = [(train, test) for train, test in inner if len(np.unique(classes_M[train])) > 1]
    assert usable, "no inner fold has two classes to train on"
    models = [_logistic_model() for _ in usable]
    best, best_loss, num_worse = None, np.inf, 0
    for penalty in LOGISTIC_PENALTIES:
        inner_MC = np.full((len(classes_M), num_classes), np.nan)
        for model, (train, test) in zip(models, usable, strict=True):
            _fit_logistic(model, train_MR[train], classes_M[train], weights_M[train], float(penalty))
            inner_MC[test] = all_classes(model.predict_proba(train_MR[test]), model.classes_, num_classes)
        loss = log_loss(inner_MC, classes_M, weights_M)
        if loss < best_loss:
            best, best_loss, num_worse = _Chosen(float(penalty), inner_MC), loss, 0
        else:
            num_worse += 1
        if num_worse == _PATIENCE:
            break
    assert best is not None, "a log loss is always finite"
    return best


def _logistic_model() -> LogisticRegression:
    # Along a path of warm starts seven times as fast as Newton's method at 726 people x 725 coordinates, same result.
    return LogisticRegression(solver="lbfgs", warm_start=True, tol=_TOLERANCE, max_iter=_MAX_ITERATIONS)


def _fit_logistic(
    model: LogisticRegression, train_MR: np.ndarray, classes_M: np.ndarray, weights_M: np.ndarray, penalty: float
) -> None:
    model.set_params(C=1.0 / (penalty * float(weights_M.sum())))
    model.fit(train_MR, classes_M, sample_weight=weights_M)
