"""Support vector machines with a linear kernel; C is chosen, and decisions become probabilities, inside the fold.

Decisions of the inner folds, which no row's own model has seen, are what the logistic calibration (Platt 1999) is
fitted to: the same as scikit-learn's CalibratedClassifierCV(ensemble=False), with subjects kept together.

A few thousand rows go through scikit-learn with their kernel matrix. More rows than that, and more than features, are
solved by an interior point method (``hinge_machine.py``): the same optimum, in time and memory linear in the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

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
from brainlm.evaluation.phenotypes.hinge_machine import classifying_machine, regressing_machine
from brainlm.evaluation.phenotypes.problem import InnerFolds
from brainlm.evaluation.phenotypes.rotation import Coordinates

# Relative to a kernel whose mean diagonal is 1.
STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)
MOST_KERNEL_ROWS = 2048  # scikit-learn's solver takes time with their square to cube, and memory with their square
_CALIBRATION_C = 1e4


def vector_regression(
    coordinates: Coordinates,
    values_M: Float64[np.ndarray, "M"],
    weights_M: Float64[np.ndarray, "M"],
    *,
    inner: InnerFolds,
) -> Fit:
    """Of standardised values (the insensitive tube is 0.1 of their spread); C by the squared error in inner folds."""
    rows = _Rows.of(coordinates)
    everybody = np.arange(len(values_M))
    with counting_unconverged() as unconverged:
        candidates = []
        for strength in STRENGTHS:
            inner_M = np.full(len(values_M), np.nan)
            for train, test in inner:
                inner_M[test] = rows.regression(values_M, weights_M, train, strength)(test)
            candidates.append(inner_M[:, None])
        errors = [squared_error(inner_MK, values_M[:, None], weights_M)[0] for inner_MK in candidates]
        best = int(np.argmin(errors))
        predicted_L = rows.regression(values_M, weights_M, everybody, STRENGTHS[best])(None)
    return Fit(predicted_L[:, None].astype(np.float64), candidates[best], STRENGTHS[best], unconverged.num)


def vector_classification(
    coordinates: Coordinates,
    classes_M: Int64[np.ndarray, "M"],
    weights_M: Float64[np.ndarray, "M"],
    *,
    num_classes: int,
    inner: InnerFolds,
) -> Fit:
    """Calibrated probabilities; C by their log loss in inner folds."""
    rows = _Rows.of(coordinates)
    everybody = np.arange(len(classes_M))
    usable = [(train, test) for train, test in inner if len(np.unique(classes_M[train])) > 1]
    with counting_unconverged() as unconverged:
        candidates = []
        for strength in STRENGTHS:
            decisions_MD = np.full((len(classes_M), 1 if num_classes == 2 else num_classes), np.nan)
            for train, test in usable:
                decisions_MD[test] = rows.classification(classes_M, weights_M, num_classes, train, strength)(test)
            calibration = _calibration(decisions_MD, classes_M, weights_M)
            candidates.append((calibration, _probabilities(calibration, decisions_MD, num_classes)))
        best = int(np.argmin([log_loss(inner_MC, classes_M, weights_M) for _, inner_MC in candidates]))
        calibration, inner_MC = candidates[best]
        decisions_LD = rows.classification(classes_M, weights_M, num_classes, everybody, STRENGTHS[best])(None)
        predicted_LC = _probabilities(calibration, decisions_LD, num_classes)
    return Fit(as_outputs(predicted_LC), as_outputs(inner_MC), STRENGTHS[best], unconverged.num)


# Decisions of training rows by their positions, or of the test rows (None).
_Decisions: TypeAlias = Callable[[np.ndarray | None], np.ndarray]


@dataclass(frozen=True, eq=False)
class _Rows:
    """Both sides of a fold, at a scale at which a row's squared length is 1 on average.

    Attributes:
        train_MR: training rows.
        test_LR: test rows.
        kernel_MM: products of training rows; None where there are too many of them.
    """

    train_MR: np.ndarray
    test_LR: np.ndarray
    kernel_MM: np.ndarray | None

    @classmethod
    def of(cls, coordinates: Coordinates) -> _Rows:
        train_MR = coordinates.train_MR
        size = float(np.einsum("mr,mr->", train_MR, train_MR)) / len(train_MR) or 1.0
        few = len(train_MR) <= max(MOST_KERNEL_ROWS, train_MR.shape[1])
        scale = np.sqrt(size)
        return cls(train_MR / scale, coordinates.test_LR / scale, train_MR @ train_MR.T / size if few else None)

    def regression(self, values_M: np.ndarray, weights_M: np.ndarray, train: np.ndarray, strength: float) -> _Decisions:
        """Support vector regression of some training rows."""
        if self.kernel_MM is None:
            plane = regressing_machine(self.train_MR[train], values_M[train], strength * weights_M[train])
            return lambda rows: plane.decisions(self._side(rows))
        machine = SVR(kernel="precomputed", C=strength)
        machine.fit(self.kernel_MM[np.ix_(train, train)], values_M[train], sample_weight=weights_M[train])
        return lambda rows: machine.predict(self._kernel(rows, train))

    def classification(
        self, classes_M: np.ndarray, weights_M: np.ndarray, num_classes: int, train: np.ndarray, strength: float
    ) -> _Decisions:
        """Support vector classification: a column for two classes, else one a class."""
        if self.kernel_MM is None:
            machines = classifying_machine(self.train_MR[train], classes_M[train], strength * weights_M[train])
            decide = machines.decisions
            return lambda rows: _columns(decide(self._side(rows)), machines.classes_C, num_classes)
        machine = SVC(kernel="precomputed", C=strength)
        machine.fit(self.kernel_MM[np.ix_(train, train)], classes_M[train], sample_weight=weights_M[train])
        return lambda rows: _columns(
            machine.decision_function(self._kernel(rows, train)), machine.classes_, num_classes
        )

    def _side(self, rows: np.ndarray | None) -> np.ndarray:
        return self.test_LR if rows is None else self.train_MR[rows]

    def _kernel(self, rows: np.ndarray | None, train: np.ndarray) -> np.ndarray:
        if rows is None or self.kernel_MM is None:
            return self._side(rows) @ self.train_MR[train].T
        return self.kernel_MM[np.ix_(rows, train)]


def _columns(decisions: np.ndarray, classes_C: np.ndarray, num_classes: int) -> np.ndarray:
    """One column for two classes, else one a class; a class that the machine does not know lies behind all others."""
    decisions = decisions.reshape(len(decisions), -1)
    if num_classes == 2:
        return decisions
    if decisions.shape[1] == 1:
        decisions = np.concatenate([-decisions, decisions], axis=1)
    return all_classes(decisions, classes_C, num_classes, absent=float(decisions.min()) - 1.0)


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
