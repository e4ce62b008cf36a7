"""Connectivity as its deviation from the training fold's: covariances projected to the tangent space at their mean.

Varoquaux et al. (2010, MICCAI); the best of the connectivity measures for prediction in the comparisons of Dadi et al.
(2019, NeuroImage) and Pervaiz et al. (2020, NeuroImage). Covariances are shrunk correlations, from ``connectome.py``.

Shapes: N units, M of them, R recordings, P parcels, F = P (P + 1) / 2 features.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Bool, Float32, Float64, Int64
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from brainlm.baselines.connectome import Listener, shrunk_correlation
from brainlm.baselines.fold_features import mean_by_unit
from brainlm.baselines.gaussian import shrunk
from brainlm.data.store import Store

RECORDINGS_AT_ONCE = 32  # that one thread projects: 10 MB a step with 200 parcels


def covariances(store: Store, *, on_progress: Listener | None = None) -> Float32[np.ndarray, "R P P"]:
    """``shrunk_correlation`` of every recording; NaN in the rows and columns of parcels without signal.

    4 P^2 bytes a recording: 145 MB for 900 of 200 parcels.
    """
    result_RPP = np.empty((len(store), store.num_parcels, store.num_parcels), np.float32)
    with threadpool_limits(1):
        for index in range(len(store)):
            result_RPP[index] = shrunk_correlation(store.bold(index))
            if on_progress is not None:
                on_progress(index + 1, len(store))
    return result_RPP


@dataclass(frozen=True, eq=False)
class Tangent:
    """Tangent vectors of units, in the space of each fold's training units; ``FoldFeatures``.

    Args:
        covariances_RPP: of every recording, as ``covariances`` gives them.
        recordings: positions of each unit's recordings; a unit's vector is the mean of theirs.
    """

    covariances_RPP: Float32[np.ndarray, "R P P"]
    recordings: Sequence[Int64[np.ndarray, "_"]]

    @property
    def num_units(self) -> int:
        """N."""
        return len(self.recordings)

    def fit(self, train_M: Int64[np.ndarray, "M"]) -> FittedTangent:
        """The space at the mean of these units; a unit counts as one, however many recordings it has."""
        chosen = [self.recordings[unit] for unit in train_M.tolist()]
        weights_R = np.concatenate([np.full(len(positions), 1 / len(positions)) for positions in chosen])
        return FittedTangent(self, TangentSpace.fit(self.covariances_RPP[np.concatenate(chosen)], weights_R))


@dataclass(frozen=True, eq=False)
class FittedTangent:
    """A fold's tangent vectors; ``FittedFeatures``."""

    source: Tangent
    space: TangentSpace

    def transform(self, units_M: Int64[np.ndarray, "M"]) -> Float32[np.ndarray, "M F"]:
        """The mean tangent vector of the recordings of each unit."""
        chosen = [self.source.recordings[unit] for unit in units_M.tolist()]
        vectors_RF = self.space.project(self.source.covariances_RPP, np.concatenate(chosen))
        ends = np.cumsum([len(positions) for positions in chosen])
        return mean_by_unit(vectors_RF, np.split(np.arange(len(vectors_RF)), ends[:-1]))


@dataclass(frozen=True, eq=False)
class TangentSpace:
    """The space at a reference: C becomes log(W C W) with W = reference^(-1/2).

    The reference is the mean of the training covariances, not their geometric mean: the vectors differ little, and
    nothing is iterated. A recording without some parcels is completed by what the reference expects of these given the
    others, so that they deviate from it in nothing of their own.
    """

    reference_PP: Float64[np.ndarray, "P P"]
    whitening_PP: Float64[np.ndarray, "P P"]

    @classmethod
    def at(cls, reference_PP: Float64[np.ndarray, "P P"]) -> TangentSpace:
        """The space at a positive definite reference."""
        values_P, vectors_PP = np.linalg.eigh(reference_PP)
        assert values_P[0] > 0, "the reference is positive definite"
        return cls(reference_PP, (vectors_PP / np.sqrt(values_P)) @ vectors_PP.T)

    @classmethod
    def fit(
        cls, covariances_RPP: Float32[np.ndarray, "R P P"], weights_R: Float64[np.ndarray, "R"] | None = None
    ) -> TangentSpace:
        """The space at the (weighted) mean of covariances of which some may lack parcels (NaN).

        Missing entries are first left out of the mean, then completed by it: one step of expectation maximisation. A
        parcel that all of them lack has variance 1 and is uncorrelated with the rest.
        """
        weights_R = np.ones(len(covariances_RPP)) if weights_R is None else weights_R
        lacking_R = _lacking(covariances_RPP)
        total_PP = np.zeros(covariances_RPP.shape[1:])
        for index in np.flatnonzero(~lacking_R):  # one by one: no copy of all in float64
            total_PP += weights_R[index] * covariances_RPP[index]
        lacking = [(covariances_RPP[index], float(weights_R[index])) for index in np.flatnonzero(lacking_R)]
        if lacking:
            available_PP = _available_mean(total_PP, float(weights_R[~lacking_R].sum()), lacking)
            # A mean of other recordings entry by entry need not be positive definite.
            expected_PP = shrunk(torch.from_numpy(available_PP), 0.0).numpy()
            for covariance_PP, weight in lacking:
                total_PP += weight * completed(covariance_PP, expected_PP)
        return cls.at(total_PP / weights_R.sum())

    def project(
        self, covariances_RPP: Float32[np.ndarray, "R P P"], chosen_K: Int64[np.ndarray, "K"]
    ) -> Float32[np.ndarray, "K F"]:
        """The tangent vectors of the chosen covariances: the upper triangle with the diagonal, row by row.

        Entries off the diagonal are multiplied by the square root of 2, so that the length of a vector is the Frobenius
        norm of its matrix.
        """
        num_parcels = len(self.reference_PP)
        upper_F = np.flatnonzero(np.triu(np.ones((num_parcels, num_parcels), dtype=bool)))
        scale_F = np.full((num_parcels, num_parcels), np.sqrt(2.0)) - (np.sqrt(2.0) - 1) * np.eye(num_parcels)
        scale_F = scale_F.ravel()[upper_F]
        vectors_KF = np.empty((len(chosen_K), len(upper_F)), np.float32)

        def project_part(first: int) -> None:
            part = slice(first, first + RECORDINGS_AT_ONCE)
            logarithm_BPP = self.logarithms(covariances_RPP[chosen_K[part]])
            vectors_KF[part] = logarithm_BPP.reshape(len(logarithm_BPP), -1)[:, upper_F] * scale_F

        # Matrices of a few hundred rows are shared out among threads; within one, threads would wait for each other.
        with threadpool_limits(1), ThreadPoolExecutor(torch.get_num_threads()) as pool:
            list(pool.map(project_part, range(0, len(chosen_K), RECORDINGS_AT_ONCE)))
        return vectors_KF

    def logarithms(self, covariances_BPP: Float32[np.ndarray, "B P P"]) -> Float64[np.ndarray, "B P P"]:
        """log(W C W) of each covariance."""
        whole_BPP = covariances_BPP.astype(np.float64)
        for index in np.flatnonzero(_lacking(covariances_BPP)):
            whole_BPP[index] = completed(covariances_BPP[index], self.reference_PP)
        values_BP, vectors_BPP = np.linalg.eigh(self.whitening_PP @ whole_BPP @ self.whitening_PP)
        assert values_BP.min() > 0, "shrunk correlations are positive definite"
        return (vectors_BPP * np.log(values_BP)[:, None, :]) @ vectors_BPP.transpose(0, 2, 1)


def completed(
    covariance_PP: Float32[np.ndarray, "P P"], reference_PP: Float64[np.ndarray, "P P"]
) -> Float64[np.ndarray, "P P"]:
    """The covariance with missing parcels (NaN) as the reference has them given the parcels that are there.

    With B the regression of the missing on the present ones under the reference: C_mp = B C_pp, and C_mm is what the
    reference leaves unexplained plus B C_pp B'. Positive definite whenever both are.
    """
    present = ~np.isnan(covariance_PP.diagonal())
    if not present.any():
        return reference_PP.copy()
    known_PP = covariance_PP[np.ix_(present, present)].astype(np.float64)
    factor = scipy.linalg.cho_factor(reference_PP[np.ix_(present, present)], lower=True)
    across_PM = reference_PP[np.ix_(present, ~present)]
    regression_PM = scipy.linalg.cho_solve(factor, across_PM)
    explained_PM = known_PP @ regression_PM
    result_PP = np.empty_like(reference_PP)
    result_PP[np.ix_(present, present)] = known_PP
    result_PP[np.ix_(present, ~present)] = explained_PM
    result_PP[np.ix_(~present, present)] = explained_PM.T
    residual_MM = reference_PP[np.ix_(~present, ~present)] - across_PM.T @ regression_PM
    result_PP[np.ix_(~present, ~present)] = residual_MM + regression_PM.T @ explained_PM
    return result_PP


def _lacking(covariances_RPP: Float32[np.ndarray, "R P P"]) -> Bool[np.ndarray, "R"]:
    """True for the recordings that lack a parcel."""
    return np.isnan(covariances_RPP.diagonal(axis1=1, axis2=2)).any(axis=1)


def _available_mean(
    total_PP: Float64[np.ndarray, "P P"],
    total_weight: float,
    lacking: Sequence[tuple[Float32[np.ndarray, "P P"], float]],
) -> Float64[np.ndarray, "P P"]:
    """The weighted mean of what is there, entry by entry; the identity where nothing is.

    Args:
        total_PP: weighted sum of the covariances that lack nothing.
        total_weight: their weight.
        lacking: the others, each with its weight.
    """
    sum_PP, weight_PP = total_PP.copy(), np.full_like(total_PP, total_weight)
    for covariance_PP, weight in lacking:
        known_P = ~np.isnan(covariance_PP.diagonal())
        sum_PP += weight * np.nan_to_num(covariance_PP)
        weight_PP += weight * np.outer(known_P, known_P)
    return np.where(weight_PP > 0, sum_PP / np.where(weight_PP > 0, weight_PP, 1), np.eye(len(sum_PP)))
