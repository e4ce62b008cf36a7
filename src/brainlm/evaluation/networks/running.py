"""From features of parcels to what they say: k-NN in every fold, clusters, subjects drawn anew, surrogate labels.

The outcome of each kind of features is kept as soon as it is there. Where the features come from is in
``gathering.py``, what the outcome is worth in ``judging.py``.

Shapes: N recordings, Q parcels with a network, R repeats, X folds of all repeats, W weightings of recordings (the first
is everybody once), L surrogate label maps.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int8
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from brainlm.evaluation.networks.clustering import clusters_of
from brainlm.evaluation.networks.distances import METRICS, Comparable, comparable
from brainlm.evaluation.networks.labels import NetworkLabels
from brainlm.evaluation.networks.neighbours import predict
from brainlm.evaluation.networks.outcomes import Outcome, load_outcome, outcome_path, save_outcome
from brainlm.evaluation.networks.parcel_features import ParcelFeatures
from brainlm.evaluation.networks.parcel_folds import ParcelFold, draw_folds

PROCEDURE = 1  # part of every key: a change of what is computed makes old outcomes strangers


@dataclass(frozen=True, eq=False)
class NetworkStudy:
    """One label map, one set of folds: what all features share.

    Attributes:
        labels: the true networks.
        folds: with a share of each network in each.
        blind_folds: drawn without looking at networks; for surrogates and true labels alike, whose comparison would
            otherwise favour the labels that the folds were made for.
        weights_WN: of recordings, see ``recording_weights``.
        surrogate_LQ: networks that could have been, of the parcels with a network; none: no test.
        seed: of k-means.
    """

    labels: NetworkLabels
    folds: tuple[ParcelFold, ...]
    blind_folds: tuple[ParcelFold, ...]
    weights_WN: Float32[np.ndarray, "W N"]
    surrogate_LQ: Int8[np.ndarray, "L Q"]
    seed: int

    @classmethod
    def of(
        cls,
        labels: NetworkLabels,
        weights_WN: Float32[np.ndarray, "W N"],
        surrogate_LQ: Int8[np.ndarray, "L Q"],
        *,
        folds: int,
        repeats: int,
        seed: int,
    ) -> NetworkStudy:
        """With folds drawn from ``seed``.

        Raises:
            ConfigError: folds that cannot be drawn.
        """
        drawn = draw_folds(labels.units, labels.numbers, folds=folds, repeats=repeats, seed=seed)
        blind = draw_folds(labels.units, None, folds=folds, repeats=repeats, seed=seed)
        return cls(labels, tuple(drawn), tuple(blind), weights_WN, surrogate_LQ, seed)

    @property
    def num_repeats(self) -> int:
        """R."""
        return 1 + max(fold.repeat for fold in self.folds)

    @property
    def key(self) -> str:
        """A hash of labels, folds, resamples, surrogates and seed."""
        digest = hashlib.sha256(f"{PROCEDURE} {self.seed} {json.dumps(self.labels.names)}".encode())
        for array in (self.labels.number_P, self.labels.units, self.weights_WN, self.surrogate_LQ):
            digest.update(str(array.shape).encode() + array.tobytes())
        for fold in (*self.folds, *self.blind_folds):
            digest.update(fold.test_N.tobytes() + b"|" + fold.inner_M.tobytes())
        return digest.hexdigest()[:32]


def run_features(features: ParcelFeatures, study: NetworkStudy, folder: Path) -> Outcome:
    """What the features say of every parcel; taken from ``folder`` if it is there, kept there if not."""
    key = f"{study.key}-{_identity(features)}"
    path = outcome_path(folder, features.name)
    found = load_outcome(path, key=key)
    if found is not None:
        return found
    # Matrices of a few hundred rows: threads would wait for each other, and add up in another order.
    with threadpool_limits(1):
        outcome = _majority(features, study, key) if features.values_NPF is None else _computed(features, study, key)
    save_outcome(path, outcome)
    return outcome


def _identity(features: ParcelFeatures) -> str:
    """A hash of the numbers, and of what they are called."""
    values = features.values_NPF
    digest = hashlib.sha256(f"{features.name} {features.group} {features.combine}".encode())
    if values is not None:
        digest.update(f"{values.shape}".encode() + hashlib.sha256(np.ascontiguousarray(values).data).digest())
    return digest.hexdigest()[:16]


def _computed(features: ParcelFeatures, study: NetworkStudy, key: str) -> Outcome:
    begun = time.monotonic()
    labels = study.labels
    ready = comparable(features, labels.positions, study.weights_WN)
    told = _out_of_fold(ready, study)
    alone = comparable(features, labels.positions, study.weights_WN[:1])
    observed, null_L = _null(alone, study)
    everybody = np.arange(len(labels.positions))
    # No fold and no label: the parcels are standardised by all of them.
    squared_QQ = alone.sums(everybody).distances()[METRICS.index("euclidean")]
    clusters_Q = clusters_of(squared_QQ, num_clusters=len(labels.names), seed=study.seed)
    return Outcome(
        name=features.name,
        group=features.group,
        key=key,
        seconds=round(time.monotonic() - begun, 2),
        predicted_RQ=told.predicted_WRQ[0],
        k_X=told.k_X,
        metric_X=told.metric_X,
        accuracy_W=_accuracy(told.predicted_WRQ[1:], labels),
        balanced_W=_balanced_accuracy(told.predicted_WRQ[1:], labels),
        cluster_Q=clusters_Q,
        null_L=null_L,
        observed=observed,
    )


@dataclass(frozen=True, eq=False)
class _Told:
    predicted_WRQ: Int8[np.ndarray, "W R Q"]
    k_X: np.ndarray
    metric_X: np.ndarray


def _out_of_fold(ready: Comparable, study: NetworkStudy) -> _Told:
    """Every parcel's network in every repeat and resample of subjects; k and metric of the recordings as they are."""
    number_1Q = study.labels.numbers.astype(np.int8)[None]
    num_networks = len(study.labels.names)
    parts, ks, metrics = [], [], []
    for fold in study.folds:
        sums = ready.sums(fold.train_M)
        said = [
            predict(sums.distances(weighting), fold, number_1Q, num_networks=num_networks)
            for weighting in range(len(sums.product_WQQ))
        ]
        parts.append(np.concatenate([each.number_LN for each in said]))
        ks.append(said[0].k_L)
        metrics.append(said[0].metric_L)
    predicted_WRQ = np.full((len(parts[0]), study.num_repeats, number_1Q.shape[1]), -1, np.int8)
    for fold, part_WN in zip(study.folds, parts, strict=True):
        predicted_WRQ[:, fold.repeat, fold.test_N] = part_WN
    assert (predicted_WRQ >= 0).all(), "every parcel is tested once in every repeat"
    return _Told(predicted_WRQ, np.concatenate(ks), np.concatenate(metrics))


def _null(ready: Comparable, study: NetworkStudy) -> tuple[float | None, Float64[np.ndarray, "L"]]:
    """The accuracy with the true labels, and with every surrogate, in folds that know neither."""
    if len(study.surrogate_LQ) == 0:
        return None, np.empty(0)
    number_LQ = np.concatenate((study.labels.numbers.astype(np.int8)[None], study.surrogate_LQ))
    num_right_L = np.zeros(len(number_LQ))
    for fold in study.blind_folds:
        distance_DQQ = ready.sums(fold.train_M).distances()
        said = predict(distance_DQQ, fold, number_LQ, num_networks=len(study.labels.names))
        num_right_L += (said.number_LN == number_LQ[:, fold.test_N]).sum(axis=1)
    share_L = num_right_L / sum(len(fold.test_N) for fold in study.blind_folds)
    return float(share_L[0]), share_L[1:]


def _majority(features: ParcelFeatures, study: NetworkStudy, key: str) -> Outcome:
    """The largest network of the training parcels, of equal ones the first."""
    begun, labels = time.monotonic(), study.labels
    predicted_RQ = np.zeros((study.num_repeats, len(labels.positions)), np.int8)
    for fold in study.folds:
        predicted_RQ[fold.repeat, fold.test_N] = np.bincount(labels.numbers[fold.train_M]).argmax()
    nothing, none = np.empty(0), np.empty(0, np.int64)
    return Outcome(
        name=features.name,
        group=features.group,
        key=key,
        seconds=round(time.monotonic() - begun, 2),
        predicted_RQ=predicted_RQ,
        k_X=none,
        metric_X=none,
        accuracy_W=nothing,
        balanced_W=nothing,
        cluster_Q=np.empty(0, np.int8),
        null_L=nothing,
        observed=None,
    )


def _accuracy(predicted_WRQ: Int8[np.ndarray, "W R Q"], labels: NetworkLabels) -> Float64[np.ndarray, "W"]:
    return np.asarray((predicted_WRQ == labels.numbers).mean(axis=(1, 2)), dtype=np.float64)


def _balanced_accuracy(predicted_WRQ: Int8[np.ndarray, "W R Q"], labels: NetworkLabels) -> Float64[np.ndarray, "W"]:
    weight_Q = 1 / (labels.sizes[labels.numbers] * len(labels.names))
    return (predicted_WRQ == labels.numbers).mean(axis=1) @ weight_Q
