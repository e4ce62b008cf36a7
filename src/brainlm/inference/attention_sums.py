"""Attention of the recordings of a store as their windows come by: which windows are asked for what, and the means.

What one window's attention is comes from ``pooling.py``; going through a store is ``attention_maps.py``.

Shapes: N recordings, B windows, L layers, H heads, T time points, P parcels, C temporal patches, X = B x T values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from brainlm.data.store import Store
from brainlm.inference.batching import RecordingWindows
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.checks import amplitudes
from brainlm.inference.means import RunningMeans
from brainlm.inference.pooling import WindowAttention


@dataclass(frozen=True)
class Wanted:
    """What is asked of a window of a batch besides the attention of CLS."""

    index: int
    rollout: bool
    between: bool
    rows: bool

    @property
    def is_alone(self) -> bool:
        """Whether it is encoded by itself, for the memory that takes."""
        return self.rollout or self.between or self.rows


def groups_of(wanted: list[Wanted]) -> Iterator[list[Wanted]]:
    """Windows to be encoded together: all that only CLS is asked of, and then the others one by one, in order."""
    plain = [window for window in wanted if not window.is_alone]
    if plain:
        yield plain
    for window in wanted:
        if window.is_alone:
            yield [window]


class Quota:
    """At most ``most`` windows (None = all): the first ones of recordings that are spread evenly over the store."""

    def __init__(self, num_recordings: int, most: int | None) -> None:
        self._is_open = most is None
        self._left_N = np.zeros(num_recordings, np.int64)
        if most:
            number = min(num_recordings, most)
            chosen = (2 * np.arange(number) + 1) * num_recordings // (2 * number)
            self._left_N[chosen] = most // number

    def takes(self, recording: int) -> bool:
        """Whether the next window of a recording is one of them; to be asked once for each window."""
        if self._is_open:
            return True
        self._left_N[recording] -= 1
        return bool(self._left_N[recording] >= 0)


class AttentionSums:
    """What was seen so far: running means of the recordings that are being gone through, arrays of those done."""

    def __init__(self, model: BrainLM, store: Store, layer: int, *, with_profile: bool, with_rows: bool) -> None:
        config, (number, num_parcels) = model.config, (len(store), store.num_parcels)
        self._model, self._store, self._layer = model, store, layer
        self._open: dict[int, RunningMeans] = {}
        self._group = RunningMeans()
        self._rollouts: dict[int, np.ndarray] = {}
        self.loudness_N = torch.zeros(number, dtype=torch.float64)
        shapes: dict[str, tuple[int, ...]] = {
            "layers_NLP": (config.encoder_depth, num_parcels),
            "heads_NHP": (config.encoder_heads, num_parcels),
            "amplitude_NP": (num_parcels,),
            "connectivity_NP": (num_parcels,),
        }
        if with_rows:
            shapes["rows_NPP"] = (num_parcels, num_parcels)
        self._arrays = {name: np.full((number, *shape), np.nan, np.float32) for name, shape in shapes.items()}
        if with_profile:
            num_features = config.encoder_heads * config.num_temporal_patches
            self._arrays["profile_NPF"] = np.full((number, num_parcels, num_features), np.nan, np.float16)
        self._num_lags = 2 * config.num_temporal_patches - 1

    def add_signal(self, batch: RecordingWindows) -> None:
        """Take what is to be known of the windows themselves."""
        signal_BTP = batch.signal_BPT.masked_fill(~batch.valid_BPT, torch.nan).transpose(1, 2)
        loudness_B = amplitudes(batch)
        for recording, windows in _by_recording(batch.recording_B):
            values_XP = signal_BTP[windows].flatten(0, 1).cpu().double()
            self._open.setdefault(recording, RunningMeans()).add(
                {"signal": values_XP, "square": values_XP.square(), "loudness": loudness_B[windows]}
            )

    def add(self, recording_B: Int64[Tensor, "B"], attended: WindowAttention, *, between: bool) -> None:
        """Take the attention in windows of these recordings; ``between``: whether lags are among what is averaged."""
        quantities = attended.quantities
        if not between:
            quantities.pop("between", None)
        if "profile_NPF" in self._arrays:
            quantities["profile"] = attended.patches_BLHPC[:, self._layer]
        for recording, windows in _by_recording(recording_B):
            self._open[recording].add({name: values[windows] for name, values in quantities.items()})

    def finish(self, *, before: int) -> None:
        """Close the recordings of which no more windows come."""
        for recording in [number for number in self._open if number < before]:
            mean = self._open.pop(recording).means()
            self._group.add({name: mean[name][None] for name in ("cls", "between") if name in mean})
            self.loudness_N[recording] = mean["loudness"]
            if "rollout" in mean:
                self._rollouts[recording] = mean["rollout"].float().numpy()
            of_recording = {
                "layers_NLP": mean["cls"].mean(dim=1),
                "heads_NHP": mean["cls"][self._layer],
                "amplitude_NP": (mean["square"] - mean["signal"].square()).clamp(min=0).sqrt(),
                "connectivity_NP": torch.from_numpy(_connectivity_strength(self._store.bold(recording))),
            }
            if "rows_NPP" in self._arrays:
                of_recording["rows_NPP"] = mean["rows"]
            if "profile_NPF" in self._arrays:
                num_patches = self._model.network.tokenizer.num_tokens
                of_recording["profile_NPF"] = num_patches * mean["profile"].transpose(0, 1).flatten(1)
            for name, values in of_recording.items():
                self._arrays[name][recording] = values.numpy()

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays of a ``StoreAttention``, by name."""
        group = self._group.means()
        num_parcels = self._store.num_parcels
        nowhere_GPP = torch.full((self._num_lags, num_parcels, num_parcels), torch.nan)
        rolled = sorted(self._rollouts)
        return self._arrays | {
            "cls_LHP": group["cls"].float().numpy(),
            "between_GPP": group.get("between", nowhere_GPP).float().numpy(),
            "rollout_MP": np.array([self._rollouts[one] for one in rolled], np.float32).reshape(-1, num_parcels),
            "rollout_recordings_M": np.array(rolled, np.int64),
        }


def _by_recording(recording_B: Int64[Tensor, "B"]) -> Iterator[tuple[int, Tensor]]:
    """Each recording that windows are of, and which windows."""
    for recording in recording_B.unique().tolist():
        yield recording, recording_B == recording


def _connectivity_strength(bold_TP: Float[np.ndarray, "T P"]) -> Float32[np.ndarray, "P"]:
    """Mean absolute correlation of each parcel with the others; NaN for parcels without signal."""
    with np.errstate(invalid="ignore"):
        centred_TP = bold_TP - bold_TP.mean(axis=0, dtype=np.float64)
    norm_P = np.linalg.norm(centred_TP, axis=0)
    there = np.flatnonzero(np.isfinite(norm_P) & (norm_P > 0))
    unit_TP = centred_TP[:, there] / norm_P[there]
    strength_P = np.full(bold_TP.shape[1], np.nan, np.float32)
    if len(there) > 1:
        strength_P[there] = (np.abs(unit_TP.T @ unit_TP).sum(axis=0) - 1) / (len(there) - 1)
    return strength_P
