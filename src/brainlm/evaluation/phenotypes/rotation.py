"""Features of one fold made ready: gaps filled, constant columns dropped, standardised, and as short as rows allow.

With more features than training rows the standardised rows are rotated into the span of the training rows. For every
model whose penalty is the length of its coefficients (ridge, L2 logistic, linear SVM) that changes nothing: the part
of the coefficients outside the span is 0 at the optimum (the representer theorem; Hastie & Tibshirani 2004,
Biostatistics 5, 329). 19,900 columns become 729, and nothing of the test rows has been used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from brainlm.evaluation.phenotypes.imputing import Filled, fill_gaps

_COLUMNS_AT_ONCE = 2048
# A spread this small beside the mean is rounding, not variation (float32 features).
_CONSTANT = 1e-7
# Relative to the largest eigenvalue of the Gram matrix.
_RANK_TOLERANCE = 1e-10


@dataclass(frozen=True, eq=False)
class Coordinates:
    """One block of features in one fold, the same for all estimators and all permutations of the labels.

    Attributes:
        train_MR: mean 0 over training rows, and 1 as the mean variance of a coordinate.
        test_LR: the test rows, by the training rows' medians, means and spreads.
        scale: length in these coordinates of a standardised row of length 1; a ridge penalty a on standardised
            features is a * scale**2 here.
        num_constant: columns that are constant (or nowhere known) in training rows, and were dropped.
    """

    train_MR: Float64[np.ndarray, "M R"]
    test_LR: Float64[np.ndarray, "L R"]
    scale: float
    num_constant: int


def to_coordinates(
    train_MF: Float[np.ndarray, "M F"],
    test_LF: Float[np.ndarray, "L F"],
    *,
    weights_M: Float64[np.ndarray, "M"] | None = None,
) -> Coordinates:
    """Both sides of a fold in coordinates fitted on the training side."""
    filled = fill_gaps(train_MF, test_LF)
    standard = _Standard.fit(filled, weights_M)
    pieces = standard.pieces(filled)
    if standard.num_kept == 0:
        return Coordinates(np.zeros((len(train_MF), 1)), np.zeros((len(test_LF), 1)), 1.0, train_MF.shape[1])
    num_constant = train_MF.shape[1] - standard.num_kept
    if standard.num_kept <= len(train_MF):
        train, test = (np.concatenate(side, axis=1) for side in zip(*pieces, strict=True))
        return Coordinates(train, test, 1.0, num_constant)
    return _rotated(pieces, len(train_MF), len(test_LF), standard.num_kept, num_constant)


def _rotated(
    pieces: Iterator[tuple[np.ndarray, np.ndarray]], num_train: int, num_test: int, num_kept: int, num_constant: int
) -> Coordinates:
    """Coordinates along the principal axes of the training rows, from products of rows alone."""
    gram_MM = np.zeros((num_train, num_train))
    cross_LM = np.zeros((num_test, num_train))
    for train, test in pieces:
        gram_MM += train @ train.T
        cross_LM += test @ train.T
    values_R, axes_MR = np.linalg.eigh(gram_MM)
    kept_R = values_R > _RANK_TOLERANCE * values_R[-1]
    lengths_R, axes_MR = np.sqrt(values_R[kept_R])[::-1], axes_MR[:, kept_R][:, ::-1]
    scale = float(np.sqrt(len(lengths_R) / num_kept))
    train_MR = axes_MR * (lengths_R * scale)
    return Coordinates(train_MR, cross_LM @ (axes_MR / lengths_R) * scale, scale, num_constant)


@dataclass(frozen=True, eq=False)
class _Standard:
    """Mean and spread of the training rows per column; 0 as spread marks a column to drop."""

    mean_F: np.ndarray
    sd_F: np.ndarray

    @classmethod
    def fit(cls, filled: Filled, weights_M: np.ndarray | None) -> _Standard:
        train_MF = filled.train_MF
        weights_M = np.ones(len(train_MF)) if weights_M is None else weights_M
        shares_M = weights_M / weights_M.sum()
        mean_F, sd_F = np.empty(train_MF.shape[1]), np.empty(train_MF.shape[1])
        for columns in _slices(train_MF.shape[1]):
            block = train_MF[:, columns].astype(np.float64)
            mean_F[columns] = shares_M @ block
            sd_F[columns] = np.sqrt(shares_M @ (block - mean_F[columns]) ** 2)
        varies_F = filled.known_F & (sd_F > _CONSTANT * np.abs(mean_F)) & (sd_F > 0)
        return cls(mean_F, np.where(varies_F, sd_F, 0.0))

    @property
    def num_kept(self) -> int:
        return int((self.sd_F > 0).sum())

    def pieces(self, filled: Filled) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Standardised columns of both sides, some at a time: a connectome is never there twice in double precision."""
        for columns in _slices(len(self.sd_F)):
            kept = np.flatnonzero(self.sd_F[columns]) + columns.start
            mean, sd = self.mean_F[kept], self.sd_F[kept]
            yield tuple((side.take(kept, axis=1) - mean) / sd for side in (filled.train_MF, filled.test_LF))


def _slices(num_columns: int) -> Iterator[slice]:
    for start in range(0, num_columns, _COLUMNS_AT_ONCE):
        yield slice(start, min(start + _COLUMNS_AT_ONCE, num_columns))
