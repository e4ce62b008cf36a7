"""Attention: what maps of a store cost beside encoding its windows, and the most memory, in a process of its own.

Weights are random, which costs as much as trained ones. Rollout and attention between parcels are taken of at most a
fixed number of windows, so what they add is measured of every window and counted for as many as they are taken of.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64

from brainlm.bench.machine import MIB, in_fresh_process, peak_memory
from brainlm.bench.results import Aim, Measure
from brainlm.bench.stores import random_store
from brainlm.bench.timing import Timer, in_turn, timer
from brainlm.data.scaling import Scaler
from brainlm.data.store import Store
from brainlm.inference.attention_maps import NUM_FOLLOWED, attention_maps
from brainlm.inference.batching import scaled_windows
from brainlm.inference.brainlm import BrainLM
from brainlm.model.autoencoder import MaskedAutoencoder, Places
from brainlm.model.config import preset

BATCH_SIZE = 8  # windows at a time, of all alternatives
MANY_WINDOWS = 1000  # of the store that the ratio is stated for


@dataclass(frozen=True)
class AttentionSizes:
    """What attention is measured on.

    Args:
        preset: of the model.
        num_windows: each of a recording of its own.
        num_parcels: P.
        repeats: rounds.
    """

    preset: str
    num_windows: int
    num_parcels: int
    repeats: int


@dataclass(frozen=True, eq=False)
class AttentionRun:
    """Seconds of every alternative in every round, by the clock and by what the processor did, and the most memory in
    bytes (None where nobody can say).
    """

    seconds: dict[str, Float64[np.ndarray, "repeats"]]
    processor_seconds: dict[str, Float64[np.ndarray, "repeats"]]
    peak: int | None


def measure_attention(folder: Path, sizes: AttentionSizes, *, device: torch.device, num_threads: int) -> list[Measure]:
    """Time of maps relative to encoding, and peak memory."""
    length = preset(sizes.preset).num_timepoints
    store = random_store(
        folder / "attention.store",
        num_recordings=sizes.num_windows,
        num_parcels=sizes.num_parcels,
        num_timepoints=(length, length),
    )
    run = in_fresh_process(attend, store.path, sizes.preset, sizes.repeats, str(device), num_threads)
    of = partial(Measure.of, "attention")
    encoding = run.seconds["encoding"]
    rows = [
        of(f"{sizes.preset} windows encoded", "1/s", sizes.num_windows / encoding),
        of("maps of CLS / encoding", "times", run.seconds["cls"] / encoding),
        of("rollout and lags of every window / encoding", "times", run.seconds["all"] / encoding),
        of("maps of 1,000 windows / encoding", "times", of_many(run.seconds), Aim(1.3, at_most=True)),
    ]
    if device.type == "cpu":
        rows.append(of("the same in processor time", "times", of_many(run.processor_seconds)))
    if run.peak is not None:
        kind = "GPU memory" if device.type == "cuda" else "memory"
        rows.append(of(f"{sizes.preset} peak {kind}", "MiB", run.peak / MIB, Aim(2048.0, at_most=True)))
    return rows


def of_many(seconds: dict[str, Float64[np.ndarray, "repeats"]]) -> Float64[np.ndarray, "repeats"]:
    """What the maps of a store of 1,000 windows cost relative to encoding it."""
    followed = NUM_FOLLOWED / MANY_WINDOWS
    return (seconds["cls"] + followed * (seconds["all"] - seconds["cls"])) / seconds["encoding"]


def attend(path: Path, name: str, repeats: int, device: str, num_threads: int) -> AttentionRun:
    """Encode a store with random weights, and take its attention; to be run in a fresh process."""
    torch.set_num_threads(num_threads)
    store, config = Store.open(path), preset(name)
    network = MaskedAutoencoder(config, torch.from_numpy(store.parcels.order(config.parcel_order)))
    model = BrainLM(network, Scaler.fit(store, "zscore"), store.parcels).to(device)
    maps = partial(attention_maps, model, store, batch_size=BATCH_SIZE)
    works: dict[str, Callable[[], object]] = {
        "encoding": partial(_encode, model, store),
        "cls": partial(maps, rollout_windows=0, between_windows=0),
        "all": partial(maps, rollout_windows=None, between_windows=None),
    }
    processor: dict[str, list[float]] = {work: [] for work in works}
    timers = {work: _both_clocks(do, model.device, processor[work]) for work, do in works.items()}
    seconds = in_turn(timers, repeats=repeats)
    counted = {work: np.array(kept[1:]) for work, kept in processor.items()}  # but the round that does not count
    peak = torch.cuda.max_memory_allocated() if model.device.type == "cuda" else peak_memory()
    return AttentionRun(seconds, counted, peak)


def _both_clocks(work: Callable[[], object], device: torch.device, processor: list[float]) -> Timer:
    """A timer of ``work`` that notes the processor's seconds as well."""
    in_processor = timer(work, device=device, clock=time.process_time)
    return timer(lambda: processor.append(in_processor()))


@torch.no_grad()
def _encode(model: BrainLM, store: Store) -> None:
    for batch in scaled_windows(model, store, BATCH_SIZE):
        model.network.encode(batch.signal_BPT, visible=Places.of(model.network.seen(batch.valid_BPT)))
