"""Embedding: recordings a second for each preset, and the most memory that takes, each in a process of its own.

Weights are random, which costs as much as trained ones; opening a checkpoint is not part of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64

from brainlm.bench.machine import MIB, available_memory, in_fresh_process, peak_memory
from brainlm.bench.results import Measure
from brainlm.bench.stores import random_store
from brainlm.bench.timing import in_turn, timer
from brainlm.data.scaling import Scaler
from brainlm.data.store import Store
from brainlm.errors import DataError
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.stores import embed_store
from brainlm.model.autoencoder import MaskedAutoencoder
from brainlm.model.config import preset

BYTES_PER_PARAMETER = 4
ROOM_FOR_ACTIVATIONS = 2 * 2**30  # bytes beside the weights: the program itself, and a batch of windows


@dataclass(frozen=True)
class EmbeddingSizes:
    """What is embedded.

    Args:
        num_recordings: for each preset that is measured: large ones need fewer to be timed.
        num_parcels: P.
        recording_timepoints: length of every recording, in time points.
        repeats: rounds.
    """

    num_recordings: dict[str, int]
    num_parcels: int
    recording_timepoints: int
    repeats: int


@dataclass(frozen=True, eq=False)
class EmbeddingRun:
    """What embedding took: seconds of each repeat, and the most memory in bytes (None where nobody can say)."""

    seconds: Float64[np.ndarray, "repeats"]
    peak: int | None


def measure_embedding(
    folder: Path, name: str, sizes: EmbeddingSizes, *, device: torch.device, num_threads: int
) -> list[Measure]:
    """Recordings a second and peak memory of the preset ``name``.

    Raises:
        DataError: this machine has not the memory for it.
    """
    _check_memory(name, sizes.num_parcels)
    number, length = sizes.num_recordings[name], sizes.recording_timepoints
    store = random_store(
        folder / f"embed-{name}.store",
        num_recordings=number,
        num_parcels=sizes.num_parcels,
        num_timepoints=(length, length),
    )
    run = in_fresh_process(embed, store.path, name, sizes.repeats, str(device), num_threads)
    rows = [Measure.of("embedding", f"{name} recordings", "1/s", number / run.seconds)]
    if run.peak is not None:
        kind = "GPU memory" if device.type == "cuda" else "memory"
        rows.append(Measure.of("embedding", f"{name} peak {kind}", "MiB", run.peak / MIB))
    return rows


def embed(path: Path, name: str, repeats: int, device: str, num_threads: int) -> EmbeddingRun:
    """Embed a store with random weights, as ``brainlm embed`` does; to be run in a fresh process."""
    torch.set_num_threads(num_threads)
    store, config = Store.open(path), preset(name)
    network = MaskedAutoencoder(config, torch.from_numpy(store.parcels.order(config.parcel_order)))
    model = BrainLM(network, Scaler.fit(store, "zscore"), store.parcels).to(device)
    embedding = timer(lambda: embed_store(model, store), device=torch.device(device))
    seconds = in_turn({"embed": embedding}, repeats=repeats)["embed"]
    peak = torch.cuda.max_memory_allocated() if torch.device(device).type == "cuda" else peak_memory()
    return EmbeddingRun(seconds, peak)


def _check_memory(name: str, num_parcels: int) -> None:
    with torch.device("meta"):  # sizes without memory
        network = MaskedAutoencoder(preset(name), torch.arange(num_parcels, device="cpu"))
    needed = BYTES_PER_PARAMETER * network.num_parameters + ROOM_FOR_ACTIVATIONS
    available = available_memory()
    if available is not None and available < needed:
        raise DataError(
            f"the preset {name} needs more memory than there is",
            expected=f"{needed / MIB:,.0f} MiB available",
            found=f"{available / MIB:,.0f} MiB",
            remedy="close other programs, or use a machine with more memory",
        )
