"""The command to run next, made for the store and the run at hand: what is proposed runs as it is printed.

How it is shown is ``console.next_command``.
"""

from __future__ import annotations

import shlex
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from brainlm.cli.console import say
from brainlm.data.missing_values import questionable
from brainlm.data.parcels import WITHOUT_COORDINATES
from brainlm.data.store import Store
from brainlm.errors import BrainLMError
from brainlm.model.config import preset
from brainlm.report.sentences import counted
from brainlm.training.config import TrainingConfig

PRESET = "tiny"
MIN_PATCHES = 2  # temporal patches of a window that some can be hidden of
WINDOW = "--model.num_timepoints"
PROBE_FOLDS = ("5", "2")  # as many as there are people for
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
    if imported and (codes := _codes(opened)) and not any(word.startswith("--missing") for word in sys.argv):
        typed = [word for word in sys.argv[1:] if not word.startswith("--overwrite")]
        return [command_line(*typed, "--missing", ",".join(codes), "--overwrite")]
    lengths = _lengths(opened, "train")
    if not len(lengths):
        every = ["--split.validation", "0", "--split.test", "0", "--overwrite"]
        return look + ([command_line(*_without_split(sys.argv[1:]), *every)] if imported else [])
    settings = [*_positions(opened), *_windows(lengths)]
    length = int(settings[settings.index(WINDOW) + 1]) if WINDOW in settings else preset(PRESET).num_timepoints
    if num_short := int((lengths < length).sum()):
        say(
            f"note: {num_short} of {counted(len(lengths), 'training recording')} are shorter than the windows of the "
            f"pretraining proposed here ({length} time points), and would be left out of it"
        )
    return [*look, command_line("pretrain", store, "--out", _free_folder(store), "--preset", PRESET, *settings)]


def after_pretraining(run: Path, store: Path, *, window: int) -> list[str]:
    """Evaluate the run, embed the store, predict a phenotype, write the report."""
    before = [*evaluation_of(run, store, window=window), *embedding_of(run, store)]
    return [*before, *probe_of(run, store), command_line("report", run)]


def probe_of(run: str | Path, store: Path) -> list[str]:
    """The prediction of a phenotype of the store that can be divided into folds; none where there is none.

    People outside the training and validation splits come first; where they are too few, all, which the table marks.
    """
    from brainlm.cli.released import results_folder
    from brainlm.evaluation.phenotypes.blocks import nuisance_columns
    from brainlm.evaluation.phenotypes.folds import FoldRule, make_folds
    from brainlm.evaluation.phenotypes.probing import STUDIES
    from brainlm.evaluation.phenotypes.targets import read_cohort

    opened = Store.open(store)
    if (results_folder(str(run), store) / STUDIES).exists():
        return []
    for chosen, seen in (({"split": "test"}, "leave_out"), ({}, "allow")):
        for folds in PROBE_FOLDS:
            targets, nuisance = [], set()
            for name in opened.phenotypes:
                with suppress(BrainLMError):
                    cohort = read_cohort(opened.select(**chosen), name)
                    make_folds(cohort, FoldRule.parse(folds))
                    targets.append(name)
                    nuisance |= set(nuisance_columns(cohort, ()))
            for name in sorted(targets, key=lambda name: name in nuisance)[:1]:
                words = ["probe", run, store, "--target", name, "--folds", folds, "--seen", seen]
                return [command_line(*words)]
    return []


def _codes(store: Store) -> list[str]:
    """Values of phenotypes that look like codes for missing."""
    return sorted({code for name in store.phenotypes for code in questionable(store.metadata[name].tolist())})


def evaluation_of(run: str | Path, store: Path, *, window: int) -> list[str]:
    """The evaluation of a model with windows of this length; none where nobody is left that it was not trained on."""
    from brainlm.cli.released import results_folder
    from brainlm.inference.folder import EVALUATION_FILE

    opened = Store.open(store)
    if (results_folder(run, store, of=opened) / EVALUATION_FILE).exists():
        return []
    return [command_line("evaluate", run, store)] if (_lengths(opened, "test") >= window).any() else []


def embedding_of(run: str | Path, store: Path) -> list[str]:
    """The embeddings of the store, unless they are there."""
    from brainlm.cli.released import results_folder
    from brainlm.inference.stores import EMBEDDINGS_FILE

    there = (results_folder(run, store, of=Store.open(store)) / EMBEDDINGS_FILE).exists()
    return [] if there else [command_line("embed", run, store)]


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
    """Shorter windows where most training recordings are shorter than the preset's; smaller batches where they are few.

    ``lengths`` are those of the training recordings, in time points.
    """
    config, training = preset(PRESET), TrainingConfig()
    length, settings = config.num_timepoints, []
    # Half of the recordings are as long as this one.
    if (usual := int(sorted(lengths)[len(lengths) // 2])) < length:
        patch = config.timepoints_per_patch
        if usual < MIN_PATCHES * patch:
            patch = max(1, usual // SHORT_PATCHES)
            settings = ["--model.timepoints_per_patch", str(patch)]
        length = usual // patch * patch
        settings = [WINDOW, str(length), *settings]
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
