"""What happens beside the training itself: saving, so that nothing is lost, and showing how it goes.

The state to resume from is Lightning's own, written whole or not at all; the model itself is written as a checkpoint
folder (``inference/folder.py``) whenever the validation loss is the best so far.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from brainlm.atomic import replacing_at, sync
from brainlm.data.windows import mix_seed
from brainlm.errors import CheckpointError
from brainlm.training.batches import RANDOM_STREAM
from brainlm.training.schedule import Stretches

LAST_STATE = Path("checkpoints") / "last.ckpt"
PREVIOUS_STATE = LAST_STATE.with_name("previous.ckpt")  # what is gone on from where the last one is damaged

logger = logging.getLogger(__name__)


class WholeFileIO(TorchCheckpointIO):
    """Lightning's file format, written beside, flushed to disk and renamed: a killed run never leaves half a file.

    The state before the last one is kept.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write ``checkpoint`` to ``path``.

        Raises:
            CheckpointError: the disk is full or the place cannot be written; the file that was there stays.
        """
        assert storage_options is None
        path = Path(path)
        with replacing_at(path, kind=CheckpointError) as beside:
            with beside.open("wb") as file:
                torch.save(checkpoint, file)
            sync(beside)
            if path.is_file():
                path.replace(path.with_name(PREVIOUS_STATE.name))


@dataclass(frozen=True)
class Standing:
    """How far a run is when a model is written: the validation's figures, the seconds trained (pauses left out)."""

    figures: Mapping[str, float]
    seconds: float


class SaveRun(Callback):
    """After every stretch of steps: write the best model if it got better, then the state to resume from.

    Args:
        run: the run folder.
        write_model: writes the current model into a folder.
        on_saved: called in the first process when everything is on disk.
    """

    def __init__(self, run: Path, write_model: Callable[[Path, Standing], None], on_saved: Callable[[], None]) -> None:
        self.run = run
        self.write_model = write_model
        self.on_saved = on_saved
        self.best_loss = float("inf")
        self.seconds = 0.0
        self._since = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Start the clock."""
        self._since = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Lightning's hook; a Lightning epoch is one of our stretches, and validation has happened before."""
        now = time.monotonic()
        self.seconds, self._since = self.seconds + now - self._since, now
        figures = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val_")}
        done = trainer.current_epoch + 1
        validates = bool(trainer.val_dataloaders)
        validated = validates and done % (trainer.check_val_every_n_epoch or 1) == 0
        better = validated and figures["val_loss"] < self.best_loss
        if better:
            self.best_loss = figures["val_loss"]
        if trainer.is_global_zero:
            standing = Standing(figures if validated else {}, self.seconds)
            if better or not validates:
                self.write_model(self.run, standing)
            if validated or not validates or done == trainer.max_epochs:
                self.write_model(self.run / "last", standing)
        for log in trainer.loggers:
            log.save()
        trainer.save_checkpoint(self.run / LAST_STATE, weights_only=False)
        if trainer.is_global_zero:
            self.on_saved()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to know."""
        return {"best_loss": self.best_loss, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.best_loss, self.seconds = state_dict["best_loss"], state_dict["seconds"]


class Repeatable(Callback):
    """Start every batch from random numbers that depend on the seed and the step alone (dropout uses them).

    Not every stretch: Lightning leaves out ``on_train_epoch_start`` where a run goes on.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002 - Lightning's signature
        batch: object,  # noqa: ARG002
        batch_idx: int,
    ) -> None:
        """Lightning's hook."""
        of_batch = mix_seed(self.seed, RANDOM_STREAM, trainer.current_epoch, batch_idx, trainer.global_rank)
        torch.manual_seed(int(of_batch[0] >> 1))  # 63 bits: the generator takes no more of an unsigned number


class Speed(Callback):
    """Log windows per second and the learning rate once per stretch."""

    def __init__(self, windows_per_step: int) -> None:
        self.windows_per_step = windows_per_step
        self._started = 0.0
        self._first_step = 0

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002 - Lightning's signature
        batch: object,  # noqa: ARG002
        batch_idx: int,
    ) -> None:
        """Start the clock at the first batch of a stretch."""
        if batch_idx == 0:
            self._started = time.perf_counter()
            self._first_step = trainer.global_step

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop it."""
        seconds = time.perf_counter() - self._started
        windows = (trainer.global_step - self._first_step) * self.windows_per_step
        pl_module.log("windows_per_s", windows / seconds)
        pl_module.log("lr", trainer.optimizers[0].param_groups[0]["lr"])


class Announce(Callback):
    """Tell a listener, after every step and validation, how far the run is.

    Args:
        listener: called with a ``Progress``.
        stretches: how Lightning's epochs make up ours.
        windows_per_step: on all devices together.
    """

    def __init__(
        self, listener: Callable[[Mapping[str, float]], None], stretches: Stretches, windows_per_step: int
    ) -> None:
        self.listener = listener
        self.stretches = stretches
        self.windows_per_step = windows_per_step

    def _tell(self, trainer: Trainer) -> None:
        if not trainer.is_global_zero:
            return
        metrics = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if name in ("train_loss", "val_loss", "val_r2")
        }
        self.listener(
            {
                **metrics,
                "epoch": 1 + max(trainer.global_step - 1, 0) // self.stretches.steps_per_epoch,
                "windows": trainer.global_step * self.windows_per_step,
            }
        )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """A resumed run starts in the middle."""
        self._tell(trainer)

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:  # noqa: ARG002
        """Every step."""
        self._tell(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Every validation."""
        self._tell(trainer)
