"""``brainlm pretrain`` and ``brainlm embed``."""

from __future__ import annotations

import dataclasses
import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from brainlm.cli.console import ProgressBar, console, next_command, progress_bar, say, step
from brainlm.cli.main import DONE
from brainlm.cli.next_steps import after_pretraining, evaluation_of, probe_of, report_on
from brainlm.cli.released import check_output, fit_if_needed, open_model, results_folder
from brainlm.model.config import ModelConfig
from brainlm.processes import is_first_process
from brainlm.training.config import DeviceConfig, TrainingConfig


def pretrain(
    store: Path,
    *,
    out: Path,
    preset: Literal["tiny", "13m", "111m", "650m"] = "13m",
    model: ModelConfig = ModelConfig(),
    training: TrainingConfig = TrainingConfig(),
    device: DeviceConfig = DeviceConfig(),
    overwrite: bool = False,
) -> int:
    """Train a masked autoencoder on the training recordings of a store; killed and started again, it goes on.

    Args:
        store: the store, with splits.
        out: the run folder to write, or to go on with.
        preset: a model to start from; single settings change with --model.NAME.
        model: the network.
        training: how it is trained.
        device: where it is trained.
        overwrite: remove the run that is there and start anew.
    """
    from brainlm.data.planned import listed
    from brainlm.data.store import Store
    from brainlm.inference.checks import LEARNED_NOTHING, learned_nothing
    from brainlm.inference.folder import read_provenance
    from brainlm.training.run import RunPlan
    from brainlm.training.run import pretrain as train

    opened = Store.open(store)
    settings = {
        "store": str(store),
        "out": str(out),
        "preset": preset,
        "model": dataclasses.asdict(model),
        "training": dataclasses.asdict(training),
    }

    with progress_bar("windows") as bar:
        training_bar = _Training(bar)

        def on_start(plan: RunPlan, resumed: bool) -> None:
            step(f"{'going on with' if resumed else 'pretraining'} {out} on {store}")
            used = plan.windows.store.metadata["subject"].iloc[plan.windows.recordings]
            say(
                f"{len(used)} training recordings of {used.nunique()} subjects, {plan.stretches.epochs} epochs,"
                f" {plan.num_steps} steps, {plan.num_windows} windows"
            )
            if plan.windows.excluded:
                say(f"{len(plan.windows.excluded)} recordings are shorter than a window and left out")
            if plan.validation is None:
                say("the store has no validation recordings: the last model is kept, not the best")
            splits = opened.metadata["split"]
            if divided := [pair for pair in opened.copies if splits[pair[0]] != splits[pair[1]]]:
                names = [" = ".join(opened.metadata["subject"][row] for row in pair) for pair in divided]
                say(f"{len(divided)} recordings have copies in another split (import again): {listed(names, 5)}")
            training_bar.start(plan.stretches.epochs, plan.num_windows)

        summary = train(
            opened,
            out,
            model=model,
            training=training,
            device=device,
            settings=settings,
            preset=preset,
            command=shlex.join(["brainlm", *sys.argv[1:]]),
            overwrite=overwrite,
            on_start=on_start,
            on_progress=training_bar.update,
        )
    if not is_first_process():
        return DONE
    if "val_r2" in summary.figures:
        say(f"validation R2 of the last model: {summary.figures['val_r2']:.3f}")
    if learned_nothing(read_provenance(out)):
        step(LEARNED_NOTHING)
    where = f"best model in {out}, last in {out / 'last'}" if "val_r2" in summary.figures else f"last model in {out}"
    say(f"{summary.num_parameters:,} parameters; {where}")
    next_command(*after_pretraining(out, store, window=model.num_timepoints))
    return DONE


class _Training:
    """Shows windows, losses and speed; where no terminal is, every validation has a line, too."""

    def __init__(self, bar: ProgressBar) -> None:
        self._bar = bar
        self._epochs = self._num_windows = 0
        self._started = time.monotonic()
        self._first_windows: float | None = None  # a resumed run starts in the middle
        self._last_r2: float | None = None

    def start(self, epochs: int, num_windows: int) -> None:
        """Begin."""
        self._epochs, self._num_windows, self._started = epochs, num_windows, time.monotonic()

    def update(self, figures: Mapping[str, float | int]) -> None:
        """Take the figures of a step or a validation."""
        windows, r2 = figures["windows"], figures.get("val_r2")
        if self._first_windows is None:
            self._first_windows = windows
        speed = (windows - self._first_windows) / max(time.monotonic() - self._started, 1e-9)
        epoch = f"epoch {int(figures['epoch'])}/{self._epochs}"
        loss = f"loss {_short(figures.get('train_loss'))}"
        self._bar.update(
            int(windows), self._num_windows, f"{epoch}  {loss}  val R2 {_short(r2)}  {speed:.1f} windows/s"
        )
        if not console.is_terminal and r2 is not None and r2 != self._last_r2:
            val_loss = _short(figures.get("val_loss"))
            say(f"{epoch}  {int(windows)} windows  {loss}  val loss {val_loss}  val R2 {_short(r2)}")
            self._last_r2 = r2


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def embed(
    model: str,
    store: Path,
    *,
    out: Path | None = None,
    split: Literal["train", "validation", "test", "all"] = "all",
    resample: bool = False,
    batch_size: int = 32,
    device: str = "cpu",
    overwrite: bool = False,
) -> int:
    """Turn recordings into vectors, and see where the model looks.

    Writes a table with one row a recording (metadata, cls, mean) and the mean attention of CLS to every parcel. For
    the published weights, whose scaling was never published, it is fitted on the store's training recordings (on all
    where there is no split; with --resample as they are after it) and written beside the table.

    Args:
        model: a run folder, a checkpoint folder, a published folder or a Hub id such as vandijklab/brainlm/old_13M.
        store: the recordings.
        out: folder to write embeddings.parquet and attention.npz to; by default the run folder for the store that it
            was trained on, and otherwise one beside the store, such as study.old_13M for study.store.
        split: which recordings.
        resample: bring recordings to the model's repetition time where theirs is too far from it.
        batch_size: windows at a time; changes no result.
        device: where to compute.
        overwrite: replace embeddings that are there.
    """
    from brainlm.data.store import Store
    from brainlm.inference.cohort import check_recordings
    from brainlm.inference.folder import SCALER_FILE, write_provenance, write_scaler
    from brainlm.inference.stores import EMBEDDINGS_FILE, embed_store, write_embeddings

    opened = Store.open(store)
    folder = results_folder(model, store, of=opened) if out is None else out
    check_output(folder / EMBEDDINGS_FILE, overwrite=overwrite, otherwise="--out for another folder")
    chosen = opened if split == "all" else opened.select(split=split)
    loaded = open_model(model, device=device)
    check_recordings(chosen, loaded, resample=resample)  # before the work of fitting begins
    fitted_here = fit_if_needed(loaded, opened, resample=resample)
    step(f"embedding {len(chosen)} recordings of {store} with {model}")
    with progress_bar("recordings") as bar:
        embeddings = embed_store(loaded, chosen, batch_size=batch_size, resample=resample, on_progress=bar.update)
    written = write_embeddings(embeddings, folder, overwrite=overwrite)
    if fitted_here:
        write_scaler(folder, loaded.scaler)
        write_provenance(folder, loaded.provenance)
        say(f"the scaling that was fitted: {folder / SCALER_FILE}")
    say(f"{len(embeddings.table)} recordings, {embeddings.width} dimensions: {written}")
    next_command(
        *evaluation_of(model, store, window=loaded.config.num_timepoints),
        *probe_of(model, store),
        *report_on(model, folder),
    )
    return DONE
