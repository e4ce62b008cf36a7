"""Vectors of parcels that networks learn without labels: a variational auto-encoder of series, a graph auto-encoder.

Both learn from training recordings and encode the judged ones; what they learnt is not kept, what they gave is, under
a name that says what it depends on. The networks themselves are in ``brainlm.baselines``.

Shapes: N judged recordings, P parcels, D numbers of a vector.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int64

from brainlm.baselines.connectome import connectomes
from brainlm.baselines.graph import group_graph
from brainlm.baselines.graph_embedding import GraphAutoencoder
from brainlm.baselines.variational import SeriesVAE
from brainlm.data.scaling import Scaler
from brainlm.data.store import Store
from brainlm.inference.cached import read_vectors, write_vectors
from brainlm.training.finetune_config import SupervisedConfig
from brainlm.training.labelled import FeatureInputs, WindowInputs
from brainlm.training.unsupervised import encode_parcels, train_unsupervised

EMBEDDINGS_VERSION = 1  # part of every name: a change of what is computed makes old files strangers

# Training recordings learnt from at most, drawn by the seed: 60,000 series of 200 parcels for the one, and for the
# other 300 graphs that differ little, are plenty for networks of this size.
MAX_RECORDINGS = 300

VAE_CONFIG = SupervisedConfig(epochs=20, batch_size=8, learning_rate=2e-3, weight_decay=0.0, accelerator="cpu")
GCN_CONFIG = SupervisedConfig(epochs=20, batch_size=16, learning_rate=1e-2, weight_decay=0.0, accelerator="cpu")

Progress = Callable[[int, int], None]


def vae_parcel_embeddings(
    train: Store,
    judged: Store,
    scaler: Scaler,
    *,
    num_timepoints: int,
    seed: int = 0,
    folder: Path | None = None,
    on_progress: Progress | None = None,
) -> Float32[np.ndarray, "N P D"]:
    """The code of every parcel in every judged recording by a ``SeriesVAE``: the mean over its windows.

    A code follows the course of the series, which differs from recording to recording: codes of several recordings
    belong side by side, like their series; their mean says nothing.

    Args:
        train: recordings learnt from, ``MAX_RECORDINGS`` at most.
        judged: of the same parcels.
        scaler: says which parcels are valid; each series is standardised within its window.
        num_timepoints: of a window; shorter recordings are one window, padded.
        seed: of weights, windows, order and noise.
        folder: where the vectors are kept, and taken from if they are there.
        on_progress: called with epochs done and of how many, when there is something to compute.

    Returns:
        NaN where a parcel has no signal.

    Raises:
        ConfigError: the training lost its way.
        DataError: the disk is full.
    """
    key = _key("vae", train, judged, VAE_CONFIG, seed=seed, scaler=_identity(scaler), num_timepoints=num_timepoints)

    def compute() -> Float32[np.ndarray, "N P D"]:
        network = SeriesVAE(num_timepoints, seed=seed)
        train_unsupervised(
            network,
            WindowInputs(train, scaler, num_timepoints),
            recordings_M=_chosen(train, seed),
            config=dataclasses.replace(VAE_CONFIG, seed=seed),
            on_progress=_epochs(VAE_CONFIG, on_progress),
        )
        return encode_parcels(network.encode, WindowInputs(judged, scaler, num_timepoints), num_recordings=len(judged))

    return _kept(key, compute, judged, folder)


def gcn_parcel_embeddings(
    train: Store,
    judged: Store,
    *,
    seed: int = 0,
    folder: Path | None = None,
    on_progress: Progress | None = None,
) -> Float32[np.ndarray, "N P D"]:
    """The vector of every parcel in every judged recording by a ``GraphAutoencoder`` over connectomes.

    One network for all: vectors of several recordings mean the same and may be averaged.

    Args:
        train: recordings learnt from, ``MAX_RECORDINGS`` at most; the group's graph is theirs.
        judged: of the same parcels.
        seed: of weights and order.
        folder: where the vectors are kept, and taken from if they are there.
        on_progress: called with epochs done and of how many, when there is something to compute.

    Returns:
        NaN where a parcel has no signal.

    Raises:
        ConfigError: the training lost its way.
        DataError: the disk is full.
    """
    key = _key("gcn", train, judged, GCN_CONFIG, seed=seed)

    def compute() -> Float32[np.ndarray, "N P D"]:
        edges_ME = connectomes(train.take(_chosen(train, seed)), "correlation")
        network = GraphAutoencoder(group_graph(edges_ME), seed=seed)
        train_unsupervised(
            network,
            FeatureInputs(torch.from_numpy(edges_ME)),
            recordings_M=np.arange(len(edges_ME)),
            config=dataclasses.replace(GCN_CONFIG, seed=seed),
            on_progress=_epochs(GCN_CONFIG, on_progress),
        )
        edges_NE = torch.from_numpy(connectomes(judged, "correlation"))
        return encode_parcels(network.encode, FeatureInputs(edges_NE), num_recordings=len(judged))

    return _kept(key, compute, judged, folder)


def _chosen(train: Store, seed: int) -> Int64[np.ndarray, "M"]:
    """Positions of the recordings learnt from, in the store's order."""
    order = np.random.default_rng(seed).permutation(len(train))
    return np.sort(order[:MAX_RECORDINGS])


def _kept(
    key: str, compute: Callable[[], Float32[np.ndarray, "N P D"]], judged: Store, folder: Path | None
) -> Float32[np.ndarray, "N P D"]:
    if folder is None:
        return compute()
    path = folder / f"{key}.npz"
    found = read_vectors(path, len(judged))
    if found is None:
        found = compute()
        write_vectors(path, found)
    return found


def _key(kind: str, train: Store, judged: Store, config: SupervisedConfig, **settings: object) -> str:
    parts = {
        "version": EMBEDDINGS_VERSION,
        "kind": kind,
        "train": train.fingerprint,
        "judged": judged.fingerprint,
        "config": dataclasses.asdict(config),
        "max_recordings": MAX_RECORDINGS,
        **settings,
    }
    return f"{kind}-{hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]}"


def _identity(scaler: Scaler) -> str:
    digest = hashlib.sha256(json.dumps(scaler.to_metadata(), sort_keys=True).encode())
    for name, tensor in sorted(scaler.to_tensors().items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _epochs(config: SupervisedConfig, listener: Progress | None) -> Callable[[Mapping[str, float]], None] | None:
    if listener is None:
        return None
    return lambda figures: listener(int(figures["epoch"]), config.epochs)
