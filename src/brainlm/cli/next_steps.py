"""The command to run next, made for the store and the run at hand: what is proposed runs as it is printed.

How it is shown is ``console.next_command``.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from brainlm.data.parcels import WITHOUT_COORDINATES
from brainlm.data.store import Store
from brainlm.model.config import preset
from brainlm.training.config import TrainingConfig

PRESET = "tiny"
MIN_PATCHES = 2  # temporal patches of a window that some can be hidden of
SHORT_PATCHES = 4  # of the windows proposed where recordings are shorter than MIN_PATCHES patches of the preset


def command_line(*words: object) -> str:
    """``brainlm`` and these words, quoted for a shell."""
    return shlex.join(["brainlm", *map(str, words)])


def after_store(store: Path, *, looked: bool = False, imported: bool = False) -> list[str]:
    """What to do with a store: look at it, pretrain on it.

    Args:
        store: that was written.
        looked: it was looked at.
        imported: by the command of this process, which is proposed again, with another split, where the store has no
            training recordings.
    """
    opened = Store.open(store)
    look = [] if looked else [command_line("inspect", store)]
    lengths = _lengths(opened, "train")
    if not len(lengths):
        every = ["--split.validation", "0", "--split.test", "0", "--overwrite"]
        return look + ([command_line(*_without_split(sys.argv[1:]), *every)] if imported else [])
    settings = [*_positions(opened), *_windows(lengths)]
    return [*look, command_line("pretrain", store, "--out", _free_folder(store), "--preset", PRESET, *settings)]


def after_pretraining(run: Path, store: Path, *, window: int) -> list[str]:
    """Evaluate the run, embed the store, write the report."""
    return [*evaluation_of(run, store, window=window), *embedding_of(run, store), command_line("report", run)]


def evaluation_of(run: str | Path, store: Path, *, window: int) -> list[str]:
    """The evaluation of a model with windows of this length; none where nobody is left that it was not trained on."""
    from brainlm.cli.released import results_folder
    from brainlm.inference.folder import EVALUATION_FILE

    if (results_folder(str(run), store) / EVALUATION_FILE).exists():
        return []
    opened = Store.open(store)
    for split in ("test", "validation"):
        if (_lengths(opened, split) >= window).any():
            return [command_line("evaluate", run, store, *(["--split", split] if split != "test" else []))]
    return []


def embedding_of(run: str | Path, store: Path) -> list[str]:
    """The embeddings of the store, unless they are there."""
    from brainlm.cli.released import results_folder
    from brainlm.inference.stores import EMBEDDINGS_FILE

    return [] if (results_folder(str(run), store) / EMBEDDINGS_FILE).exists() else [command_line("embed", run, store)]


def report_on(run: str | Path, results: Path) -> list[str]:
    """The report, if the results stand in the run's own folder, where it looks for them."""
    return [command_line("report", run)] if results == Path(run) else []


def _lengths(store: Store, split: str) -> Int64[np.ndarray, "N"]:
    """How many time points the recordings of a split have."""
    return store.num_timepoints[(store.metadata["split"] == split).to_numpy()].astype(np.int64)


def _positions(store: Store) -> list[str]:
    """The settings that a store without coordinates needs."""
    return [] if store.parcels.has_coordinates else list(WITHOUT_COORDINATES)


def _windows(lengths: Int64[np.ndarray, "N"]) -> list[str]:
    """Shorter windows where no training recording is as long as the preset's; smaller batches where they are few.

    ``lengths`` are those of the training recordings, in time points.
    """
    config, training = preset(PRESET), TrainingConfig()
    length, settings = config.num_timepoints, []
    if lengths.max() < length:
        # Half of the recordings are as long as this one.
        patch, usual = config.timepoints_per_patch, int(sorted(lengths)[len(lengths) // 2])
        if usual < MIN_PATCHES * patch:
            patch = max(1, usual // SHORT_PATCHES)
            settings = ["--model.timepoints_per_patch", str(patch)]
        length = usual // patch * patch
        settings = ["--model.num_timepoints", str(length), *settings]
    num_windows = int((lengths >= length).sum()) * training.windows_per_recording
    if num_windows < training.batch_size:
        settings += ["--training.batch_size", str(num_windows)]
    return settings


def _free_folder(store: Path) -> Path:
    """Where no run is."""
    stem = store.resolve().name.removesuffix(".store")
    names = ["first", stem, *(f"{stem}-{number}" for number in range(2, 1000))]
    return next(folder for folder in (Path("runs") / name for name in names) if not folder.exists())


def _without_split(words: list[str]) -> list[str]:
    """The words without options of the split, and without --overwrite."""
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word.startswith("--split"):
            skip = "=" not in word
        elif word != "--overwrite":
            kept.append(word)
    return kept
