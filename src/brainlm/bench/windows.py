"""Reading: windows a second, opening a large store, and memory that does not grow with the store.

The Hugging Face ``datasets`` package reads the same rows from the same files; plain copying in memory is the ceiling.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from brainlm.bench.machine import MIB, in_fresh_process, resident_memory
from brainlm.bench.results import Aim, Measure
from brainlm.bench.stores import random_store
from brainlm.bench.timing import in_turn, timer
from brainlm.data.store import Store
from brainlm.data.windows import Windows

BLOCKS_TO_COPY = 8  # batches that plain copying reads in turn: together far more than a processor's caches hold
TIMES_LARGER = 4  # the second store that memory is watched with, relative to the first
GROWTH_MIB = 16.0  # that a store of four times the size may add: tables of contents, and what allocators keep


@dataclass(frozen=True)
class WindowSizes:
    """How large the stores are that are read.

    Args:
        num_recordings: of the store that windows are read from.
        recording_timepoints: lowest and highest length of its recordings.
        num_parcels: P.
        num_timepoints: T of a window.
        batch_size: windows of a batch.
        num_batches: batches read in a round.
        num_short: recordings of the store that is only opened; they are short and of few parcels.
        repeats: rounds.
    """

    num_recordings: int
    recording_timepoints: tuple[int, int]
    num_parcels: int
    num_timepoints: int
    batch_size: int
    num_batches: int
    num_short: int
    repeats: int


@dataclass(frozen=True, eq=False)
class Draws:
    """The windows that are read: a row a batch."""

    recordings: Int64[np.ndarray, "batches B"]
    starts: Int64[np.ndarray, "batches B"]

    @classmethod
    def of(cls, windows: Windows, *, num_batches: int, batch_size: int) -> Draws:
        """Random windows of random recordings, as in training."""
        recordings = np.random.default_rng(0).choice(windows.recordings, size=num_batches * batch_size)
        starts = windows.random_starts(recordings, seed=0, epoch=np.arange(len(recordings)))
        shape = (num_batches, batch_size)
        return cls(recordings.reshape(shape), starts.reshape(shape))


def measure_reading(store: Store, sizes: WindowSizes) -> list[Measure]:
    """Windows a second: ours into the same memory and into fresh, by Hugging Face rows, and mere copying."""
    windows = Windows(store, sizes.num_timepoints)
    draws = Draws.of(windows, num_batches=sizes.num_batches, batch_size=sizes.batch_size)
    out = np.empty((sizes.batch_size, sizes.num_timepoints, sizes.num_parcels), np.float32)
    blocks = np.ones((BLOCKS_TO_COPY, *out.shape), np.float32)

    def reuse() -> None:
        for recordings, starts in zip(draws.recordings, draws.starts, strict=True):
            windows.batch(recordings, starts, out=out)

    def allocate() -> None:
        for recordings, starts in zip(draws.recordings, draws.starts, strict=True):
            windows.batch(recordings, starts)

    def copy() -> None:
        for number in range(sizes.num_batches):
            np.copyto(out, blocks[number % BLOCKS_TO_COPY])

    rows = HuggingFaceRows(store.path, sizes.num_timepoints)
    alternatives = {
        "reuse": timer(reuse),
        "allocate": timer(allocate),
        "rows": timer(lambda: rows.batch(draws.recordings[0], draws.starts[0])),
        "copy": timer(copy),
    }
    seconds = in_turn(alternatives, repeats=sizes.repeats)
    read = sizes.num_batches * sizes.batch_size
    rate = {name: (sizes.batch_size if name == "rows" else read) / each for name, each in seconds.items()}
    return [
        Measure.of("windows", "windows, memory reused", "1/s", rate["reuse"], Aim(20_000.0)),
        Measure.of("windows", "windows, new memory", "1/s", rate["allocate"], Aim(20_000.0)),
        Measure.of("windows", "Hugging Face rows (numpy)", "1/s", rate["rows"]),
        Measure.of("windows", "mere copying in memory", "1/s", rate["copy"]),
        Measure.of("windows", "reused / Hugging Face", "times", rate["reuse"] / rate["rows"], Aim(15.0)),
        Measure.of("windows", "new / Hugging Face", "times", rate["allocate"] / rate["rows"], Aim(15.0)),
        Measure.of("windows", "reused / mere copying", "", rate["reuse"] / rate["copy"]),
    ]


class HuggingFaceRows:
    """Windows read row by row with ``datasets``, from the folder of a store, the other columns left alone."""

    def __init__(self, path: Path, num_timepoints: int) -> None:
        import datasets  # half a second to import, and only this comparison needs it

        self._rows = datasets.load_from_disk(str(path)).with_format("numpy", columns=["bold"])
        self._num_timepoints = num_timepoints

    def batch(self, recordings: Int64[np.ndarray, "B"], starts: Int64[np.ndarray, "B"]) -> Float32[np.ndarray, "B T P"]:
        """The windows of these recordings at these starts."""
        pairs = zip(recordings.tolist(), starts.tolist(), strict=True)
        return np.stack([self._rows[row]["bold"][start : start + self._num_timepoints] for row, start in pairs])


def measure_opening(folder: Path, sizes: WindowSizes) -> list[Measure]:
    """Seconds to open a store of many recordings, and to list its windows too."""
    short = random_store(folder / "many.store", num_recordings=sizes.num_short, num_parcels=10, num_timepoints=(20, 40))
    alternatives = {
        "open": timer(lambda: Store.open(short.path)),
        "list": timer(lambda: Windows(Store.open(short.path), 20)),
    }
    seconds = in_turn(alternatives, repeats=sizes.repeats)
    number = f"{sizes.num_short:,} recordings"
    return [
        Measure.of("windows", f"open {number}", "s", seconds["open"], Aim(1.0, at_most=True)),
        Measure.of("windows", "open and list their windows", "s", seconds["list"]),
    ]


def measure_memory(folder: Path, store: Store, sizes: WindowSizes) -> list[Measure]:
    """How much a process grows by going through a store, and through one of four times the size; nothing where the
    system does not tell a process's own memory from pages of mapped files.
    """
    if resident_memory() is None:
        return []
    larger = random_store(
        folder / "larger.store",
        num_recordings=TIMES_LARGER * sizes.num_recordings,
        num_parcels=sizes.num_parcels,
        num_timepoints=sizes.recording_timepoints,
    )
    growth = in_fresh_process(growth_of_process, [store.path, larger.path], sizes.num_timepoints, sizes.batch_size)
    small, large = growth
    return [
        Measure.of("windows", "own memory grown by a store", "MiB", small.own),
        Measure.of("windows", f"own memory grown by one {TIMES_LARGER} x as large", "MiB", large.own),
        Measure.of("windows", "difference", "MiB", large.own - small.own, Aim(GROWTH_MIB, at_most=True)),
        Measure.of("windows", "mapped pages of the store", "MiB", small.mapped),
        Measure.of("windows", f"mapped pages of the {TIMES_LARGER} x as large", "MiB", large.mapped),
    ]


@dataclass(frozen=True)
class Growth:
    """MiB that a process has grown by: memory of its own, and pages of mapped files."""

    own: float
    mapped: float


def growth_of_process(paths: list[Path], num_timepoints: int, batch_size: int) -> list[Growth]:
    """By how much this process grows as it reads every window of each store; to be run in a fresh process."""
    _go_through(paths[0], num_timepoints, batch_size)  # what the first reading of all needs, whatever the size
    growths = []
    for path in paths:
        before = resident_memory()
        windows = _go_through(path, num_timepoints, batch_size)
        after = resident_memory()
        assert before is not None, "asked before this process was started"
        assert after is not None
        assert len(windows.recordings) > 0, "the store is open until here, or its memory would be free already"
        growths.append(Growth((after.own - before.own) / MIB, (after.mapped - before.mapped) / MIB))
        del windows
    return growths


def _go_through(path: Path, num_timepoints: int, batch_size: int) -> Windows:
    windows = Windows(Store.open(path), num_timepoints)
    fixed = windows.fixed()
    for first in range(0, len(fixed), batch_size):
        part = slice(first, first + batch_size)
        windows.batch(fixed.recording[part], fixed.start[part])
    return windows
