"""How much is measured, in which order, and the whole of it.

What each part measures is in ``parcellation.py``, ``windows.py``, ``training.py``, ``embedding.py``, ``attention.py``,
``connectome.py``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from brainlm.bench.attention import AttentionSizes, measure_attention
from brainlm.bench.connectome import ConnectomeSizes, measure_connectomes
from brainlm.bench.embedding import EmbeddingSizes, measure_embedding
from brainlm.bench.machine import describe_machine
from brainlm.bench.parcellation import ParcellationSizes, measure_loop, measure_masker, measure_parcellation
from brainlm.bench.results import Benchmark, Measure, Part
from brainlm.bench.stores import random_store
from brainlm.bench.training import TrainingSizes, measure_training
from brainlm.bench.windows import WindowSizes, measure_memory, measure_opening, measure_reading
from brainlm.errors import BrainLMError, ConfigError, Failure

PARTS: tuple[Part, ...] = ("parcellation", "windows", "training", "embedding", "attention", "connectome")
Listener = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Sizes:
    """How large everything is that is measured."""

    parcellation: ParcellationSizes
    windows: WindowSizes
    training: TrainingSizes
    embedding: EmbeddingSizes
    attention: AttentionSizes
    connectome: ConnectomeSizes


FULL = Sizes(
    ParcellationSizes(shape=(91, 109, 91), num_volumes=490, num_parcels=424, repeats=5, slow_repeats=1),
    WindowSizes(
        num_recordings=300,
        recording_timepoints=(250, 500),
        num_parcels=424,
        num_timepoints=200,
        batch_size=64,
        num_batches=32,
        num_short=10_000,
        repeats=7,
    ),
    TrainingSizes(preset="13m", num_parcels=424, num_windows=2, square=4096, repeats=5),
    EmbeddingSizes(
        num_recordings={"tiny": 4, "13m": 1, "111m": 2, "650m": 1},
        num_parcels=424,
        recording_timepoints=400,
        repeats=3,
    ),
    AttentionSizes(preset="13m", num_windows=8, num_parcels=424, repeats=2),
    ConnectomeSizes(num_recordings=1000, num_parcels=200, recording_timepoints=200, repeats=5),
)

# Seconds; every number is there, none means anything.
QUICK = Sizes(
    ParcellationSizes(shape=(20, 22, 18), num_volumes=12, num_parcels=16, repeats=2, slow_repeats=1),
    WindowSizes(
        num_recordings=6,
        recording_timepoints=(250, 500),
        num_parcels=32,
        num_timepoints=200,
        batch_size=8,
        num_batches=2,
        num_short=50,
        repeats=2,
    ),
    TrainingSizes(preset="tiny", num_parcels=16, num_windows=2, square=128, repeats=2),
    EmbeddingSizes(num_recordings={"tiny": 1}, num_parcels=16, recording_timepoints=200, repeats=1),
    AttentionSizes(preset="tiny", num_windows=2, num_parcels=16, repeats=1),
    ConnectomeSizes(num_recordings=10, num_parcels=16, recording_timepoints=40, repeats=2),
)
# A GPU is not busy with two windows.
WINDOWS_PER_STEP_ON_GPU = 16


@dataclass(frozen=True)
class Stage:
    """One thing that is measured, as it is announced and done."""

    title: str
    part: Part
    measure: Callable[[], list[Measure]]


@dataclass(frozen=True)
class Outcome:
    """What could be measured, and what could not and why."""

    measures: list[Measure]
    left_out: list[Failure]


def run_benchmark(
    parts: Sequence[Part] = PARTS,
    *,
    quick: bool = False,
    device: str = "cpu",
    num_threads: int | None = None,
    on_progress: Listener | None = None,
) -> Benchmark:
    """Measure ``parts`` on this machine.

    An image and stores of random numbers are written into a temporary folder: about 1.5 GB, unless ``quick``.

    Args:
        parts: what to measure.
        quick: small sizes, to see that everything works; the numbers mean nothing.
        device: where networks compute.
        num_threads: of the processor, for one operation; as many as torch chooses when None.
        on_progress: called with the number of things measured, of all things, and what comes next.

    Raises:
        ConfigError: the device is not there.
    """
    chosen = _device(device)
    before = torch.get_num_threads()
    num_threads = num_threads or before
    sizes = _sizes(quick, chosen)
    torch.set_num_threads(num_threads)
    try:
        machine = describe_machine(chosen)
        with tempfile.TemporaryDirectory(prefix="brainlm-bench-") as folder:
            stages = [
                stage
                for stage in _stages(Path(folder), sizes, device=chosen, num_threads=num_threads)
                if stage.part in parts
            ]
            outcome = _go_through(stages, on_progress)
    finally:
        torch.set_num_threads(before)
    settings = {"device": device, "quick": quick, **asdict(sizes)}
    # The aims are for the full sizes, and those of training for a processor.
    kept = [
        replace(measure, aim=None) if quick or (measure.part == "training" and device != "cpu") else measure
        for measure in outcome.measures
    ]
    return Benchmark(machine, settings, tuple(kept), tuple(outcome.left_out))


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "there is no GPU that torch can use",
            expected="a CUDA device and a build of torch for it",
            found=f"torch {torch.__version__}",
            remedy="measure with --device cpu",
        )
    return torch.device(name)


def _sizes(quick: bool, device: torch.device) -> Sizes:
    if quick or device.type == "cpu":
        return QUICK if quick else FULL
    return replace(FULL, training=replace(FULL.training, num_windows=WINDOWS_PER_STEP_ON_GPU))


def _stages(folder: Path, sizes: Sizes, *, device: torch.device, num_threads: int) -> list[Stage]:
    def parcellating(measure: Callable[[Path, ParcellationSizes], list[Measure]]) -> Callable[[], list[Measure]]:
        return lambda: measure(folder, sizes.parcellation)

    def reading() -> list[Measure]:
        store = random_store(
            folder / "windows.store",
            num_recordings=sizes.windows.num_recordings,
            num_parcels=sizes.windows.num_parcels,
            num_timepoints=sizes.windows.recording_timepoints,
        )
        return [*measure_reading(store, sizes.windows), *measure_memory(folder, store, sizes.windows)]

    def training() -> list[Measure]:
        store = random_store(
            folder / "training.store",
            num_recordings=sizes.training.num_windows,
            num_parcels=sizes.training.num_parcels,
            num_timepoints=(250, 500),
        )
        return measure_training(store, sizes.training, device=device)

    def embedding(name: str) -> Callable[[], list[Measure]]:
        return lambda: measure_embedding(folder, name, sizes.embedding, device=device, num_threads=num_threads)

    def attention() -> list[Measure]:
        return measure_attention(folder, sizes.attention, device=device, num_threads=num_threads)

    def connectome() -> list[Measure]:
        length = sizes.connectome.recording_timepoints
        store = random_store(
            folder / "connectome.store",
            num_recordings=sizes.connectome.num_recordings,
            num_parcels=sizes.connectome.num_parcels,
            num_timepoints=(length, length),
        )
        return measure_connectomes(store, sizes.connectome)

    return [
        Stage("parcellating an image", "parcellation", parcellating(measure_parcellation)),
        Stage("parcellating it with a loop", "parcellation", parcellating(measure_loop)),
        Stage("parcellating it with nilearn", "parcellation", parcellating(measure_masker)),
        Stage("reading windows", "windows", reading),
        Stage("opening a store", "windows", lambda: measure_opening(folder, sizes.windows)),
        Stage(f"training {sizes.training.preset}", "training", training),
        *(Stage(f"embedding with {name}", "embedding", embedding(name)) for name in sizes.embedding.num_recordings),
        Stage(f"attention with {sizes.attention.preset}", "attention", attention),
        Stage("correlating parcels", "connectome", connectome),
    ]


def _go_through(stages: Sequence[Stage], on_progress: Listener | None) -> Outcome:
    outcome = Outcome([], [])
    for number, stage in enumerate(stages):
        if on_progress is not None:
            on_progress(number, len(stages), stage.title)
        try:
            outcome.measures.extend(stage.measure())
        except BrainLMError as error:
            outcome.left_out.append(Failure.from_error(stage.title, error))
    if on_progress is not None:
        on_progress(len(stages), len(stages), "")
    return outcome
