"""Support vector machines with a linear kernel; C is chosen, and decisions become probabilities, inside the fold.

Decisions of the inner folds, which no row's own model has seen, are what the logistic calibration (Platt 1999) is
fitted to: the same as scikit-learn's CalibratedClassifierCV(ensemble=False), with subjects kept together.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC, SVR

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

# Relative to a kernel whose mean diagonal is 1.
STRENGTHS = (0.01, 0.1, 1.0, 10.0)
_CALIBRATION_C = 1e4


def vector_regression(
    coordinates: Coordinates,
    values_M: Float64[np.ndarray, "M"],
    weights_M: Float64[np.ndarray, "M"],
    *,
    inner: InnerFolds,
) -> Fit:
    """Of standardised values (the insensitive tube is 0.1 of their spread); C by the squared error in inner folds."""
    train_MM, test_LM = _kernels(coordinates)
    with counting_unconverged() as unconverged:
        candidates = []
        for strength in STRENGTHS:
            inner_M = np.full(len(values_M), np.nan)
            for train, test in inner:
                machine = SVR(kernel="precomputed", C=strength)
                machine.fit(train_MM[np.ix_(train, train)], values_M[train], sample_weight=weights_M[train])
                inner_M[test] = machine.predict(train_MM[np.ix_(test, train)])
            candidates.append(inner_M[:, None])
        errors = [squared_error(inner_MK, values_M[:, None], weights_M)[0] for inner_MK in candidates]
        best = int(np.argmin(errors))
        machine = SVR(kernel="precomputed", C=STRENGTHS[best]).fit(train_MM, values_M, sample_weight=weights_M)
    predicted_LK = machine.predict(test_LM)[:, None].astype(np.float64)
    return Fit(predicted_LK, candidates[best], STRENGTHS[best], unconverged.num)


def vector_classification(
    coordinates: Coordinates,
    classes_M: Int64[np.ndarray, "M"],
    weights_M: Float64[np.ndarray, "M"],
    *,
    num_classes: int,
    inner: InnerFolds,
) -> Fit:
    """Calibrated probabilities; C by their log loss in inner folds."""
    train_MM, test_LM = _kernels(coordinates)
    usable = [(train, test) for train, test in inner if len(np.unique(classes_M[train])) > 1]
    with counting_unconverged() as unconverged:
        candidates = []
        for strength in STRENGTHS:
            decisions_MD = _inner_decisions(train_MM, classes_M, weights_M, num_classes, usable, strength)
            calibration = _calibration(decisions_MD, classes_M, weights_M)
            candidates.append((calibration, _probabilities(calibration, decisions_MD, num_classes)))
        best = int(np.argmin([log_loss(inner_MC, classes_M, weights_M) for _, inner_MC in candidates]))
        calibration, inner_MC = candidates[best]
        machine = SVC(kernel="precomputed", C=STRENGTHS[best]).fit(train_MM, classes_M, sample_weight=weights_M)
        predicted_LC = _probabilities(calibration, _decisions(machine, test_LM, num_classes), num_classes)
    return Fit(as_outputs(predicted_LC), as_outputs(inner_MC), STRENGTHS[best], unconverged.num)


def _kernels(coordinates: Coordinates) -> tuple[np.ndarray, np.ndarray]:
    train_MM = coordinates.train_MR @ coordinates.train_MR.T
    size = float(np.trace(train_MM)) / len(train_MM) or 1.0
    return train_MM / size, coordinates.test_LR @ coordinates.train_MR.T / size


def _inner_decisions(
    train_MM: np.ndarray,
    classes_M: np.ndarray,
    weights_M: np.ndarray,
    num_classes: int,
    inner: InnerFolds,
    strength: float,
) -> np.ndarray:
    decisions_MD = np.full((len(classes_M), 1 if num_classes == 2 else num_classes), np.nan)
    for train, test in inner:
        machine = SVC(kernel="precomputed", C=strength)
        machine.fit(train_MM[np.ix_(train, train)], classes_M[train], sample_weight=weights_M[train])
        decisions_MD[test] = _decisions(machine, train_MM[np.ix_(test, train)], num_classes)
    return decisions_MD


def _decisions(machine: SVC, kernel_LM: np.ndarray, num_classes: int) -> np.ndarray:
    """One column for two classes, else one a class; a class that the machine does not know lies behind all others."""
    decisions = machine.decision_function(kernel_LM).reshape(len(kernel_LM), -1)
    if num_classes == 2:
        return decisions
    if decisions.shape[1] == 1:
        decisions = np.concatenate([-decisions, decisions], axis=1)
    return all_classes(decisions, machine.classes_, num_classes, absent=float(decisions.min()) - 1.0)


def _calibration(decisions_MD: np.ndarray, classes_M: np.ndarray, weights_M: np.ndarray) -> LogisticRegression:
    tested_M = np.isfinite(decisions_MD).all(axis=1)
    model = LogisticRegression(C=_CALIBRATION_C, max_iter=1000)
    return model.fit(decisions_MD[tested_M], classes_M[tested_M], sample_weight=weights_M[tested_M])


def _probabilities(calibration: LogisticRegression, decisions_MD: np.ndarray, num_classes: int) -> np.ndarray:
    probabilities_MC = np.full((len(decisions_MD), num_classes), np.nan)
    tested_M = np.isfinite(decisions_MD).all(axis=1)
    if tested_M.any():
        known = calibration.predict_proba(decisions_MD[tested_M])
        probabilities_MC[tested_M] = all_classes(known, calibration.classes_, num_classes)
    return probabilities_MC
