"""A whole store through a model: where CLS looks in every recording, layer and head, and parcels at each other.

One encoding pass; what the shares are is in ``pooling.py``, contrasts and checks of the maps are evaluation.

Shapes: N recordings, M recordings rolled out, B windows, L layers, H heads, P parcels, C temporal patches, F = H x C,
G = 2C - 1 lags.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float16, Float32, Int64

from brainlm.data.store import Store
from brainlm.files import cached_arrays
from brainlm.inference.attention_sums import AttentionSums, Quota, Wanted, groups_of
from brainlm.inference.batching import scaled_windows
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.cached import feature_key
from brainlm.inference.cohort import check_recordings
from brainlm.inference.pooling import ParcelShare, attend_windows
from brainlm.inference.stores import warn_of_amplitudes
from brainlm.model.attention import head_number, layer_number

ATTENTION_VERSION = 2  # part of every file's name: a change of what is computed makes old files strangers
# Windows whose attention is followed through layers, or between parcels, to see what it is like; of these, each takes
# half as long again to encode with 13m.
NUM_FOLLOWED = 64
MapKind = Literal["layer", "mean", "rollout"]


@dataclass(frozen=True, eq=False)
class StoreAttention:
    """Attention of a store's recordings; every recording is the mean over its windows, NaN = parcel without signal.

    A parcel's share of CLS's attention is summed over time; over all parcels the shares of a window sum to one less
    what CLS pays to itself and to places of patches without data.

    Attributes:
        cls_LHP: the mean over recordings, of every layer and head.
        layers_NLP: of every layer, mean over heads.
        heads_NHP: of every head of ``layer``.
        rollout_MP: attention rollout (Abnar and Zuidema 2020) of the recordings that were rolled out.
        rollout_recordings_M: which these are, counted from 0.
        between_GPP: attention of one patch of a parcel (rows) to one of another (columns), mean over all pairs of
            patches at that lag, attended minus asking time, from -(C - 1) to C - 1 patches; of ``layer``, mean over
            heads or of ``head``, mean over some of the recordings.
        profile_NPF: attention of CLS in ``layer`` to every temporal patch of a parcel, head by head, as a multiple of
            equal attention (1 / number of patches), which half precision can hold; None unless asked for.
        rows_NPP: attention of a parcel's patches (rows) to a parcel (columns), mean over asking and sum over attended
            times; of ``layer``, mean over heads or of ``head``; None unless asked for.
        amplitude_NP: standard deviation of the scaled signal.
        connectivity_NP: mean absolute correlation of each parcel with the others, over the whole recording.
        layer: which is analysed, from 0.
        head: which of its heads, from 0; None = the mean over heads.
        uniform: a parcel's share if CLS attended to all tokens equally.
    """

    cls_LHP: Float32[np.ndarray, "L H P"]
    layers_NLP: Float32[np.ndarray, "N L P"]
    heads_NHP: Float32[np.ndarray, "N H P"]
    rollout_MP: Float32[np.ndarray, "M P"]
    rollout_recordings_M: Int64[np.ndarray, "M"]
    between_GPP: Float32[np.ndarray, "G P P"]
    profile_NPF: Float16[np.ndarray, "N P F"] | None
    rows_NPP: Float32[np.ndarray, "N P P"] | None
    amplitude_NP: Float32[np.ndarray, "N P"]
    connectivity_NP: Float32[np.ndarray, "N P"]
    layer: int
    head: int | None
    uniform: float

    def maps_NP(self, kind: MapKind = "layer") -> Float32[np.ndarray, "N P"]:  # noqa: N802 - shape suffix
        """The map of each recording that is analysed.

        Args:
            kind: ``layer`` (the chosen layer, and head if one was chosen), ``mean`` (over layers and heads) or
                ``rollout`` (NaN for recordings that were not rolled out).
        """
        if kind == "rollout":
            maps_NP = np.full_like(self.amplitude_NP, np.nan)
            maps_NP[self.rollout_recordings_M] = self.rollout_MP
            return maps_NP
        if kind == "mean":
            return self.layers_NLP.mean(axis=1)
        return self.layers_NLP[:, self.layer] if self.head is None else self.heads_NHP[:, self.head]


@torch.no_grad()
def attention_maps(
    model: BrainLM,
    store: Store,
    *,
    layer: int = -1,
    head: int | None = None,
    with_profile: bool = False,
    with_rows: bool = False,
    rollout_windows: int | None = NUM_FOLLOWED,
    between_windows: int | None = NUM_FOLLOWED,
    batch_size: int = 8,
    resample: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> StoreAttention:
    """Attention in every recording of ``store``, from as many windows as fit without overlap; nothing is masked.

    Args:
        model: its scaler must be fitted.
        store: of the model's parcels.
        layer: the encoder block that is analysed, from 0, or from -1 at the end.
        head: one of its heads instead of the mean over heads.
        with_profile: keep CLS's attention to every temporal patch.
        with_rows: keep attention between parcels for each recording (all windows; about a sixth more time with 13m).
        rollout_windows: at most this many are rolled out, from recordings spread evenly over the store; None = all.
        between_windows: at most this many for ``between_GPP``, likewise.
        batch_size: windows at a time; changes no result.
        resample: bring recordings to the model's repetition time where theirs is too far from it.
        on_progress: called with recordings done and of how many.

    Raises:
        DataError: the store has other parcels than the model, or a recording another repetition time.
        AtlasError: the parcels of the store are others than the model's, or in another order.
        ConfigError: there is no such layer or head, or the scaler was never fitted.
    """
    check_recordings(store, model, resample=resample)
    layer = layer_number(model.network, layer)
    head = None if head is None else head_number(model.network, head)
    rolled, between = Quota(len(store), rollout_windows), Quota(len(store), between_windows)
    found = AttentionSums(model, store, layer, with_profile=with_profile, with_rows=with_rows)
    for batch in scaled_windows(model, store, batch_size, resample=resample):
        found.add_signal(batch)
        wanted = [
            Wanted(index, rollout=rolled.takes(number), between=between.takes(number), rows=with_rows)
            for index, number in enumerate(batch.recording_B.tolist())
        ]
        for windows in groups_of(wanted):
            chosen = [window.index for window in windows]
            attended = attend_windows(
                model.network,
                batch.signal_BPT[chosen],
                batch.valid_BPT[chosen],
                between=layer if windows[0].between or windows[0].rows else None,
                head=head,
                rollout=windows[0].rollout,
            )
            found.add(batch.recording_B[chosen], attended, between=windows[0].between)
            if windows[0].is_alone:  # those before it are done with, and much may be held of them
                found.finish(before=int(batch.recording_B[chosen[0]]))
        found.finish(before=int(batch.recording_B[-1]))
        if on_progress is not None:
            on_progress(int(batch.recording_B[-1]) + 1, len(store))
    found.finish(before=len(store))
    warn_of_amplitudes(found.loudness_N, model, store)
    return _whole({**found.arrays(), "layer": layer, "head": head, "uniform": _uniform(model)})


def _uniform(model: BrainLM) -> float:
    """The share of a parcel if CLS attended to itself and all patches equally."""
    length = model.config.num_timepoints
    valid_1PT = torch.ones(1, len(model.parcels), length, dtype=torch.bool, device=model.device)
    seen_1N = model.network.seen(valid_1PT).float()
    equal_1N = seen_1N / (1 + seen_1N.sum())
    return float(ParcelShare(model.network, valid_1PT).in_time(equal_1N).sum(dim=2).mean())


def cached_attention(
    model: BrainLM,
    store: Store,
    *,
    folder: Path,
    layer: int = -1,
    head: int | None = None,
    with_profile: bool = False,
    with_rows: bool = False,
    rollout_windows: int | None = NUM_FOLLOWED,
    between_windows: int | None = NUM_FOLLOWED,
    batch_size: int = 8,
    resample: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> StoreAttention:
    """``attention_maps``, from a file in ``folder`` if it is there, else computed and kept there.

    The file is named by a hash of weights, scaler, the store's content and the settings that change a number.

    Raises:
        DataError: as ``attention_maps``, or the disk is full.
        AtlasError: the parcels of the store are others than the model's, or in another order.
        ConfigError: there is no such layer or head, or the scaler was never fitted.
    """
    check_recordings(store, model, resample=resample)
    layer = layer_number(model.network, layer)
    head = None if head is None else head_number(model.network, head)
    windows = f"{rollout_windows} rolled out, {between_windows} between"
    what = f"attention {ATTENTION_VERSION}, {layer}, {head}, {with_profile}, {with_rows}, {windows}"
    key = feature_key(model, store, what, resample=resample)

    def compute() -> dict[str, np.ndarray]:
        attention = attention_maps(
            model,
            store,
            layer=layer,
            head=head,
            with_profile=with_profile,
            with_rows=with_rows,
            rollout_windows=rollout_windows,
            between_windows=between_windows,
            batch_size=batch_size,
            resample=resample,
            on_progress=on_progress,
        )
        return {name: np.asarray(value) for name, value in vars(attention).items() if value is not None}

    arrays = cached_arrays(folder / f"attention-{key}.npz", key, compute)
    return _whole({name: array.item() if array.ndim == 0 else array for name, array in arrays.items()})


def _whole(values: dict[str, Any]) -> StoreAttention:
    """The attention of these fields; those that may be None are so when they are not there."""
    return StoreAttention(**{"profile_NPF": None, "rows_NPP": None, "head": None, **values})
