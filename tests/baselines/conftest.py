"""Scaled recordings of a known process, and masked windows of them."""

import numpy as np
import pytest
import torch

from brainlm.baselines.moments import Moments, moments_of
from brainlm.baselines.predictor import MaskedBatch
from brainlm.data.scaling import ScaledBatch

NUM_PARCELS = 12


def smooth_noise(rng: np.random.Generator, *, num_recordings: int, num_timepoints: int) -> torch.Tensor:
    """Correlated between parcels (one factor and each recording's own pattern) and in time (AR(1) of 0.6)."""
    loading = 0.7 + 0.7 * rng.standard_normal((num_recordings, 1, NUM_PARCELS))
    noise = rng.standard_normal((num_recordings, num_timepoints + 50, NUM_PARCELS))
    noise = noise + rng.standard_normal((num_recordings, num_timepoints + 50, 1)) * loading
    for time in range(1, noise.shape[1]):
        noise[:, time] = 0.6 * noise[:, time - 1] + 0.8 * noise[:, time]
    return torch.tensor(noise[:, 50:], dtype=torch.float32).transpose(1, 2).contiguous()


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """These tensors are so small that threads waiting for each other cost ten times the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def moments() -> Moments:
    signal_BPT = smooth_noise(np.random.default_rng(1), num_recordings=60, num_timepoints=120)
    return moments_of([ScaledBatch(signal_BPT, torch.ones_like(signal_BPT, dtype=torch.bool))], num_lags=40)


@pytest.fixture
def make_batch():
    """A maker of masked windows of 40 time points out of recordings of 120; parcel 3 of window 0 is not valid."""

    def make(kind: str = "random", *, seed: int = 0, num_windows: int = 5) -> MaskedBatch:
        whole_BPT = smooth_noise(np.random.default_rng(seed + 10), num_recordings=num_windows, num_timepoints=120)
        valid_BPT = torch.ones(num_windows, NUM_PARCELS, 40, dtype=torch.bool)
        whole_BPT[0, 3] = 0.0
        valid_BPT[0, 3] = False
        generator = torch.Generator().manual_seed(seed)
        if kind == "random":
            patches = torch.rand(num_windows, NUM_PARCELS, 4, generator=generator) < 0.5
            hidden_BPT = patches.repeat_interleave(10, dim=2)
        elif kind == "parcel":
            parcels = torch.rand(num_windows, NUM_PARCELS, 1, generator=generator) < 0.5
            hidden_BPT = parcels.expand(-1, -1, 40).clone()
        else:
            hidden_BPT = torch.zeros_like(valid_BPT)
            hidden_BPT[:, :, -10:] = True
        before, after = whole_BPT[:, :, :30], whole_BPT[:, :, 70:]
        outside_BPT = before if kind == "future" else torch.cat([before, after], dim=2)
        return MaskedBatch(
            signal_BPT=whole_BPT[:, :, 30:70].contiguous(),
            valid_BPT=valid_BPT,
            hidden_BPT=hidden_BPT & valid_BPT,
            outside=tuple(outside_BPT.transpose(1, 2)),
            recording_B=torch.arange(num_windows),
            start_B=torch.full((num_windows,), 30),
        )

    return make
