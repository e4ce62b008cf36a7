"""k-nearest neighbours on given distances, k and metric chosen among training parcels, for many label maps at once.

Distances do not know labels, so each parcel's neighbours are found once and vote under every label map. What distances
are is in ``distances.py``.

Shapes: L label maps, D metrics, Q parcels, M training and N test parcels, K neighbours, S numbers of neighbours, C
networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int8, Int64

from brainlm.evaluation.networks.distances import METRICS
from brainlm.evaluation.networks.parcel_folds import ParcelFold

NUM_NEIGHBOURS = (1, 3, 5, 7, 9, 11, 15)
# Nearer neighbours count a trifle more, to break ties: all trifles of 15 neighbours together are less than one vote.
TRIFLE = np.float32(1 / 256)


@dataclass(frozen=True, eq=False)
class Predicted:
    """The networks said of a fold's test parcels, and how.

    Attributes:
        number_LN: of the network.
        k_L: the number of neighbours that was chosen.
        metric_L: the metric, as a position in ``METRICS``.
    """

    number_LN: Int8[np.ndarray, "L N"]
    k_L: Int64[np.ndarray, "L"]
    metric_L: Int64[np.ndarray, "L"]


def predict(
    distance_DQQ: Float32[np.ndarray, "D Q Q"],
    fold: ParcelFold,
    number_LQ: Int8[np.ndarray, "L Q"],
    *,
    num_networks: int,
) -> Predicted:
    """The test parcels' networks, by the metric and the k that do best in the inner folds.

    Best is the highest balanced accuracy over the training parcels, each judged by those of other inner folds; of equal
    ones the first metric and the lowest k.
    """
    among_DMM = distance_DQQ[:, fold.train_M[:, None], fold.train_M]
    among_DMM[:, ~fold.apart] = np.inf
    most = int(fold.apart.sum(axis=1).min())
    assert most >= 1, "two inner folds or more"
    ks = [k for k in NUM_NEIGHBOURS if k <= most]
    learnt_LM = number_LQ[:, fold.train_M]
    said_LDMS = _votes(learnt_LM, _nearest(among_DMM, ks[-1]), ks, num_networks)
    score_LDS = _balanced(said_LDMS, learnt_LM, num_networks)
    best_L = score_LDS.reshape(len(score_LDS), -1).argmax(axis=1)
    metric_L, place_L = np.unravel_index(best_L, score_LDS.shape[1:])
    to_test_DNM = distance_DQQ[:, fold.test_N[:, None], fold.train_M]
    said_LDNS = _votes(learnt_LM, _nearest(to_test_DNM, ks[-1]), ks, num_networks)
    chosen_LN = said_LDNS[np.arange(len(best_L)), metric_L, :, place_L]
    return Predicted(chosen_LN, np.array(ks)[place_L], metric_L.astype(np.int64))


def _nearest(distance_DNM: Float32[np.ndarray, "D N M"], num: int) -> Int64[np.ndarray, "D N K"]:
    """The ``num`` nearest of M, nearest first; equally far ones in their order."""
    # Distance and position in one number (distances are not negative, so that their bits are in their order): numbers
    # are sorted many times faster than positions by what they point to.
    bits_DNM = np.ascontiguousarray(distance_DNM).view(np.uint32).astype(np.uint64)
    both_DNM = (bits_DNM << np.uint64(32)) | np.arange(distance_DNM.shape[2], dtype=np.uint64)
    if num < both_DNM.shape[2]:
        both_DNM.partition(num - 1, axis=2)
    nearest_DNK = np.sort(both_DNM[:, :, :num], axis=2)
    return (nearest_DNK & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _votes(
    learnt_LM: Int8[np.ndarray, "L M"], near_DNK: Int64[np.ndarray, "D N K"], ks: list[int], num_networks: int
) -> Int8[np.ndarray, "L D N S"]:
    """The network that most of the k nearest belong to, for every k."""
    rank_K1 = np.arange(near_DNK.shape[2])[:, None]
    weight_KS = np.where(rank_K1 < np.array(ks), 1 + TRIFLE * (len(rank_K1) - rank_K1 - 1), 0).astype(np.float32)
    network_LDNK = learnt_LM[:, near_DNK]
    winner_LDNS = np.zeros((*network_LDNK.shape[:3], len(ks)), np.int8)
    most_LDNS = np.full(winner_LDNS.shape, -1, np.float32)
    for network in range(num_networks):
        votes_LDNS = (network_LDNK == network).astype(np.float32) @ weight_KS
        more_LDNS = votes_LDNS > most_LDNS
        winner_LDNS[more_LDNS] = network
        np.maximum(most_LDNS, votes_LDNS, out=most_LDNS)
    return winner_LDNS


def _balanced(
    said_LDMS: Int8[np.ndarray, "L D M S"], true_LM: Int8[np.ndarray, "L M"], num_networks: int
) -> Float32[np.ndarray, "L D S"]:
    """Balanced accuracy over the M parcels: the mean recall of the networks that are among them."""
    is_LMC = true_LM[:, :, None] == np.arange(num_networks)
    size_LC = is_LMC.sum(axis=1)
    share_LC = 1 / (np.maximum(size_LC, 1) * (size_LC > 0).sum(axis=1, keepdims=True))
    weight_LM = np.take_along_axis(share_LC, true_LM.astype(np.int64), axis=1).astype(np.float32)
    right_LDMS = (said_LDMS == true_LM[:, None, :, None]).astype(np.float32)
    score_LDS: np.ndarray = np.einsum("lm,ldms->lds", weight_LM, right_LDMS)
    return score_LDS


def most_often(metric_X: Int64[np.ndarray, "X"], k_X: Int64[np.ndarray, "X"]) -> tuple[str, int]:
    """The metric and the k that were chosen most often together; of equals the first metric, the lowest k."""
    pairs, counts = np.unique(np.stack((metric_X, k_X)), axis=1, return_counts=True)
    metric, k = pairs[:, counts.argmax()].tolist()
    return METRICS[metric], int(k)
