"""What an estimator gives back for one fold, and the losses by which its strength is chosen in inner folds.

The estimators themselves are in ``linear.py``, ``vector_machine.py`` and ``perceptron.py``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from sklearn.exceptions import ConvergenceWarning

# Probabilities are kept off 0 and 1 in the loss, or one confident error would decide alone.
_SMALLEST_PROBABILITY = 1e-6


@dataclass(frozen=True, eq=False)
class Fit:
    """One estimator's predictions in one fold.

    Attributes:
        predicted_LK: of the test rows: value in original units, probability of the positive class, or probabilities.
        inner_MK: of the training rows, each predicted by a model of the inner folds that did not see it, at the
            strength that was chosen: what late fusion learns from. NaN where no inner fold tests a row.
        strength: the chosen penalty or C, on the estimator's own scale.
        num_unconverged: fits that stopped at their limit of iterations.
        coefficients_KR: of linear models, per coordinate.
    """

    predicted_LK: Float64[np.ndarray, "L K"]
    inner_MK: Float64[np.ndarray, "M K"]
    strength: float
    num_unconverged: int = 0
    coefficients_KR: Float64[np.ndarray, "K R"] | None = None


@dataclass
class Unconverged:
    """How many fits ran into their limit of iterations."""

    num: int = 0


@contextmanager
def counting_unconverged() -> Iterator[Unconverged]:
    """Counts scikit-learn's convergence warnings instead of showing thousands of them; others pass through."""
    count = Unconverged()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        yield count
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            count.num += 1
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def log_loss(
    probabilities_MC: Float64[np.ndarray, "M C"], classes_M: Int64[np.ndarray, "M"], weights_M: Float64[np.ndarray, "M"]
) -> float:
    """Mean negative log probability of the true class, over the rows that were predicted."""
    tested_M = np.isfinite(probabilities_MC).all(axis=1)
    true_M = probabilities_MC[tested_M, classes_M[tested_M]]
    losses_M = -np.log(np.clip(true_M, _SMALLEST_PROBABILITY, 1.0))
    return float(np.average(losses_M, weights=weights_M[tested_M]))


def squared_error(
    predicted_MT: Float64[np.ndarray, "M T"],
    values_MT: Float64[np.ndarray, "M T"],
    weights_M: Float64[np.ndarray, "M"],
) -> Float64[np.ndarray, "T"]:
    """Weighted mean squared error per column, over the rows that were predicted."""
    tested_M = np.isfinite(predicted_MT).all(axis=1)
    errors_MT = (predicted_MT[tested_M] - values_MT[tested_M]) ** 2
    return np.asarray(np.average(errors_MT, axis=0, weights=weights_M[tested_M]))


def as_outputs(probabilities_MC: Float64[np.ndarray, "M C"]) -> Float64[np.ndarray, "M K"]:
    """Of two classes the second's probability alone; of more, all."""
    return probabilities_MC[:, 1:] if probabilities_MC.shape[1] == 2 else probabilities_MC


def all_classes(
    values_MA: Float64[np.ndarray, "M A"], present_A: Int64[np.ndarray, "A"], num_classes: int, *, absent: float = 0.0
) -> Float64[np.ndarray, "M C"]:
    """Columns for all classes from those of the classes that an inner fold has."""
    values_MC = np.full((len(values_MA), num_classes), absent)
    values_MC[:, present_A] = values_MA
    return values_MC
