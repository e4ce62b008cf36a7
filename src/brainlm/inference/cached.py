"""Vectors of a whole store, computed once: files named by what they were computed from.

The name is a hash of the weights, the scaler, the store's content and the kind of vector, so that a file can never be
taken for another's. How vectors are computed is in ``features.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from brainlm.data.store import Store
from brainlm.files import key_of, read_cache, write_arrays
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.cohort import check_recordings
from brainlm.inference.features import Pooling, pooled_features
from brainlm.inference.identity import weights_sha256
from brainlm.inference.patch_embeddings import temporal_patch_embeddings

FEATURES_VERSION = 1  # part of every name: a change of what is computed makes old files strangers


def feature_key(model: BrainLM, store: Store, pooling: str, *, resample: bool) -> str:
    """What the vectors depend on, as a hash."""
    return _key(weights_sha256(model), model, store, pooling, resample=resample)


def _key(weights: str, model: BrainLM, store: Store, pooling: str, *, resample: bool) -> str:
    # What recordings are resampled to is no part of the weights.
    target = f"resampled to {model.tr_s} s" if resample else "as it is"
    return key_of(FEATURES_VERSION, weights, store.fingerprint, pooling, target)


def cached_features(
    model: BrainLM,
    store: Store,
    poolings: Sequence[Pooling],
    *,
    folder: Path,
    batch_size: int = 32,
    resample: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[Pooling, Float32[np.ndarray, "N F"]]:
    """The vectors of every recording of ``store``; those not in ``folder`` yet are computed, in one pass, and kept.

    Args:
        model: its scaler must be fitted.
        store: of the model's parcels.
        poolings: which vectors, see ``BrainLMFeatures``.
        folder: where the files are; made if it is not there.
        batch_size: windows at a time; changes no result.
        resample: bring recordings to the model's repetition time where theirs is too far from it.
        on_progress: called with recordings done and of how many, when there is something to compute.

    Raises:
        DataError: other parcels than the model's, another repetition time, or the disk is full.
        AtlasError: the parcels of the store are others than the model's, or in another order.
    """
    check_recordings(store, model, resample=resample)
    weights = weights_sha256(model)  # seconds for the largest models: once for all poolings
    paths = {pooling: folder / f"{_key(weights, model, store, pooling, resample=resample)}.npz" for pooling in poolings}
    found = {pooling: read_vectors(path, len(store)) for pooling, path in paths.items()}
    missing = [pooling for pooling, features_NF in found.items() if features_NF is None]
    if missing:
        computed = pooled_features(
            model, store, missing, batch_size=batch_size, resample=resample, on_progress=on_progress
        )
        for pooling, features_NF in computed.items():
            write_vectors(paths[pooling], features_NF)
            found[pooling] = features_NF
    return {pooling: features_NF for pooling, features_NF in found.items() if features_NF is not None}


def cached_patches(
    model: BrainLM, store: Store, *, folder: Path, batch_size: int = 32, resample: bool = False
) -> Float32[np.ndarray, "N W C D"]:
    """``temporal_patch_embeddings`` of every recording of ``store``, from ``folder`` if they are there.

    Raises:
        DataError: other parcels than the model's, another repetition time, or the disk is full.
        AtlasError: the parcels of the store are others than the model's, or in another order.
    """
    check_recordings(store, model, resample=resample)
    path = folder / f"{feature_key(model, store, 'temporal patches', resample=resample)}.npz"
    patches_NWCD = read_vectors(path, len(store))
    if patches_NWCD is None:
        patches_NWCD = temporal_patch_embeddings(model, store, batch_size=batch_size, resample=resample)
        write_vectors(path, patches_NWCD)
    return patches_NWCD


def write_vectors(path: Path, features: Float32[np.ndarray, "N ..."]) -> None:
    """Keep vectors under the key that their file is named by; the folder is made if it is not there.

    Raises:
        DataError: the disk is full.
    """
    write_arrays(path, {"vectors": features}, key=path.stem)


def read_vectors(path: Path, num_recordings: int) -> Float32[np.ndarray, "N ..."] | None:
    """Kept vectors; None where there are none, or not of so many recordings. A damaged file is warned of."""
    found = read_cache(path, path.stem)
    features_NF = None if found is None else found.arrays["vectors"]
    return features_NF if features_NF is not None and len(features_NF) == num_recordings else None
