"""Everything of a study that runs the model: maps, what hiding parcels does, attribution, and the map of no signal.

Each is kept by what it depends on: a killed job goes on, and another contrast costs nothing. Shapes: N recordings, M
and K recordings of samples, P parcels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int64

from brainlm.data.store import Store
from brainlm.evaluation.attention.attribution import Attribution, attribute
from brainlm.evaluation.attention.hiding import HidingSums, hide_attended
from brainlm.evaluation.attention.rule import AttentionRule, MapChoice
from brainlm.evaluation.attention.sample import spread_recordings
from brainlm.evaluation.attention.subject_maps import Subjects
from brainlm.files import cached_arrays, key_of
from brainlm.inference.attention_maps import StoreAttention, cached_attention
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.identity import weights_sha256
from brainlm.inference.pooling import attend_windows

PROCEDURE = 1  # part of every key: a change of what is computed makes old files strangers
MAPS = "maps"  # folder of all that is kept, beside those of the studies

Listener = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Gathered:
    """What the model was asked for, of all recordings of a store or of samples of them.

    Attributes:
        maps_NP: the map that is analysed (``evened``); NaN where a parcel has no signal.
        hiding_M, attributed_M: the recordings of ``hiding`` and ``attribution``; the two are None where not asked for.
        silent_P: the map of a window without signal.
    """

    attention: StoreAttention
    maps_NP: Float32[np.ndarray, "N P"]
    hiding: HidingSums | None
    hiding_M: Int64[np.ndarray, "M"]
    attribution: Attribution | None
    attributed_M: Int64[np.ndarray, "K"]
    silent_P: Float32[np.ndarray, "P"]


def gather(
    model: BrainLM,
    store: Store,
    rule: AttentionRule,
    subjects: Subjects,
    *,
    folder: Path,
    on_progress: Listener | None = None,
) -> Gathered:
    """Ask the model for all that a study needs.

    Args:
        model: its scaler must be fitted.
        store: the recordings that are analysed.
        rule: what is asked for.
        subjects: of the recordings.
        folder: where everything is kept, for all studies alike.
        on_progress: called with what is done, how much of it, and of how much.

    Raises:
        ConfigError: there is no such layer or head, or the scaler was never fitted.
        DataError, AtlasError: the recordings do not fit the model.
    """
    choice = rule.choice.check(model)
    attention = cached_attention(
        model,
        store,
        folder=folder,
        layer=choice.layer,
        head=choice.head,
        rollout_windows=None if choice.kind == "rollout" else 64,
        batch_size=rule.batch_size,
        resample=rule.resample,
        on_progress=_about("maps", on_progress),
    )
    maps_NP = evened(attention.maps_NP(choice.kind), attention.uniform)
    hiding_M = spread_recordings(subjects, rule.deletion_recordings)
    attributed_M = spread_recordings(subjects, rule.attribution_recordings)
    identity = (PROCEDURE, weights_sha256(model), store.fingerprint, model.tr_s if rule.resample else "as it is")
    hiding, attribution = None, None
    if len(hiding_M):
        key = key_of("hiding", *identity, rule.seed, choice, hiding_M.tolist())
        hiding = HidingSums(**cached_arrays(folder / f"hiding-{key}.npz", key, lambda: _fields(hide_attended(
            model, store, maps_NP, hiding_M, subjects,
            seed=rule.seed, batch_size=rule.batch_size, resample=rule.resample,
            on_progress=_about("hiding parcels", on_progress),
        ))))  # fmt: skip
    if len(attributed_M):
        key = key_of("attribution", *identity, attributed_M.tolist())
        attribution = Attribution(**cached_arrays(folder / f"attribution-{key}.npz", key, lambda: _fields(attribute(
            model, store, attributed_M, resample=rule.resample, on_progress=_about("gradients", on_progress),
        ))))  # fmt: skip
    return Gathered(attention, maps_NP, hiding, hiding_M, attribution, attributed_M, silent_map(model, choice))


def evened(maps_NP: Float32[np.ndarray, "N P"], uniform: float) -> Float32[np.ndarray, "N P"]:
    """Each map brought to the mean ``uniform`` over its parcels with signal.

    Where half of the parcels have no signal, the others get twice the attention: one such recording would outweigh
    whatever a contrast is about, and sites differ in how many parcels they cover.
    """
    known_NP = np.isfinite(maps_NP)
    sums_N1 = np.where(known_NP, maps_NP, 0.0).sum(axis=1, keepdims=True)
    means_N1 = sums_N1 / np.maximum(known_NP.sum(axis=1, keepdims=True), 1)
    return (maps_NP * np.where(means_N1 > 0, uniform / np.where(means_N1 > 0, means_N1, 1.0), np.nan)).astype(
        np.float32
    )


def silent_map(model: BrainLM, choice: MapChoice) -> Float32[np.ndarray, "P"]:
    """Where CLS looks in a window in which every parcel stays at its centre: what the map owes to positions alone."""
    signal_1PT = torch.zeros(1, len(model.parcels), model.config.num_timepoints, device=model.device)
    valid_1PT = torch.ones_like(signal_1PT, dtype=torch.bool)
    attended = attend_windows(model.network, signal_1PT, valid_1PT, rollout=choice.kind == "rollout")
    found_P = attended.cls_BLHP[0].mean(dim=(0, 1))
    if choice.kind == "rollout":
        assert attended.rollout_BP is not None
        found_P = attended.rollout_BP[0]
    elif choice.kind == "layer":
        heads_HP = attended.cls_BLHP[0, choice.layer]
        found_P = heads_HP.mean(dim=0) if choice.head is None else heads_HP[choice.head]
    return found_P.cpu().float().numpy()


def _fields(found: HidingSums | Attribution) -> dict[str, np.ndarray]:
    return {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}


def _about(what: str, on_progress: Listener | None) -> Callable[[int, int], None] | None:
    if on_progress is None:
        return None
    listener = on_progress
    return lambda done, total: listener(what, done, total)
