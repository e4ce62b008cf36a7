"""Any network fitted on Lightning's engine: early stopping on data held out, the best state kept, the same bytes again.

What the network learns is its module's (``supervised_module.py``, ``forecast_module.py``), what it is fed its caller's.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.utils.data import DataLoader, Dataset

from brainlm.errors import ConfigError
from brainlm.training.best_state import EpochBatches, KeepBest
from brainlm.training.callbacks import Repeatable
from brainlm.training.finetune_config import SupervisedConfig
from brainlm.training.ranks import take_over
from brainlm.training.run import quiet

Listener = Callable[[Mapping[str, float]], None]


@dataclass(frozen=True)
class Fitted:
    """How a network came to its best state.

    ``device``: where it was trained. ``epochs``: done; ``best_epoch`` counts from 1 and is the last one where nobody
    was held out for validation (``validation_loss`` is then infinite).
    """

    device: torch.device
    epochs: int
    best_epoch: int
    validation_loss: float
    seconds: float


def fit_network(
    module: LightningModule,
    network: nn.Module,
    *,
    batches: EpochBatches,
    held_out: Dataset[Any] | None,
    config: SupervisedConfig,
    logs: Path | None = None,
    on_progress: Listener | None = None,
) -> Fitted:
    """Fit ``network`` (in place, within ``module``) until the validation loss no longer falls; its best state is in it
    afterwards, in evaluation mode.

    The same seed gives the same bytes on the same machine; the random numbers of whoever calls are as they were.

    Args:
        module: logs ``train_loss`` and, where something is held out, ``val_loss``.
        network: whose best state is kept; parameters that need no gradient stay as they are.
        batches: of training; told which epoch it is.
        held_out: batches that decide when to stop; without them all epochs are done and the last state is kept.
        config: how.
        logs: a folder for the losses of every epoch, ``metrics.csv``.
        on_progress: called after every epoch with epoch, train_loss and val_loss.

    Raises:
        ConfigError: there is no such device, or the losses are not finite.
    """
    keep = KeepBest(network, batches, on_progress)
    started = time.monotonic()
    with quiet(), warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        # What is frozen is meant to be (see Predictor.train).
        warnings.filterwarnings("ignore", ".*module\\(s\\) in eval mode.*")
        warnings.filterwarnings("ignore", ".*have no `val_dataloader`.*")
        trainer = _trainer(config, [Repeatable(config.seed), *_stopping(config, held_out), keep], logs)
        take_over(trainer)
        torch.manual_seed(config.seed)
        network.train()
        trainer.fit(module, _loader(batches), None if held_out is None else _loader(held_out))
    keep.restore()
    network.eval()
    return Fitted(
        device=trainer.strategy.root_device,
        epochs=keep.epochs,
        best_epoch=keep.best_epoch,
        validation_loss=keep.best_loss,
        seconds=time.monotonic() - started,
    )


def _loader(batches: Any) -> DataLoader[Any]:
    return DataLoader(batches, batch_size=None, shuffle=False, num_workers=0)


def _stopping(config: SupervisedConfig, held_out: Dataset[Any] | None) -> list[Callback]:
    if held_out is None or not config.patience:
        return []
    return [EarlyStopping("val_loss", patience=config.patience, check_on_train_epoch_end=False)]


def _trainer(config: SupervisedConfig, callbacks: list[Callback], logs: Path | None) -> Trainer:
    try:
        return Trainer(
            accelerator=config.accelerator,
            devices=1,
            precision=config.precision,
            max_epochs=config.epochs,
            gradient_clip_val=config.clip_norm or None,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            log_every_n_steps=1,
            logger=False if logs is None else CSVLogger(logs.parent, name=logs.name, version=""),
            callbacks=callbacks,
        )
    except (ValueError, MisconfigurationException) as error:
        raise ConfigError(
            "there is no such device to train on",
            expected="an accelerator that Lightning's Trainer takes on this machine",
            found=f"{config.accelerator}: {error}",
            remedy="leave it at auto",
        ) from error
