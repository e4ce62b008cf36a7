"""Networks without labels: k-means on the same features, and how far its clusters agree with a label map.

Shapes: Q parcels, A and C clusters and networks, X label maps or resamples.
"""

from __future__ import annotations

import warnings

import numpy as np
from jaxtyping import Float32, Float64, Int8, Int64
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

NUM_STARTS = 30  # of k-means; the best of them by the sum of squares is kept


def clusters_of(distance_QQ: Float32[np.ndarray, "Q Q"], *, num_clusters: int, seed: int) -> Int8[np.ndarray, "Q"]:
    """The cluster of each parcel by k-means, from squared Euclidean distances.

    Parcels are given places in which their distances are these (classical multidimensional scaling, Torgerson 1952);
    distances over different numbers, where some are unknown, may leave a rest, which is dropped.
    """
    centred_QQ = distance_QQ.astype(np.float64)
    centred_QQ = centred_QQ - centred_QQ.mean(axis=0) - centred_QQ.mean(axis=1, keepdims=True) + centred_QQ.mean()
    variance_Q, axes_QQ = np.linalg.eigh(-centred_QQ / 2)
    kept_Q = variance_Q > 1e-9 * variance_Q[-1]
    places_QA = axes_QQ[:, kept_Q] * np.sqrt(variance_Q[kept_Q])
    # A column's sign is arbitrary and may differ between machines.
    places_QA *= np.where(places_QA[np.abs(places_QA).argmax(axis=0), np.arange(places_QA.shape[1])] < 0, -1, 1)
    if not kept_Q.any():
        return np.zeros(len(distance_QQ), np.int8)
    with warnings.catch_warnings():
        # Parcels that are one to the model (of the same patch) may be fewer than the clusters asked for.
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(num_clusters, n_init=NUM_STARTS, random_state=seed).fit(places_QA)
    return found.labels_.astype(np.int8)


def contingency(
    cluster_Q: Int8[np.ndarray, "Q"],
    number_Q: Int8[np.ndarray, "Q"] | Int64[np.ndarray, "Q"],
    weights_XQ: Float64[np.ndarray, "X Q"],
) -> Float64[np.ndarray, "X A C"]:
    """How many parcels each cluster and each network have in common, every parcel weighted."""
    num_clusters, num_networks = int(cluster_Q.max()) + 1, int(number_Q.max()) + 1
    cell_Q = cluster_Q.astype(np.int64) * num_networks + number_Q
    in_cell_QZ = (cell_Q[:, None] == np.arange(num_clusters * num_networks)).astype(np.float64)
    return (weights_XQ @ in_cell_QZ).reshape(-1, num_clusters, num_networks)


def adjusted_rand(table_XAC: Float64[np.ndarray, "X A C"]) -> Float64[np.ndarray, "X"]:
    """The adjusted Rand index (Hubert and Arabie 1985): 1 for the same partition, 0 on average by chance."""
    cells_X = _pairs(table_XAC).sum(axis=(1, 2))
    rows_X, columns_X = _pairs(table_XAC.sum(axis=2)).sum(axis=1), _pairs(table_XAC.sum(axis=1)).sum(axis=1)
    all_X = np.maximum(_pairs(table_XAC.sum(axis=(1, 2))), 1)
    expected_X = rows_X * columns_X / all_X
    highest_X = (rows_X + columns_X) / 2
    differs_X = highest_X != expected_X  # else both are one cluster, or every parcel is one of its own
    return np.where(differs_X, cells_X - expected_X, 1.0) / np.where(differs_X, highest_X - expected_X, 1.0)


def normalised_information(table_XAC: Float64[np.ndarray, "X A C"]) -> Float64[np.ndarray, "X"]:
    """Mutual information over the mean of both entropies: 1 for the same partition; above 0 by chance."""
    share_XAC = table_XAC / table_XAC.sum(axis=(1, 2), keepdims=True)
    rows_XA, columns_XC = share_XAC.sum(axis=2), share_XAC.sum(axis=1)
    both_X = _entropy(rows_XA) + _entropy(columns_XC)
    shared_X = both_X - _entropy(share_XAC.reshape(len(share_XAC), -1))
    differs_X = both_X > 0
    return np.where(differs_X, 2 * shared_X, 1.0) / np.where(differs_X, both_X, 1.0)


def _pairs(count: np.ndarray) -> np.ndarray:
    return count * (count - 1) / 2


def _entropy(share_XZ: Float64[np.ndarray, "X Z"]) -> Float64[np.ndarray, "X"]:
    return -(share_XZ * np.log(np.where(share_XZ > 0, share_XZ, 1.0))).sum(axis=1)
