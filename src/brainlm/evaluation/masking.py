"""Which windows are shown to the methods and what is hidden of them: the same for every method, forever.

The mask of a window is a pure function of (seed, condition, recording, start): neither the batch it comes in nor the
other recordings matter. How patches are hidden is the model's business and comes in as a callable.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from brainlm.baselines.predictor import MaskedBatch
from brainlm.data.scaling import Scaler, scaled_recording
from brainlm.data.store import Store
from brainlm.data.windows import WindowBatch, Windows, mix_seed
from brainlm.model.masks import Mask

RATIOS = (0.2, 0.5, 0.75, 0.9)
FUTURE_PATCHES = (1, 2, 5)


def conditions(num_temporal_patches: int) -> tuple[Mask, ...]:
    """The conditions of an evaluation; futures that would leave nothing to see of a window are left out."""
    return (
        *(Mask("random", ratio) for ratio in RATIOS),
        *(Mask("parcel", ratio) for ratio in RATIOS),
        *(Mask("future", float(number)) for number in FUTURE_PATCHES if number < num_temporal_patches),
    )


@runtime_checkable
class HiddenMaker(Protocol):
    """Hides patches: (a mask, one seed per window, what is valid) -> what is hidden, value by value."""

    def __call__(
        self, mask: Mask, seeds_B: Int64[Tensor, "B"], valid_BPT: Bool[Tensor, "B P T"]
    ) -> Bool[Tensor, "B P T"]: ...


class MaskedWindows:
    """The windows of an evaluation, to be gone through once per condition.

    Args:
        windows: of the recordings to evaluate on.
        scaler: fitted on training recordings.
        make_hidden: see ``HiddenMaker``.
        seed: of the masks.
        max_per_recording: at most this many windows of each recording.
        batch_size: windows at a time; changes no result.
        device: where batches go.

    Attributes:
        recording_N, start_N: the windows; recordings are positions in ``windows.store``.
    """

    def __init__(
        self,
        windows: Windows,
        scaler: Scaler,
        make_hidden: HiddenMaker,
        *,
        seed: int = 0,
        max_per_recording: int | None = None,
        batch_size: int = 32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.windows = windows
        self.scaler = scaler
        self.make_hidden = make_hidden
        self.seed = seed
        self.batch_size = batch_size
        self.device = device
        fixed = windows.fixed(max_per_recording=max_per_recording)
        self.recording_N: Int64[np.ndarray, "N"] = fixed.recording
        self.start_N: Int64[np.ndarray, "N"] = fixed.start

    def __len__(self) -> int:
        return len(self.recording_N)

    @property
    def num_batches(self) -> int:
        """How many batches a condition has."""
        return -(-len(self) // self.batch_size)

    def of(self, store: Store) -> MaskedWindows:
        """Windows of other recordings, made and masked likewise."""
        windows = Windows(store, self.windows.num_timepoints)
        return MaskedWindows(
            windows, self.scaler, self.make_hidden, seed=self.seed, batch_size=self.batch_size, device=self.device
        )

    def thinned(self, num_windows: int) -> MaskedWindows:
        """At most ``num_windows`` of them, evenly spaced."""
        if len(self) <= num_windows:
            return self
        kept = ((2 * np.arange(num_windows) + 1) * len(self)) // (2 * num_windows)
        thinned = copy.copy(self)
        thinned.recording_N, thinned.start_N = self.recording_N[kept], self.start_N[kept]
        return thinned

    def batches(self, mask: Mask) -> Iterator[MaskedBatch]:
        """All windows with what ``mask`` hides of them."""
        for first in range(0, len(self), self.batch_size):
            part = slice(first, first + self.batch_size)
            batch = self.windows.batch(self.recording_N[part], self.start_N[part])
            scaled = self.scaler.apply(batch.raw_BPT.to(self.device), batch.statistics.to(self.device))
            seeds_B = mask_seeds(self.seed, mask, batch).to(self.device)
            yield MaskedBatch(
                signal_BPT=scaled.signal_BPT,
                valid_BPT=scaled.valid_BPT,
                hidden_BPT=self.make_hidden(mask, seeds_B, scaled.valid_BPT),
                outside=self._outside(batch, only_before=mask.kind == "future"),
                recording_B=batch.recording_B,
                start_B=batch.start_B,
            )

    def _outside(self, batch: WindowBatch, *, only_before: bool) -> tuple[Tensor, ...]:
        """For each window the scaled time points of its recording outside it, (T_out, P)."""
        parts, last, signal_TP = [], -1, torch.empty(0, self.windows.store.num_parcels)
        for recording, start in zip(batch.recording_B.tolist(), batch.start_B.tolist(), strict=True):
            if recording != last:  # windows of one recording are neighbours
                signal_TP = scaled_recording(self.windows.store, recording, self.scaler).signal_BPT[0].T
                last = recording
            after_TP = signal_TP[len(signal_TP) if only_before else start + self.windows.num_timepoints :]
            parts.append(torch.cat([signal_TP[:start], after_TP]).to(self.device))
        return tuple(parts)


def mask_seeds(seed: int, mask: Mask, batch: WindowBatch) -> Int64[Tensor, "B"]:
    """One number per window, of (seed, condition, recording, start) only."""
    condition = hashlib.blake2b(f"{mask.kind}:{mask.amount:g}".encode(), digest_size=8).digest()
    identity = np.frombuffer(condition, dtype="<i8").astype(np.int64)
    return torch.from_numpy(mix_seed(seed, identity, batch.key_B.numpy(), batch.start_B.numpy()).view(np.int64))
