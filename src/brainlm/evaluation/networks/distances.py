"""How far parcels are from each other in a fold: by three metrics, standardised by the training parcels, no NaN used.

Two parcels are compared in the numbers that are known of both. All metrics follow from a few sums over those, and sums
over recordings can be weighted: so drawing subjects anew costs no second look at the features.

Shapes: W weightings of recordings, N recordings, Q parcels with a network, M training parcels, F numbers, D metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Int64

from brainlm.evaluation.networks.parcel_features import ParcelFeatures

METRICS = ("euclidean", "cosine", "correlation")
RECORDINGS_AT_ONCE = 50
FARTHEST = np.float32(1e6)  # parcels that share no known number; no distance of standardised numbers comes near
CONSTANT = np.float32(1e-6)  # a spread below this share of the largest value is rounding


@dataclass(frozen=True, eq=False)
class PairSums:
    """Sums over the standardised numbers x, y that are known of both parcels of a pair, weighted over recordings.

    Attributes:
        product_WQQ: x y.
        square_WQQ: x^2 of the first parcel (row) where the second is known, too.
        total_WQQ: x likewise.
        known_WQQ: 1.
    """

    product_WQQ: Float32[np.ndarray, "W Q Q"]
    square_WQQ: Float32[np.ndarray, "W Q Q"]
    total_WQQ: Float32[np.ndarray, "W Q Q"]
    known_WQQ: Float32[np.ndarray, "W Q Q"]

    def distances(self, weighting: int = 0) -> Float32[np.ndarray, "D Q Q"]:
        """Mean squared difference (the order of the Euclidean distance), 1 - cosine, 1 - correlation."""
        product_QQ, square_QQ = self.product_WQQ[weighting], self.square_WQQ[weighting]
        known_QQ, total_QQ = self.known_WQQ[weighting], self.total_WQQ[weighting]
        none_QQ = known_QQ <= 0
        divisor_QQ = np.where(none_QQ, np.float32(1), known_QQ)
        apart_QQ = np.maximum(square_QQ + square_QQ.T - 2 * product_QQ, 0) / divisor_QQ
        together_QQ = product_QQ - total_QQ * total_QQ.T / divisor_QQ
        around_QQ = np.maximum(square_QQ - total_QQ**2 / divisor_QQ, 0)
        distance_DQQ = np.stack((apart_QQ, _turned(product_QQ, square_QQ), _turned(together_QQ, around_QQ)))
        distance_DQQ[:, none_QQ] = FARTHEST
        return np.maximum(distance_DQQ, 0, out=distance_DQQ)  # 1 less a cosine may fall below by rounding


@runtime_checkable
class Comparable(Protocol):
    """Features of the parcels with a network, ready to be standardised in one fold after the other."""

    def sums(self, train_M: Int64[np.ndarray, "M"]) -> PairSums:
        """Of all pairs of parcels, every number of mean 0 and deviation 1 over the training parcels.

        A number that is the same in all training parcels is left out.
        """
        ...


def comparable(
    features: ParcelFeatures, parcels_Q: Int64[np.ndarray, "Q"], weights_WN: Float32[np.ndarray, "W N"]
) -> Comparable:
    """Features of some parcels; those of no recording in particular know one weighting only."""
    assert features.values_NPF is not None, "features that are numbers"
    values_NQF = features.values_NPF[:, parcels_Q]
    if not features.by_recording:
        weights_WN = np.ones((1, 1), np.float32)
    if features.combine == "concatenate":
        return Joined.of(values_NQF, weights_WN)
    return Averaged.of(values_NQF, weights_WN)


@dataclass(frozen=True, eq=False)
class Averaged:
    """The weighted mean of the recordings' numbers, NaN where no recording of positive weight knows one."""

    mean_WQF: Float32[np.ndarray, "W Q F"]

    @classmethod
    def of(cls, values_NQF: Float32[np.ndarray, "N Q F"], weights_WN: Float32[np.ndarray, "W N"]) -> Averaged:
        """Each number by the recordings that know it."""
        shape = (len(weights_WN), *values_NQF.shape[1:])
        known_NQF = np.isfinite(values_NQF)
        if known_NQF.all():
            return cls((weights_WN @ values_NQF.reshape(len(values_NQF), -1)).reshape(shape))
        weight_WQF = (weights_WN @ known_NQF.reshape(len(values_NQF), -1).astype(np.float32)).reshape(shape)
        sum_WQF = (weights_WN @ np.where(known_NQF, values_NQF, 0).reshape(len(values_NQF), -1)).reshape(shape)
        weight_WQF[weight_WQF <= 0] = np.nan
        return cls(sum_WQF / weight_WQF)

    def sums(self, train_M: Int64[np.ndarray, "M"]) -> PairSums:
        """See ``Comparable``."""
        scaled = _standardised(self.mean_WQF, train_M)
        x_WQF, known_WQF = scaled.values, scaled.known.astype(np.float32)
        known_WFQ = known_WQF.transpose(0, 2, 1)
        return PairSums(
            x_WQF @ x_WQF.transpose(0, 2, 1), x_WQF**2 @ known_WFQ, x_WQF @ known_WFQ, known_WQF @ known_WFQ
        )


@dataclass(frozen=True, eq=False)
class Joined:
    """The numbers of all recordings side by side; a parcel without signal in one is unknown in all numbers of it."""

    values_NQF: Float32[np.ndarray, "N Q F"]
    weights_WN: Float32[np.ndarray, "W N"]

    @classmethod
    def of(cls, values_NQF: Float32[np.ndarray, "N Q F"], weights_WN: Float32[np.ndarray, "W N"]) -> Joined:
        """As they are."""
        return cls(values_NQF, weights_WN)

    def sums(self, train_M: Int64[np.ndarray, "M"]) -> PairSums:
        """See ``Comparable``. The numbers side by side would be far too many: products add over recordings."""
        num_recordings, num_parcels = self.values_NQF.shape[:2]
        product = np.zeros((len(self.weights_WN), num_parcels**2), np.float32)
        by_recording_3NQ = np.zeros((3, num_recordings, num_parcels), np.float32)
        known_NQ = np.zeros((num_recordings, num_parcels), np.float32)
        for first in range(0, num_recordings, RECORDINGS_AT_ONCE):
            part = slice(first, first + RECORDINGS_AT_ONCE)
            scaled = _standardised(self.values_NQF[part], train_M)
            x_nQF = scaled.values
            dots_nQQ = x_nQF @ x_nQF.transpose(0, 2, 1)
            product += self.weights_WN[:, part] @ dots_nQQ.reshape(len(dots_nQQ), -1)
            by_recording_3NQ[0, part] = np.einsum("nqf,nqf->nq", x_nQF, x_nQF)
            by_recording_3NQ[1, part] = x_nQF.sum(axis=2)
            by_recording_3NQ[2, part] = scaled.known.sum(axis=2)
            known_NQ[part] = scaled.known.any(axis=2)
        square, total, known = (_where_known(values_NQ, known_NQ, self.weights_WN) for values_NQ in by_recording_3NQ)
        return PairSums(product.reshape(-1, num_parcels, num_parcels), square, total, known)


def _where_known(
    values_NQ: Float32[np.ndarray, "N Q"], known_NQ: Float32[np.ndarray, "N Q"], weights_WN: Float32[np.ndarray, "W N"]
) -> Float32[np.ndarray, "W Q Q"]:
    """A parcel's sum (row) over the recordings in which the other one (column) has signal, too."""
    if known_NQ.all():
        sum_WQ1 = (weights_WN @ values_NQ)[:, :, None]
        return np.broadcast_to(sum_WQ1, (*sum_WQ1.shape[:2], known_NQ.shape[1]))
    return (values_NQ.T * weights_WN[:, None]) @ known_NQ


@dataclass(frozen=True, eq=False)
class _Scaled:
    """Standardised numbers; 0 where unknown."""

    values: Float32[np.ndarray, "A Q F"]
    known: Bool[np.ndarray, "A Q F"]


def _standardised(values_AQF: Float32[np.ndarray, "A Q F"], train_M: Int64[np.ndarray, "M"]) -> _Scaled:
    known_AQF = np.isfinite(values_AQF)
    filled_AQF = np.where(known_AQF, values_AQF, np.float32(0))
    learnt_AMF = filled_AQF[:, train_M]
    count_A1F = np.maximum(known_AQF[:, train_M].sum(axis=1, keepdims=True), 1).astype(np.float32)
    mean_A1F = learnt_AMF.sum(axis=1, keepdims=True) / count_A1F
    deviation_AMF = (learnt_AMF - mean_A1F) * known_AQF[:, train_M]
    spread_A1F = np.sqrt(np.square(deviation_AMF).sum(axis=1, keepdims=True) / count_A1F)
    varies_A1F = spread_A1F > CONSTANT * np.abs(learnt_AMF).max(axis=1, keepdims=True, initial=0)
    known_AQF &= varies_A1F
    scale_A1F = 1 / np.where(varies_A1F, spread_A1F, np.float32(1))
    return _Scaled((filled_AQF - mean_A1F) * scale_A1F * known_AQF, known_AQF)


def _turned(
    product_QQ: Float32[np.ndarray, "Q Q"], square_QQ: Float32[np.ndarray, "Q Q"]
) -> Float32[np.ndarray, "Q Q"]:
    """1 less the cosine; 1 for a parcel of length 0, which points nowhere."""
    length_QQ = np.sqrt(square_QQ) * np.sqrt(square_QQ.T)
    some_QQ = length_QQ > 0
    return 1 - np.where(some_QQ, product_QQ, np.float32(0)) / np.where(some_QQ, length_QQ, np.float32(1))
