"""One fold, one block of features, one estimator: everything that is fitted sees training rows only.

Features come as ``Coordinates`` (``rotation.py``), which all estimators and permutations of a fold share. Which blocks
and estimators make up a table is said in ``methods.py``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64

from brainlm.evaluation.phenotypes.fits import Fit, as_outputs
from brainlm.evaluation.phenotypes.linear import logistic, ridge
from brainlm.evaluation.phenotypes.perceptron import perceptron_classification, perceptron_regression
from brainlm.evaluation.phenotypes.problem import InnerFolds, Problem
from brainlm.evaluation.phenotypes.rotation import Coordinates
from brainlm.evaluation.phenotypes.vector_machine import vector_classification, vector_regression

Estimator = Literal["linear", "svm", "mlp"]
"""Ridge or logistic regression; support vector machine with a linear kernel; perceptron with one hidden layer."""


def fit_predict(
    estimator: Estimator,
    coordinates: Coordinates,
    problem: Problem,
    train_M: Int64[np.ndarray, "M"],
    *,
    inner: InnerFolds,
) -> Fit:
    """Predictions for the test rows of ``coordinates``, with the strength chosen in ``inner``.

    ``train_M`` are the units of the training rows; labels of other units are not looked at.
    """
    assert len(train_M) == len(coordinates.train_MR), "as many labels as training rows"
    if problem.kind == "regression":
        return _fit_values(estimator, coordinates, problem, train_M, inner)
    return _fit_classes(estimator, coordinates, problem, train_M, inner)


def predict_chance(problem: Problem, train_M: Int64[np.ndarray, "M"], num_test: int) -> Float64[np.ndarray, "L K"]:
    """What one says without any features: the mean of the training fold, or the shares of its classes."""
    if problem.kind == "regression":
        scale = problem.scale_of(train_M)
        return scale.original(np.zeros((num_test, 1)))
    votes_C = np.bincount(problem.classes_of(train_M), problem.weights_N[train_M], minlength=problem.num_classes)
    return as_outputs(np.tile(votes_C / votes_C.sum(), (num_test, 1)))


def _fit_values(
    estimator: Estimator, coordinates: Coordinates, problem: Problem, train_M: np.ndarray, inner: InnerFolds
) -> Fit:
    scale = problem.scale_of(train_M)
    values_M = scale.standardised(problem.values_N[train_M])
    weights_M = problem.weights_N[train_M]
    if estimator == "linear":
        fits = ridge(coordinates, values_M[:, None], weights_M, inner=inner)
        fit = Fit(fits.predicted_LT, fits.inner_MT, float(fits.penalties_T[0]), coefficients_KR=fits.coefficients_TR)
    elif estimator == "svm":
        fit = vector_regression(coordinates, values_M, weights_M, inner=inner)
    else:
        fit = perceptron_regression(coordinates, values_M, weights_M, inner=inner, seed=problem.seed)
    return replace(fit, predicted_LK=scale.original(fit.predicted_LK), inner_MK=scale.original(fit.inner_MK))


def _fit_classes(
    estimator: Estimator, coordinates: Coordinates, problem: Problem, train_M: np.ndarray, inner: InnerFolds
) -> Fit:
    classes_M, weights_M, num_classes = problem.classes_of(train_M), problem.weights_N[train_M], problem.num_classes
    if estimator == "linear":
        return logistic(coordinates, classes_M, weights_M, num_classes=num_classes, inner=inner)
    if estimator == "svm":
        return vector_classification(coordinates, classes_M, weights_M, num_classes=num_classes, inner=inner)
    return perceptron_classification(
        coordinates, classes_M, weights_M, num_classes=num_classes, inner=inner, seed=problem.seed
    )
