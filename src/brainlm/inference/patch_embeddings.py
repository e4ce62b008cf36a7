"""Recordings as sequences of vectors: the encoder's tokens averaged over parcels, but not over time.

For networks that read sequences. One vector a recording, or one a parcel (for networks that read graphs), is
``features.py``.

Shapes: N recordings, B windows, W windows of a recording, P parcels, C temporal patches of a window, D width.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from brainlm.data.store import Store
from brainlm.inference.batching import RecordingWindows, scaled_windows
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.cohort import check_recordings
from brainlm.inference.pooling import tokens_in_place
from brainlm.model.autoencoder import MaskedAutoencoder, Places


@torch.no_grad()
def temporal_patch_embeddings(
    model: BrainLM,
    store: Store,
    *,
    batch_size: int = 32,
    resample: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Float32[np.ndarray, "N W C D"]:
    """The temporal patches of every recording, from as many windows as fit without overlap; nothing is masked.

    Each is the mean of its tokens over the parcels. NaN where a patch has no signal, and for the windows that a
    recording has fewer than the longest.

    Args:
        model: its scaler must be fitted.
        store: of the model's parcels.
        batch_size: windows at a time; changes no result.
        resample: bring recordings to the model's repetition time where theirs is too far from it.
        on_progress: called with recordings done and of how many.

    Raises:
        DataError: the store has other parcels than the model, or a recording another repetition time.
        AtlasError: the parcels of the store are others than the model's, or in another order.
        ConfigError: the scaler was never fitted.
    """
    check_recordings(store, model, resample=resample)
    recordings: list[Tensor] = []
    steps: list[Tensor] = []
    for batch in scaled_windows(model, store, batch_size, resample=resample):
        recordings.append(batch.recording_B)
        steps.append(_mean_over_parcels(model.network, batch).cpu())
        if on_progress is not None:
            on_progress(int(batch.recording_B[-1]) + 1, len(store))
    recording_V, steps_VCD = torch.cat(recordings), torch.cat(steps)
    num_windows_N = torch.bincount(recording_V, minlength=len(store))
    # Windows come recording by recording, so that a window's number counts from its recording's first.
    before_N = num_windows_N.cumsum(0) - num_windows_N
    number_V = torch.arange(len(recording_V)) - before_N[recording_V]
    steps_NWCD = torch.full((len(store), int(num_windows_N.max()), *steps_VCD.shape[1:]), torch.nan)
    steps_NWCD[recording_V, number_V] = steps_VCD
    return steps_NWCD.numpy()


def _mean_over_parcels(network: MaskedAutoencoder, batch: RecordingWindows) -> Float32[Tensor, "B C D"]:
    tokenizer = network.tokenizer
    inside = slice(tokenizer.columns_with_signal.start, tokenizer.columns_with_signal.stop)
    encoding = network.encode(batch.signal_BPT, visible=Places.of(network.seen(batch.valid_BPT)))
    present_BRC = network.present_grid(batch.valid_BPT)[:, :, inside]
    grid = (tokenizer.num_rows, tokenizer.num_columns)
    tokens_BRCD = tokens_in_place(encoding, tokenizer.num_tokens).unflatten(1, grid)[:, :, inside]
    return (tokens_BRCD * present_BRC[:, :, :, None]).sum(dim=1) / present_BRC.sum(dim=1)[:, :, None]
