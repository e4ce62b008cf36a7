"""A whole store through a model: one row of vectors a recording, and the mean attention of CLS to every parcel.

Shapes: B windows, P parcels, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from brainlm.data.recording import recording_name
from brainlm.data.shards import KEY_COLUMNS
from brainlm.data.store import Store
from brainlm.errors import ConfigError
from brainlm.files import write_arrays, write_parquet
from brainlm.inference.batching import RecordingWindows, scaled_windows
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.checks import amplitudes, warn_of_amplitude
from brainlm.inference.cohort import check_recordings
from brainlm.inference.pooling import ParcelShare, WindowEmbedding, embed_windows
from brainlm.model.attention import AttentionWatch

EMBEDDINGS_FILE = "embeddings.parquet"
ATTENTION_FILE = "attention.npz"


@dataclass(frozen=True, eq=False)
class StoreEmbeddings:
    """``table``: the store's metadata with the columns ``cls`` and ``mean`` (each D numbers), one row a recording;
    ``attention_P``: share of each parcel in what CLS attends to in the last block, averaged over heads and over the
    recordings in which the parcel has signal.
    """

    table: pd.DataFrame
    attention_P: Float32[np.ndarray, "P"]

    @property
    def width(self) -> int:
        """D."""
        return len(self.table["cls"].iloc[0])


@torch.no_grad()
def embed_store(
    model: BrainLM,
    store: Store,
    *,
    batch_size: int = 32,
    resample: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> StoreEmbeddings:
    """Embed every recording of ``store``: the mean over as many windows as fit without overlap.

    Recordings shorter than a window are one window whose rest is not valid. Nothing is masked.

    Args:
        model: its scaler must be fitted.
        store: of the model's parcels.
        batch_size: windows at a time; changes no result.
        resample: bring recordings to the model's repetition time where theirs is too far from it.
        on_progress: called with recordings done and of how many.

    Raises:
        DataError: the store has other parcels than the model, or a recording another repetition time.
        ConfigError: the scaler was never fitted.
    """
    check_recordings(store, model, resample=resample)
    sums = _Sums(len(store), store.num_parcels, model.config.encoder_width)
    for batch in scaled_windows(model, store, batch_size, resample=resample):
        watch = AttentionWatch(model.network, batch.valid_BPT, layers=[-1])
        embedding = embed_windows(model.network, batch.signal_BPT, batch.valid_BPT, watch=watch)
        attention_BPC = ParcelShare(model.network, batch.valid_BPT).in_time(watch.cls_BLHN.mean(dim=(1, 2)))
        sums.add(batch, embedding, attention_BPC.sum(dim=2))
        if on_progress is not None:
            on_progress(int(batch.recording_B[-1]) + 1, len(store))
    warn_of_amplitudes(sums.means("amplitude")[:, 0], model, store)
    table = store.metadata
    for name in ("cls", "mean"):
        table[name] = list(sums.means(name).float().numpy())
    table.attrs["store"] = store.path.name  # travels in the file
    return StoreEmbeddings(table, sums.means("attention").nanmean(dim=0).float().numpy())


class _Sums:
    """What is averaged over the windows of each recording, in double precision."""

    def __init__(self, num_recordings: int, num_parcels: int, width: int) -> None:
        widths = {"cls": width, "mean": width, "attention": num_parcels, "amplitude": 1}
        self._sums = {name: torch.zeros(num_recordings, wide, dtype=torch.float64) for name, wide in widths.items()}
        self._counts_N = torch.zeros(num_recordings, dtype=torch.float64)

    def add(self, batch: RecordingWindows, embedding: WindowEmbedding, attention_BP: Tensor) -> None:
        amplitude_B1 = amplitudes(batch)[:, None]
        parts = {
            "cls": embedding.cls_BD, "mean": embedding.mean_BD, "attention": attention_BP, "amplitude": amplitude_B1
        }  # fmt: skip
        for name, values in parts.items():
            self._sums[name].index_add_(0, batch.recording_B, values.cpu().double())
        self._counts_N.index_add_(0, batch.recording_B, torch.ones(len(batch.recording_B), dtype=torch.float64))

    def means(self, name: str) -> Float64[Tensor, "N D"]:
        return self._sums[name] / self._counts_N[:, None]


def warn_of_amplitudes(amplitude_N: Float64[Tensor, "N"], model: BrainLM, store: Store) -> None:
    """Warn of the store as a whole if it is far from what the weights expect, and of its worst recording.

    Args:
        amplitude_N: mean absolute scaled value of each recording.
        model: whose weights expect something.
        store: of the recordings.
    """
    middle = float(amplitude_N.median())
    worst = int((amplitude_N / middle).log().abs().argmax()) if middle > 0 else 0
    warn_of_amplitude(middle, model.scaler, what=f"the store {store.path}")
    if len(store) > 1:
        name = recording_name(*(str(store.metadata.iloc[worst][key]) for key in KEY_COLUMNS))
        warn_of_amplitude(float(amplitude_N[worst]), model.scaler, what=f"recording {name}")


def write_embeddings(embeddings: StoreEmbeddings, folder: Path, *, overwrite: bool = False) -> Path:
    """Write the table as Parquet and the attention beside it; returns the table's path.

    Raises:
        ConfigError: there is one already and ``overwrite`` is not set.
        DataError: the disk is full or the place cannot be written.
    """
    check_free(folder, overwrite=overwrite)
    path = folder / EMBEDDINGS_FILE
    uniform = np.float32(1.0 / len(embeddings.attention_P))
    write_arrays(folder / ATTENTION_FILE, {"cls_P": embeddings.attention_P, "uniform_P": np.asarray(uniform)})
    write_parquet(path, embeddings.table)
    return path


def check_free(folder: Path, *, overwrite: bool) -> None:
    """Raise ConfigError if ``folder`` has embeddings that may not be replaced; worth asking before computing them."""
    path = folder / EMBEDDINGS_FILE
    if path.exists() and not overwrite:
        raise ConfigError(f"{path} exists", remedy="give --overwrite to replace it, or --out for another folder")
