"""Windows for forecasting: a context that a method sees, and the future that it is judged by.

Scaling knows the context alone: a centre or spread taken over the future, too, would tell a method where it returns to.
Windows themselves are in ``windows.py``, scaling in ``scaling.py``; what forecasts is no business of this file.

Shapes: B batch, P parcels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from brainlm.data.scaling import Scaler, TensorStatistics
from brainlm.data.store import Store
from brainlm.data.windows import FixedWindows, Indices, Windows
from brainlm.errors import ConfigError, DataError, Failure


@dataclass(frozen=True, eq=False)
class ContextBatch:
    """B contexts and what came after them, scaled by statistics of the contexts alone.

    No NaN: where a flag is False the value is 0 and means nothing. A parcel that is nowhere valid in the context is not
    valid in the future.

    Attributes:
        statistics: of the contexts, in original units: what ``Scaler.restore`` wants to know.
        recording_B, start_B, key_B: as in ``WindowBatch``; the start is that of the context.
    """

    context_BPT: Float32[Tensor, "B P context"]
    context_valid_BPT: Bool[Tensor, "B P context"]
    future_BPH: Float32[Tensor, "B P horizon"]
    future_valid_BPH: Bool[Tensor, "B P horizon"]
    statistics: TensorStatistics
    recording_B: Int64[Tensor, "B"]
    start_B: Int64[Tensor, "B"]
    key_B: Int64[Tensor, "B"]

    def to(self, device: torch.device | str) -> ContextBatch:
        """The same windows on another device; recordings, starts and keys stay where they are."""
        return replace(
            self,
            context_BPT=self.context_BPT.to(device),
            context_valid_BPT=self.context_valid_BPT.to(device),
            future_BPH=self.future_BPH.to(device),
            future_valid_BPH=self.future_valid_BPH.to(device),
            statistics=self.statistics.to(device),
        )


class ContextWindows:
    """All windows of ``context + horizon`` time points in a store.

    Args:
        store: usually one split.
        scaler: how raw values become model input.
        context: time points that are seen.
        horizon: time points that follow and are to be forecast.

    Attributes:
        recordings: positions of the recordings that have a window.
        excluded: the recordings that are too short, with the reason.

    Raises:
        ConfigError: a context or horizon of no time points.
        DataError: no recording is long enough.
    """

    def __init__(self, store: Store, scaler: Scaler, *, context: int, horizon: int) -> None:
        if context < 1 or horizon < 1:
            raise ConfigError(
                "there is nothing to forecast, or nothing to forecast from",
                expected="a context and a horizon of one time point or more",
                found=f"context {context}, horizon {horizon}",
            )
        self.store = store
        self.scaler = scaler
        self.context = context
        self.horizon = horizon
        if not (store.num_timepoints >= context + horizon).any():
            raise DataError(
                "no recording is long enough for this forecast",
                expected=f"recordings of {context + horizon} time points or more: {context} seen, {horizon} forecast",
                found=f"{len(store)} recordings, the longest of {max(store.num_timepoints, default=0)} time points",
                remedy="choose a shorter --context or --horizon",
            )
        self._windows = Windows(store, context + horizon)

    @property
    def recordings(self) -> Int64[np.ndarray, "R"]:
        """Positions of the recordings that have a window."""
        return self._windows.recordings

    @property
    def excluded(self) -> list[Failure]:
        """The recordings that are too short, with the reason."""
        return self._windows.excluded

    def fixed(self, *, max_per_recording: int | None = None) -> FixedWindows:
        """Windows for judging: as many as fit without overlap, or ``max_per_recording`` evenly spaced among them."""
        return self._windows.fixed(max_per_recording=max_per_recording)

    def batch(self, recordings: Indices, starts: Indices) -> ContextBatch:
        """The windows whose contexts begin at ``starts``, scaled.

        Raises:
            DataError: a window does not lie within its recording.
            ConfigError: the scaler was never fitted.
        """
        batch = self._windows.batch(recordings, starts)
        statistics = statistics_of_windows(batch.raw_BPT[:, :, : self.context])
        scaled = self.scaler.apply(batch.raw_BPT, statistics)
        context_valid_BPT = scaled.valid_BPT[:, :, : self.context]
        future_valid_BPH = scaled.valid_BPT[:, :, self.context :] & context_valid_BPT.any(dim=2, keepdim=True)
        return ContextBatch(
            context_BPT=scaled.signal_BPT[:, :, : self.context],
            context_valid_BPT=context_valid_BPT,
            future_BPH=scaled.signal_BPT[:, :, self.context :].masked_fill(~future_valid_BPH, 0.0),
            future_valid_BPH=future_valid_BPH,
            statistics=statistics,
            recording_B=batch.recording_B,
            start_B=batch.start_B,
            key_B=batch.key_B,
        )

    def drawn(self, recordings: Indices, *, seed: int, epoch: int | Int64[np.ndarray, "B"]) -> ContextBatch:
        """One random window of each recording: a pure function of seed, epoch and the recording's identity."""
        return self.batch(recordings, self._windows.random_starts(recordings, seed=seed, epoch=epoch))


def statistics_of_windows(raw_BPT: Float32[Tensor, "B P T"]) -> TensorStatistics:
    """Median, mean and deviation of each parcel over each window: what ``TensorStatistics.of`` says of a recording."""
    parts: Sequence[TensorStatistics] = [TensorStatistics.of(raw_PT.T.numpy()) for raw_PT in raw_BPT]
    return TensorStatistics(
        median=torch.cat([part.median for part in parts]),
        mean=torch.cat([part.mean for part in parts]),
        std=torch.cat([part.std for part in parts]),
    )
