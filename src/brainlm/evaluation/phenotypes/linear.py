"""Ridge and L2 logistic regression over a path of penalties; the best in inner folds predicts the test rows.

Penalties are per training vote and relative to the mean variance of a coordinate, which is 1 (``rotation.py``), so that
one path serves 5 features and 20,000. Inner folds choose nothing but the penalty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from scipy.optimize import minimize
from scipy.special import expit, logsumexp, softmax

from brainlm.evaluation.phenotypes.fits import Fit, all_classes, as_outputs, log_loss
from brainlm.evaluation.phenotypes.problem import InnerFolds
from brainlm.evaluation.phenotypes.rotation import Coordinates

RIDGE_PENALTIES = np.logspace(-4, 4, 17)
# From strong to weak: each fit starts from the one before. All are tried: where features say little the log loss lies
# on a plateau under the strong ones, and the best comes long after.
LOGISTIC_PENALTIES = np.logspace(3, -4, 15)
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
    paths = [(test, _RidgePath.fit(train_MR[train], values_MT[train], weights_M[train])) for train, test in inner]
    errors_AT = np.zeros((len(RIDGE_PENALTIES), values_MT.shape[1]))
    rotated = [path.rotated(train_MR[test]) for test, path in paths]
    for index, penalty in enumerate(RIDGE_PENALTIES):
        for (test, path), rotated_LR in zip(paths, rotated, strict=True):
            errors_LT = (path.predict(rotated_LR, np.full(values_MT.shape[1], penalty)) - values_MT[test]) ** 2
            errors_AT[index] += weights_M[test] @ errors_LT
    penalties_T = RIDGE_PENALTIES[errors_AT.argmin(axis=0)]
    inner_MT = np.full(values_MT.shape, np.nan)
    for (test, path), rotated_LR in zip(paths, rotated, strict=True):
        inner_MT[test] = path.predict(rotated_LR, penalties_T)
    whole = _RidgePath.fit(train_MR, values_MT, weights_M)
    predicted_LT = whole.predict(whole.rotated(coordinates.test_LR), penalties_T)
    return RidgeFits(predicted_LT, inner_MT, penalties_T, whole.coefficients(penalties_T))


@dataclass(frozen=True, eq=False)
class _Axes:
    """Principal axes of weighted rows: what makes every penalty of a path a division.

    Attributes:
        mean_R: weighted mean of the rows.
        lengths_R: eigenvalues of the sum of their weighted, centred squares, not negative.
        axes_RR: eigenvectors in columns.
    """

    mean_R: np.ndarray
    lengths_R: np.ndarray
    axes_RR: np.ndarray

    @classmethod
    def of(cls, rows_MR: np.ndarray, weights_M: np.ndarray) -> _Axes:
        mean_R = weights_M @ rows_MR / weights_M.sum()
        centred_MR = rows_MR - mean_R
        centred_MR *= np.sqrt(weights_M)[:, None]
        lengths_R, axes_RR = np.linalg.eigh(centred_MR.T @ centred_MR)
        return cls(mean_R, np.maximum(lengths_R, 0.0), axes_RR)


@dataclass(frozen=True, eq=False)
class _RidgePath:
    """Ridge regression with any penalty, from one decomposition of the features."""

    axes: _Axes
    means_T: np.ndarray
    products_RT: np.ndarray
    weight: float

    @classmethod
    def fit(cls, rows_MR: np.ndarray, values_MT: np.ndarray, weights_M: np.ndarray) -> _RidgePath:
        axes, weight = _Axes.of(rows_MR, weights_M), float(weights_M.sum())
        means_T = weights_M @ values_MT / weight
        # The weighted deviations of the values add up to 0: the mean of the features need not be taken off here.
        products_RT = axes.axes_RR.T @ (rows_MR.T @ ((values_MT - means_T) * weights_M[:, None]))
        return cls(axes, means_T, products_RT, weight)

    def rotated(self, rows_LR: np.ndarray) -> np.ndarray:
        """Rows along the axes, the same for every penalty."""
        return (rows_LR - self.axes.mean_R) @ self.axes.axes_RR

    def predict(self, rotated_LR: np.ndarray, penalties_T: np.ndarray) -> np.ndarray:
        return rotated_LR @ self._shrunk(penalties_T) + self.means_T

    def coefficients(self, penalties_T: np.ndarray) -> np.ndarray:
        return (self.axes.axes_RR @ self._shrunk(penalties_T)).T

    def _shrunk(self, penalties_T: np.ndarray) -> np.ndarray:
        return self.products_RT / (self.axes.lengths_R[:, None] + penalties_T * self.weight)


def logistic(
    coordinates: Coordinates,
    classes_M: Int64[np.ndarray, "M"],
    weights_M: Float64[np.ndarray, "M"],
    *,
    num_classes: int,
    inner: InnerFolds,
) -> Fit:
    """Probabilities of classes; the penalty by the log loss in inner folds."""
    # With one class alone there is nothing to separate; such an inner fold can only happen to permuted labels.
    usable = [(train, test) for train, test in inner if len(np.unique(classes_M[train])) > 1]
    assert usable, "no inner fold has two classes to train on"
    train_MR = coordinates.train_MR
    models = [_Logistic(train_MR, classes_M, weights_M, train) for train, _ in usable]
    best: tuple[float, np.ndarray] | None = None
    best_loss = np.inf
    for penalty in LOGISTIC_PENALTIES:
        inner_MC = np.full((len(classes_M), num_classes), np.nan)
        for model, (_, test) in zip(models, usable, strict=True):
            model.fit(float(penalty))
            inner_MC[test] = all_classes(model.probabilities(train_MR[test]), model.present_C, num_classes)
        loss = log_loss(inner_MC, classes_M, weights_M)
        if loss < best_loss:
            best, best_loss = (float(penalty), inner_MC), loss
    assert best is not None, "a log loss is always finite"
    model = _Logistic(train_MR, classes_M, weights_M, np.arange(len(classes_M)))
    model.fit(best[0])
    predicted_LC = all_classes(model.probabilities(coordinates.test_LR), model.present_C, num_classes)
    return Fit(
        predicted_LK=as_outputs(predicted_LC),
        inner_MK=as_outputs(best[1]),
        strength=best[0],
        num_unconverged=sum(one.num_unconverged for one in (*models, model)),
        coefficients_KR=model.coefficients_RK.T,
    )


class _Logistic:
    """L2 logistic regression of some rows (softmax for three classes or more), warm along a path of penalties.

    L-BFGS in coordinates in which the second derivative is at most 1 in every direction: it is bounded by a quarter of
    the squares of the features (Boehning and Lindsay 1988, Annals of the Institute of Statistical Mathematics 40, 641),
    whose axes are found once. Ten iterations do where correlated features as they are take hundreds.
    """

    def __init__(self, rows_MR: np.ndarray, classes_M: np.ndarray, weights_M: np.ndarray, train: np.ndarray) -> None:
        self.present_C, codes_N = np.unique(classes_M[train], return_inverse=True)
        # Other rows weigh nothing: a copy of the training rows for each inner fold would take gigabytes.
        self._rows_MR, num_outputs = rows_MR, 1 if len(self.present_C) == 2 else len(self.present_C)
        self._share_M = np.zeros(len(rows_MR))
        self._share_M[train] = weights_M[train] / weights_M[train].sum()
        self._truth_MK = np.zeros((len(rows_MR), num_outputs))
        if num_outputs == 1:
            self._truth_MK[train, 0] = codes_N
        else:
            self._truth_MK[train, codes_N] = 1.0
        self._axes = _Axes.of(rows_MR[train], self._share_M[train])
        self.coefficients_RK = np.zeros((rows_MR.shape[1], num_outputs))
        self.num_unconverged = 0
        self._intercepts_K = np.zeros(num_outputs)

    def fit(self, penalty: float) -> None:
        """From where the last penalty ended; ``penalty`` is per vote."""
        axes = self._axes
        scale_R1 = 1.0 / np.sqrt(axes.lengths_R / 4.0 + penalty)[:, None]
        start_RK = axes.axes_RR.T @ self.coefficients_RK / scale_R1
        start = np.concatenate([self._intercepts_K[None] / 2.0, start_RK]).ravel()

        def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
            intercepts_K, coefficients_RK = self._parameters(point, scale_R1)
            logits_MK = self._rows_MR @ coefficients_RK + (intercepts_K - axes.mean_R @ coefficients_RK)
            losses_M, probability_MK = _losses(logits_MK, self._truth_MK)
            residual_MK = (probability_MK - self._truth_MK) * self._share_M[:, None]
            slope_K = residual_MK.sum(axis=0)
            slope_RK = self._rows_MR.T @ residual_MK - np.outer(axes.mean_R, slope_K) + penalty * coefficients_RK
            slopes = np.concatenate([2.0 * slope_K[None], scale_R1 * (axes.axes_RR.T @ slope_RK)])
            return float(self._share_M @ losses_M) + penalty / 2.0 * float((coefficients_RK**2).sum()), slopes.ravel()

        options = {"maxiter": _MAX_ITERATIONS, "gtol": _TOLERANCE, "ftol": 64 * np.finfo(float).eps}
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
        self.num_unconverged += found.nit >= _MAX_ITERATIONS
        self._intercepts_K, self.coefficients_RK = self._parameters(found.x, scale_R1)

    def probabilities(self, rows_LR: np.ndarray) -> np.ndarray:
        """Of the present classes."""
        shift_K = self._intercepts_K - self._axes.mean_R @ self.coefficients_RK
        logits_LK = rows_LR @ self.coefficients_RK + shift_K
        if logits_LK.shape[1] == 1:
            return np.concatenate([expit(-logits_LK), expit(logits_LK)], axis=1)
        return softmax(logits_LK, axis=1)

    def _parameters(self, point: np.ndarray, scale_R1: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Intercepts at the mean of the rows, and coefficients."""
        point_RK = point.reshape(-1, len(self._intercepts_K))
        return 2.0 * point_RK[0], self._axes.axes_RR @ (scale_R1 * point_RK[1:])


def _losses(logits_MK: np.ndarray, truth_MK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Negative log probability of each row's class, and the probabilities."""
    if logits_MK.shape[1] == 1:
        losses_MK = np.logaddexp(0.0, logits_MK) - truth_MK * logits_MK
        return losses_MK[:, 0], expit(logits_MK)
    return logsumexp(logits_MK, axis=1) - (truth_MK * logits_MK).sum(axis=1), softmax(logits_MK, axis=1)
