"""What a network learns a person's label from: recordings with labels, and the inputs made of them.

Shapes: U units (people, or recordings where each has its own label), M recordings of these units, B of a batch, P
parcels, T time points. How a network is trained on them is in ``supervised.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor
from torch.utils.data import Dataset

from brainlm.data.scaling import Scaler
from brainlm.data.store import Store
from brainlm.data.windows import Windows
from brainlm.training.draws import Draws


@dataclass(frozen=True, eq=False)
class Labelled:
    """Some units of a cohort: their recordings, their labels and how much each counts.

    Attributes:
        recordings_M: positions in the store, all recordings of the first unit, then of the second, ...
        unit_M: the unit of each, counted from 0.
        values_U: in original units, or class codes.
        weights_U: how much each unit counts.
    """

    recordings_M: Int64[np.ndarray, "M"]
    unit_M: Int64[np.ndarray, "M"]
    values_U: Float64[np.ndarray, "U"]
    weights_U: Float64[np.ndarray, "U"]

    @classmethod
    def of(
        cls,
        recordings: Sequence[Int64[np.ndarray, "_"]],
        values_N: Float64[np.ndarray, "N"],
        units_U: Int64[np.ndarray, "U"],
        *,
        weights_N: Float64[np.ndarray, "N"] | None = None,
    ) -> Labelled:
        """The units at positions ``units_U`` of a cohort of N; ``recordings``: each unit's positions in the store."""
        chosen = [np.asarray(recordings[unit], dtype=np.int64) for unit in units_U]
        counts = [len(of_unit) for of_unit in chosen]
        assert all(counts), "every unit has a recording"
        return cls(
            recordings_M=np.concatenate([np.empty(0, np.int64), *chosen]),
            unit_M=np.repeat(np.arange(len(units_U)), counts).astype(np.int64),
            values_U=values_N[units_U],
            weights_U=np.ones(len(units_U)) if weights_N is None else weights_N[units_U],
        )

    def __len__(self) -> int:
        return len(self.values_U)

    @property
    def recording_weights_M(self) -> Float64[np.ndarray, "M"]:  # noqa: N802 - shape suffix
        """How much each recording counts: a unit's recordings share its vote; the mean is 1."""
        weights_M = self.weights_U[self.unit_M] / np.bincount(self.unit_M)[self.unit_M]
        return weights_M / weights_M.mean()

    def mean_by_unit(
        self, values_WK: Float64[np.ndarray, "W K"], position_W: Int64[np.ndarray, "W"]
    ) -> Float64[np.ndarray, "U K"]:
        """Values of windows averaged window -> recording -> unit; ``position_W`` counts in ``recordings_M``."""
        by_recording_MK = _group_mean(values_WK, position_W, len(self.recordings_M))
        return _group_mean(by_recording_MK, self.unit_M, len(self))


def _group_mean(values: np.ndarray, group: np.ndarray, num_groups: int) -> np.ndarray:
    sums = np.zeros((num_groups, values.shape[1]))
    np.add.at(sums, group, values)
    return sums / np.bincount(group, minlength=num_groups)[:, None]


@dataclass(frozen=True, eq=False)
class FixedInputs:
    """The inputs of some recordings for judging: tensors of a common first axis, and whose each entry is."""

    tensors: tuple[Tensor, ...]
    position_W: Int64[np.ndarray, "W"]


@runtime_checkable
class Inputs(Protocol):
    """How recordings become what a network takes: ``network(*tensors)``, the first axis of all tensors being B."""

    def drawn(self, recordings_B: Int64[np.ndarray, "B"], *, seed: int, epoch: int) -> tuple[Tensor, ...]:
        """For training: one input of each recording, a pure function of seed, epoch and recording."""
        ...

    def fixed(self, recordings_B: Int64[np.ndarray, "B"]) -> FixedInputs:
        """For validation and prediction: all inputs of each recording, always the same ones."""
        ...


class WindowInputs:
    """Scaled windows ``(signal_BPT, valid_BPT)``: a random one in training, else as many as fit without overlap.

    Recordings shorter than a window are one window whose rest is not valid.

    Args:
        store: that the recordings' positions count in.
        scaler: fitted on training recordings only.
        num_timepoints: T.
    """

    def __init__(self, store: Store, scaler: Scaler, num_timepoints: int) -> None:
        self.windows = Windows(store, num_timepoints, pad_short=True)
        self.scaler = scaler
        every = self.windows.fixed()
        order = np.argsort(every.recording, kind="stable")
        self._starts = np.split(every.start[order], np.cumsum(np.bincount(every.recording))[:-1])

    def drawn(self, recordings_B: Int64[np.ndarray, "B"], *, seed: int, epoch: int) -> tuple[Tensor, ...]:
        """See ``Inputs``."""
        return self._scaled(recordings_B, self.windows.random_starts(recordings_B, seed=seed, epoch=epoch))

    def fixed(self, recordings_B: Int64[np.ndarray, "B"]) -> FixedInputs:
        """See ``Inputs``."""
        starts = [self._starts[recording] for recording in recordings_B]
        position_W = np.repeat(np.arange(len(recordings_B)), [len(part) for part in starts])
        return FixedInputs(self._scaled(recordings_B[position_W], np.concatenate(starts)), position_W)

    def _scaled(self, recordings_W: Int64[np.ndarray, "W"], starts_W: Int64[np.ndarray, "W"]) -> tuple[Tensor, ...]:
        batch = self.windows.batch(recordings_W, starts_W)
        scaled = self.scaler.apply(batch.raw_BPT, batch.statistics)
        return scaled.signal_BPT, scaled.valid_BPT


class FeatureInputs:
    """Inputs that were computed beforehand, one entry a recording of the store; nothing random about them."""

    def __init__(self, *features: Tensor) -> None:
        self.features = features

    def drawn(self, recordings_B: Int64[np.ndarray, "B"], *, seed: int, epoch: int) -> tuple[Tensor, ...]:  # noqa: ARG002
        """See ``Inputs``."""
        return tuple(feature[torch.from_numpy(recordings_B)] for feature in self.features)

    def fixed(self, recordings_B: Int64[np.ndarray, "B"]) -> FixedInputs:
        """See ``Inputs``."""
        return FixedInputs(self.drawn(recordings_B, seed=0, epoch=0), np.arange(len(recordings_B)))


@dataclass(frozen=True, eq=False)
class LabelledBatch:
    """Inputs with the label, weight and recording (position in ``Labelled.recordings_M``) of each."""

    tensors: tuple[Tensor, ...]
    value_B: Float32[Tensor, "B"]
    weight_B: Float32[Tensor, "B"]
    position_B: Int64[Tensor, "B"]

    def to(self, device: torch.device) -> LabelledBatch:
        """The same batch on another device; positions stay where they are."""
        tensors = tuple(tensor.to(device, non_blocking=True) for tensor in self.tensors)
        return LabelledBatch(tensors, self.value_B.to(device), self.weight_B.to(device), self.position_B)


class DrawnBatches(Dataset[LabelledBatch]):
    """The batches of a training epoch; see ``Draws``."""

    def __init__(self, inputs: Inputs, labelled: Labelled, *, batch_size: int, draws: int, seed: int) -> None:
        self.inputs = inputs
        self.labelled = labelled
        self.seed = seed
        self.epoch = 0
        self.draws = Draws(len(labelled.recordings_M), draws=draws, batch_size=batch_size, seed=seed)
        self.weights_M = labelled.recording_weights_M

    def __len__(self) -> int:
        return len(self.draws)

    def __getitem__(self, number: int) -> LabelledBatch:
        draw = self.draws.step(number, epoch=self.epoch)
        recordings_B = self.labelled.recordings_M[draw.position_B]
        drawn = [
            self.inputs.drawn(recordings_B[draw.visit_B == visit], seed=self.seed, epoch=int(visit))
            for visit in np.unique(draw.visit_B)
        ]
        tensors = tuple(torch.cat(parts_of_one) for parts_of_one in zip(*drawn, strict=True))
        return _batch(self.labelled, self.weights_M, tensors, draw.position_B)


def fixed_batches(inputs: Inputs, labelled: Labelled, *, batch_size: int) -> Iterator[LabelledBatch]:
    """All inputs of the recordings for judging, in order; windows of a recording share its weight."""
    weights_M = labelled.recording_weights_M
    for first in range(0, len(labelled.recordings_M), batch_size):
        fixed = inputs.fixed(labelled.recordings_M[first : first + batch_size])
        shared_M = weights_M.copy()
        shared_M[first : first + batch_size] /= np.bincount(fixed.position_W)
        # Long recordings have many windows: no batch is larger than those of training.
        for start in range(0, len(fixed.position_W), batch_size):
            part = slice(start, start + batch_size)
            tensors = tuple(tensor[part] for tensor in fixed.tensors)
            yield _batch(labelled, shared_M, tensors, first + fixed.position_W[part])


def _batch(
    labelled: Labelled, weights_M: np.ndarray, tensors: tuple[Tensor, ...], position_B: np.ndarray
) -> LabelledBatch:
    return LabelledBatch(
        tensors,
        torch.from_numpy(labelled.values_U[labelled.unit_M[position_B]]).float(),
        torch.from_numpy(weights_M[position_B]).float(),
        torch.from_numpy(position_B.astype(np.int64)),
    )
