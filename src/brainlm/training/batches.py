"""The batches a run trains on: which windows and masks, in which order, as pure functions of the seed and the step.

Shapes: B batch, P parcels, T time points. Reading windows is in ``data/windows.py``, hiding in ``model/masks.py``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import IterableDataset

from brainlm.data.scaling import Scaler, scaled_recording
from brainlm.data.windows import WindowBatch, Windows, mix_seed
from brainlm.errors import ConfigError
from brainlm.model.autoencoder import OwnCovariance

RecordT = TypeVar("RecordT", WindowBatch, OwnCovariance)

# Numbers that keep the draws for order, masks, validation and dropout independent of each other.
ORDER_STREAM, MASK_STREAM, VALIDATION_STREAM, RANDOM_STREAM = 1, 2, 3, 4


@dataclass(frozen=True, eq=False)
class Batch:
    """Windows with one mask seed each.

    ``complete``: every parcel of every window has signal at every time point, so that all windows have the same number
    of patches (known here, so that nobody has to wait for the device to count them).
    """

    windows: WindowBatch
    mask_seed_B: Int64[Tensor, "B"]
    complete: bool
    own: OwnCovariance | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        own = None if self.own is None else _moved(self.own, device)
        return Batch(_moved(self.windows, device), self.mask_seed_B.to(device, non_blocking=True), self.complete, own)

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory, from which copies to a GPU overlap with its work."""
        raw = self.windows.raw_BPT.transpose(1, 2).pin_memory().transpose(1, 2)
        return dataclasses.replace(self, windows=dataclasses.replace(self.windows, raw_BPT=raw))


def _moved(record: RecordT, device: torch.device) -> RecordT:
    moved = {name: value.to(device, non_blocking=True) for name, value in vars(record).items()}
    return type(record)(**moved)


@dataclass(frozen=True)
class Schedule:
    """How many steps an epoch has and which windows each step sees, whatever the number of devices.

    Args:
        num_recordings: recordings that windows are drawn from.
        windows_per_recording: windows drawn of each in an epoch.
        windows_per_step: windows of one step on all devices together, accumulation included.
        seed: of the order.

    Raises:
        ConfigError: an epoch has fewer windows than a step.
    """

    num_recordings: int
    windows_per_recording: int
    windows_per_step: int
    seed: int

    def __post_init__(self) -> None:
        if self.windows_per_epoch < self.windows_per_step:
            raise ConfigError(
                "an epoch has fewer windows than one step",
                expected=f"at least {self.windows_per_step} windows an epoch (batch x devices x accumulation)",
                found=f"recordings: {self.num_recordings}, windows of each: {self.windows_per_recording}",
                remedy=f"--training.batch_size {self.windows_per_epoch}, or less; or raise"
                " --training.windows_per_recording",
            )

    @property
    def windows_per_epoch(self) -> int:
        """Windows drawn in an epoch; what does not fill a last step is left out (another part each epoch)."""
        return self.num_recordings * self.windows_per_recording

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of an epoch."""
        return self.windows_per_epoch // self.windows_per_step

    def order(self, epoch: int) -> Int64[np.ndarray, "draws"]:
        """All draws of an epoch, shuffled; draw d is window d // num_recordings of recording d % num_recordings."""
        draws = np.arange(self.windows_per_epoch)
        return np.argsort(mix_seed(self.seed, ORDER_STREAM, epoch, draws), kind="stable")


class TrainingBatches(IterableDataset[Batch]):
    """The batches of one stretch of steps for one process; where it starts is set before every stretch.

    Args:
        windows: of the training recordings.
        schedule: which windows make a step.
        accumulate: batches of one step.
        rank: this process among ``world_size``.
        world_size: processes that share each step.
        scaler: says which parcels are valid, and scales what own covariances are taken of.
        with_own: add each recording's own covariance outside the window.
    """

    def __init__(
        self,
        windows: Windows,
        schedule: Schedule,
        *,
        accumulate: int,
        scaler: Scaler,
        with_own: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.windows = windows
        self.schedule = schedule
        self.accumulate = accumulate
        self.rank = rank
        self.world_size = world_size
        self.scaler = scaler
        self.with_own = with_own
        self.epoch = 0
        self.first_step = 0
        self.num_steps = schedule.steps_per_epoch

    def __len__(self) -> int:
        return self.num_steps * self.accumulate

    def __iter__(self) -> Iterator[Batch]:
        order = self.schedule.order(self.epoch)
        per_batch = self.schedule.windows_per_step // (self.accumulate * self.world_size)
        for step in range(self.first_step, self.first_step + self.num_steps):
            of_step = order[step * self.schedule.windows_per_step :][: self.schedule.windows_per_step]
            for part in range(self.accumulate):
                # Device r takes every world_size-th window, so that a step's windows do not depend on the devices.
                draws = of_step[part * self.world_size + self.rank :: self.accumulate * self.world_size]
                assert len(draws) == per_batch
                yield self.batch(draws)

    def batch(self, draws: Int64[np.ndarray, "B"]) -> Batch:
        """The batch of the given draws of the current epoch."""
        recordings = self.windows.recordings[draws % self.schedule.num_recordings]
        # The n-th window of a recording in an epoch counts like an epoch of its own.
        visits = self.epoch * self.schedule.windows_per_recording + draws // self.schedule.num_recordings
        keys = self.windows.keys[recordings]
        starts = self.windows.random_starts(recordings, seed=self.schedule.seed, epoch=visits)
        seeds = mix_seed(self.schedule.seed, MASK_STREAM, visits, keys).view(np.int64)
        return make_batch(self.windows, recordings, starts, seeds, scaler=self.scaler, with_own=self.with_own)


class ValidationBatches(IterableDataset[Batch]):
    """Fixed windows with fixed masks, in batches; process r of n takes every n-th batch."""

    def __init__(
        self,
        windows: Windows,
        *,
        batch_size: int,
        max_per_recording: int,
        seed: int,
        scaler: Scaler,
        with_own: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.windows = windows
        self.fixed = windows.fixed(max_per_recording=max_per_recording)
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.scaler = scaler
        self.with_own = with_own

    def _firsts(self) -> range:
        return range(self.rank * self.batch_size, len(self.fixed), self.world_size * self.batch_size)

    def __len__(self) -> int:
        return len(self._firsts())

    def __iter__(self) -> Iterator[Batch]:
        for first in self._firsts():
            part = slice(first, first + self.batch_size)
            recordings, starts = self.fixed.recording[part], self.fixed.start[part]
            seeds = mix_seed(self.seed, VALIDATION_STREAM, self.windows.keys[recordings], starts).view(np.int64)
            yield make_batch(self.windows, recordings, starts, seeds, scaler=self.scaler, with_own=self.with_own)


def make_batch(
    windows: Windows,
    recordings: Int64[np.ndarray, "B"],
    starts: Int64[np.ndarray, "B"],
    mask_seeds: Int64[np.ndarray, "B"],
    *,
    scaler: Scaler,
    with_own: bool,
) -> Batch:
    """Read the windows and, when asked, each recording's own covariance outside its window."""
    batch = windows.batch(recordings, starts)
    long_enough = (windows.store.num_timepoints[recordings] >= windows.num_timepoints).all()
    complete = bool(long_enough and scaler.valid_P.all() and not torch.isnan(batch.median_BP).any())
    own = None
    if with_own:
        pairs = zip(recordings.tolist(), starts.tolist(), strict=True)
        outside = []
        for recording, start in pairs:
            signal_TP = scaled_recording(windows.store, recording, scaler).signal_BPT[0].T
            outside.append(torch.cat((signal_TP[:start], signal_TP[start + windows.num_timepoints :])))
        own = OwnCovariance.of(outside, num_parcels=windows.store.num_parcels)
    return Batch(batch, torch.from_numpy(mask_seeds.copy()), complete, own)
