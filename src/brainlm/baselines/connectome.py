"""Functional connectivity: the correlation, or the partial correlation, of every two parcels of each recording.

The strongest simple features there are for traits. Nothing here is fitted across recordings; the tangent space, which
is, is in ``tangent.py``, and what a fold is given in ``fold_features.py``.

Shapes: N recordings, T time points, P parcels, E = P (P - 1) / 2 edges.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float, Float32, Float64
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from brainlm.data.store import Store

ConnectomeKind = Literal["correlation", "partial"]
Listener = Callable[[int, int], None]

# The least share of the identity in a shrunk correlation matrix. Estimated shares of real recordings are 0.01 to 0.2;
# only degenerate ones (two time points, copies of one parcel) would be left without an inverse.
MIN_SHRINKAGE = 1e-4


def connectomes(
    store: Store, kind: ConnectomeKind, *, on_progress: Listener | None = None
) -> Float32[np.ndarray, "N E"]:
    """The edges of every recording: the upper triangle of its matrix, row by row (``np.triu_indices(P, 1)``).

    - ``correlation``: Pearson's r over all time points.
    - ``partial``: what two parcels share beyond all the others, from the inverse of ``shrunk_correlation`` (the plain
      matrix has no inverse where there are fewer time points than parcels).

    Values are r, not Fisher's z: a linear model on ABIDE predicts alike from both, and r is finite for parcels that are
    copies of each other. Edges of a parcel without signal in that recording are NaN.

    Args:
        store: recordings of any lengths.
        kind: see above.
        on_progress: called with (recordings done, all of them).
    """
    matrix_of = {"correlation": correlation, "partial": partial_correlation}[kind]
    upper_E = np.flatnonzero(np.triu(np.ones((store.num_parcels, store.num_parcels), dtype=bool), 1))
    edges_NE = np.empty((len(store), len(upper_E)), np.float32)
    # Matrices of a few hundred rows: threads within one would wait for each other longer than they compute.
    with threadpool_limits(1):
        for index in range(len(store)):
            np.take(matrix_of(store.bold(index)), upper_E, out=edges_NE[index], mode="clip")
            if on_progress is not None:
                on_progress(index + 1, len(store))
    return edges_NE


def correlation(bold_TP: Float[np.ndarray, "T P"]) -> Float32[np.ndarray, "P P"]:
    """Pearson's r between the parcels of one recording; NaN in the rows and columns of parcels without signal."""
    series = unit_series(bold_TP)
    return _with_absent(series.unit_TP.T @ series.unit_TP, series.present_P)


def shrunk_correlation(bold_TP: Float[np.ndarray, "T P"]) -> Float32[np.ndarray, "P P"]:
    """(1 - s) R + s I, positive definite at any length, with the share s of Ledoit and Wolf (2004, J. Multivar. Anal.).

    R is the correlation of the parcels with signal; the others are NaN. The same as scikit-learn's ``ledoit_wolf`` on
    standardised parcels.
    """
    series = unit_series(bold_TP)
    return _with_absent(_shrunk(series), series.present_P)


def partial_correlation(bold_TP: Float[np.ndarray, "T P"]) -> Float32[np.ndarray, "P P"]:
    """The partial correlations of the parcels of one recording, by the inverse of ``shrunk_correlation``.

    1 on the diagonal; NaN in the rows and columns of parcels without signal, which take no part in the others.
    """
    series = unit_series(bold_TP)
    # Absent parcels are uncorrelated with all others here, so they leave the inverse of the others as it is.
    shrunk_PP = _shrunk(series).astype(np.float64)
    factor_PP, _ = scipy.linalg.cho_factor(shrunk_PP, lower=True, overwrite_a=True, check_finite=False)
    inverse_PP, failure = scipy.linalg.lapack.dpotri(factor_PP, lower=True, overwrite_c=True)
    assert failure == 0, "the matrix is positive definite"
    lower_PP = np.tril(inverse_PP, -1)
    scale_P = 1 / np.sqrt(inverse_PP.diagonal())
    partial_PP = -(lower_PP + lower_PP.T) * scale_P[:, None] * scale_P
    np.fill_diagonal(partial_PP, 1.0)
    return _with_absent(partial_PP.astype(np.float32), series.present_P)


@dataclass(frozen=True, eq=False)
class UnitSeries:
    """A recording whose parcels have mean 0 and sum of squares 1, so that their products are correlations.

    Parcels without signal (NaN, or constant) are 0 throughout and not ``present_P``.
    """

    unit_TP: Float32[np.ndarray, "T P"]
    present_P: Bool[np.ndarray, "P"]


def unit_series(bold_TP: Float[np.ndarray, "T P"]) -> UnitSeries:
    """The unit series of one recording, in any units."""
    # Relative to the first time point: a constant parcel becomes exactly 0, and levels around 10,000 cost no digits.
    unit_TP = np.asarray(bold_TP, np.float32) - np.asarray(bold_TP[:1], np.float32)
    unit_TP -= unit_TP.mean(axis=0, dtype=np.float64).astype(np.float32)
    norm_P = np.sqrt(np.einsum("tp,tp->p", unit_TP, unit_TP))
    present_P = norm_P > 0  # False for NaN, too
    if present_P.all():
        unit_TP /= norm_P
        return UnitSeries(unit_TP, present_P)
    unit_TP[:, ~present_P] = 0.0
    unit_TP /= np.where(present_P, norm_P, np.float32(1))
    return UnitSeries(unit_TP, present_P)


def shrinkage(series: UnitSeries, correlation_PP: Float32[np.ndarray, "P P"]) -> float:
    """The share of the identity that Ledoit and Wolf's formula gives, between ``MIN_SHRINKAGE`` and 1.

    Their b^2 / d^2 with m = 1, for standardised variables: d^2 is the mean squared distance of the matrix from the
    identity, b^2 the sampling variance of its entries as if time points were independent.
    """
    num_timepoints, num_present = len(series.unit_TP), int(series.present_P.sum())
    squares_T = np.einsum("tp,tp->t", series.unit_TP, series.unit_TP, dtype=np.float64)
    squared_norm = float(np.einsum("pq,pq->", correlation_PP, correlation_PP, dtype=np.float64))
    noise = float(squares_T @ squares_T) - squared_norm / num_timepoints
    distance = squared_norm - num_present
    return min(max(noise / distance, MIN_SHRINKAGE), 1.0) if distance > 0 else 1.0


def _shrunk(series: UnitSeries) -> Float32[np.ndarray, "P P"]:
    """The shrunk correlation; parcels without signal are uncorrelated with all others."""
    correlation_PP = series.unit_TP.T @ series.unit_TP
    shrunk_PP = correlation_PP * np.float32(1 - shrinkage(series, correlation_PP))
    np.fill_diagonal(shrunk_PP, 1.0)
    return shrunk_PP


def _with_absent(
    matrix_PP: Float32[np.ndarray, "P P"] | Float64[np.ndarray, "P P"], present_P: Bool[np.ndarray, "P"]
) -> Float32[np.ndarray, "P P"]:
    if not present_P.all():
        matrix_PP[~present_P] = np.nan
        matrix_PP[:, ~present_P] = np.nan
    return matrix_PP
