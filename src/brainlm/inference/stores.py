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
from jaxtyping import Float32

from brainlm.atomic import disk_errors, replacing
from brainlm.data.store import Store
from brainlm.data.windows import Windows
from brainlm.errors import ConfigError
from brainlm.inference.brainlm import BrainLM, embed_windows, parcel_share
from brainlm.model.attention import ClsWatch

EMBEDDINGS_FILE = "embeddings.parquet"
ATTENTION_FILE = "attention.npz"


@dataclass(frozen=True, eq=False)
class StoreEmbeddings:
    """``table``: the store's metadata with the columns ``cls`` and ``mean`` (each D numbers), one row a recording;
    ``attention_P``: attention of CLS in the last block to each parcel, averaged over recordings.
    """

    table: pd.DataFrame
    attention_P: Float32[np.ndarray, "P"]

    @property
    def width(self) -> int:
        """D."""
        return len(self.table["cls"].iloc[0])


@torch.no_grad()
def embed_store(
    model: BrainLM, store: Store, *, batch_size: int = 32, on_progress: Callable[[int, int], None] | None = None
) -> StoreEmbeddings:
    """Embed every recording of ``store``: the mean over as many windows as fit without overlap.

    Recordings shorter than a window are one window whose rest is not valid. Nothing is masked.

    Raises:
        DataError: the store has other parcels than the model.
    """
    model.check_parcels(store.num_parcels, what=f"the store {store.path}")
    windows = Windows(store, model.config.num_timepoints, pad_short=True)
    fixed = windows.fixed()
    sums = {"cls": torch.zeros(len(store), model.config.encoder_width, dtype=torch.float64)}
    sums["mean"] = torch.zeros_like(sums["cls"])
    attention_NP = torch.zeros(len(store), store.num_parcels, dtype=torch.float64)
    counts_N = torch.from_numpy(np.bincount(fixed.recording, minlength=len(store)))
    for first in range(0, len(fixed), batch_size):
        part = slice(first, first + batch_size)
        batch = windows.batch(fixed.recording[part], fixed.start[part])
        scaled = model.scaler.apply(batch.raw_BPT.to(model.device), batch.statistics.to(model.device))
        watch = ClsWatch(model.network, scaled.valid_BPT)
        embedding = embed_windows(model.network, scaled.signal_BPT, scaled.valid_BPT, watch=watch)
        sums["cls"].index_add_(0, batch.recording_B, embedding.cls_BD.cpu().double())
        sums["mean"].index_add_(0, batch.recording_B, embedding.mean_BD.cpu().double())
        attention_BP = parcel_share(model.network, watch.attention_BHN.mean(dim=1))
        attention_NP.index_add_(0, batch.recording_B, attention_BP.cpu().double())
        if on_progress is not None:
            on_progress(min(first + batch_size, len(fixed)), len(fixed))
    table = store.metadata
    for name, total_ND in sums.items():
        table[name] = list((total_ND / counts_N[:, None]).float().numpy())
    return StoreEmbeddings(table, (attention_NP / counts_N[:, None]).mean(dim=0).float().numpy())


def write_embeddings(embeddings: StoreEmbeddings, folder: Path, *, overwrite: bool = False) -> Path:
    """Write the table as Parquet and the attention beside it; returns the table's path.

    Raises:
        ConfigError: there is one already and ``overwrite`` is not set.
        DataError: the disk is full or the place cannot be written.
    """
    check_free(folder, overwrite=overwrite)
    path = folder / EMBEDDINGS_FILE
    uniform = np.float32(1.0 / len(embeddings.attention_P))
    with disk_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / ATTENTION_FILE) as file:
            np.savez(file, cls_P=embeddings.attention_P, uniform_P=uniform)
        with replacing(path) as file:
            embeddings.table.to_parquet(file, index=False)
    return path


def check_free(folder: Path, *, overwrite: bool) -> None:
    """Raise ConfigError if ``folder`` has embeddings that may not be replaced; worth asking before computing them."""
    path = folder / EMBEDDINGS_FILE
    if path.exists() and not overwrite:
        raise ConfigError(f"{path} exists", remedy="give --overwrite to replace it, or --out for another folder")
