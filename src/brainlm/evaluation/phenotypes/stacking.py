"""Late fusion: what a linear model makes of the predictions of several blocks, and so whether one adds to another.

It learns from predictions of the inner folds, which no row's own model has made, and is applied to those of the test
rows (stacked generalisation: Wolpert 1992, Neural Networks 5, 241).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from brainlm.evaluation.phenotypes.estimators import fit_predict
from brainlm.evaluation.phenotypes.fits import Fit
from brainlm.evaluation.phenotypes.problem import InnerFolds, Problem
from brainlm.evaluation.phenotypes.rotation import to_coordinates

# Log-odds are cut off at +-6.9: a certain block could not be outvoted.
_SMALLEST_PROBABILITY = 1e-3


@dataclass(frozen=True, eq=False)
class Stacked:
    """The fused predictions of one fold.

    Attributes:
        fit: as of any estimator.
        weights_B: of each block: change of the standardised target (or of the log-odds) per standard deviation of the
            block's prediction; over several classes the mean of each class's weight on its own prediction.
    """

    fit: Fit
    weights_B: Float64[np.ndarray, "B"]


def stack(fits: Sequence[Fit], problem: Problem, train_M: Int64[np.ndarray, "M"], *, inner: InnerFolds) -> Stacked:
    """Fuses ``fits`` of the same fold, which must have been made with the same ``inner`` folds."""
    assert len(fits) > 1, "one block has nothing to be fused with"
    train_MF = np.concatenate([_evidence(fit.inner_MK, problem) for fit in fits], axis=1)
    test_LF = np.concatenate([_evidence(fit.predicted_LK, problem) for fit in fits], axis=1)
    coordinates = to_coordinates(train_MF, test_LF, weights_M=problem.weights_N[train_M])
    fit = fit_predict("linear", coordinates, problem, train_M, inner=inner)
    return Stacked(fit, _weights(fit, problem, train_MF, len(fits)))


def _evidence(predicted_MK: np.ndarray, problem: Problem) -> np.ndarray:
    """Values as they are fitted; classes as log-odds, in which independent evidence adds up."""
    if problem.kind == "regression":
        return np.log(predicted_MK) if problem.transform == "log" else predicted_MK
    kept = np.clip(predicted_MK, _SMALLEST_PROBABILITY, 1.0 - _SMALLEST_PROBABILITY)
    return np.log(kept) - np.log1p(-kept)


def _weights(fit: Fit, problem: Problem, train_MF: np.ndarray, num_blocks: int) -> np.ndarray:
    assert fit.coefficients_KR is not None, "linear models have coefficients"
    # A block that says the same of everybody was dropped as constant; its weight is 0.
    varies_F = np.nanstd(train_MF, axis=0) > 0
    coefficients_KF = np.zeros((len(fit.coefficients_KR), train_MF.shape[1]))
    if varies_F.sum() == fit.coefficients_KR.shape[1]:
        coefficients_KF[:, varies_F] = fit.coefficients_KR
    by_block = coefficients_KF.reshape(len(coefficients_KF), num_blocks, -1)
    if problem.num_outputs == 1:
        return by_block[0, :, 0]
    return np.einsum("kbk->b", by_block) / problem.num_outputs
