"""A pretraining run from store to run folder: set up, train, save, and go on where it was interrupted.

The run folder is a checkpoint folder (the best model so far) with ``config.yaml``, ``last/`` (the latest model),
``checkpoints/`` (the state to resume from) and ``logs/`` beside it.
"""

from __future__ import annotations

import dataclasses
import difflib
import logging
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.utils.data import DataLoader

from brainlm.atomic import disk_errors
from brainlm.baselines.gaussian import GaussianSpace
from brainlm.baselines.moments import moments_of
from brainlm.data.scaling import Scaler, scaled_recording
from brainlm.data.store import Store
from brainlm.data.windows import Windows
from brainlm.errors import ConfigError, DataError
from brainlm.files import read_yaml
from brainlm.inference.folder import (
    PROVENANCE_FILE,
    SCALER_FILE,
    Checkpoint,
    read_provenance,
    read_scaler,
    write_checkpoint,
)
from brainlm.model.autoencoder import LinearMoments, MaskedAutoencoder
from brainlm.model.checkpoint import write_whole
from brainlm.model.config import ModelConfig
from brainlm.model.masks import parse_masks
from brainlm.model.space_time import temporal_covariance
from brainlm.processes import is_first_process
from brainlm.training.batches import Batch, Schedule, TrainingBatches, ValidationBatches
from brainlm.training.callbacks import LAST_STATE, Announce, Repeatable, SaveRun, Speed, Standing, WholeFileIO
from brainlm.training.config import DeviceConfig, TrainingConfig
from brainlm.training.pretrain import Pretraining
from brainlm.training.provenance import provenance
from brainlm.training.ranks import all_or_none, take_over
from brainlm.training.schedule import Stretches

SETTINGS_FILE = "config.yaml"
# Of the Gaussian heads; of those the baselines try, the ones that the validation split of ABIDE chose.
COVARIANCE_SHRINKAGE = 0.001
TEMPORAL_NOISE_SHARE = 0.01

logger = logging.getLogger(__name__)

Listener = Callable[[Mapping[str, float]], None]


@dataclass(frozen=True)
class RunSummary:
    """What a run did: its folder, whether it went on from before, and its size."""

    run: Path
    resumed: bool
    num_parameters: int
    num_windows: int
    figures: Mapping[str, float]


@dataclass(frozen=True)
class RunPlan:
    """A run before it starts: the data it uses and how its steps are laid out."""

    windows: Windows
    validation: Windows | None
    scaler: Scaler
    schedule: Schedule
    stretches: Stretches

    @property
    def num_steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.stretches.num_steps

    @property
    def num_windows(self) -> int:
        """Windows of the whole run."""
        return self.num_steps * self.schedule.windows_per_step


def pretrain(
    store: Store,
    run: Path,
    *,
    model: ModelConfig,
    training: TrainingConfig,
    device: DeviceConfig | None = None,
    settings: Mapping[str, Any] | None = None,
    preset: str = "",
    command: str = "",
    overwrite: bool = False,
    on_start: Callable[[RunPlan, bool], None] | None = None,
    on_progress: Listener | None = None,
) -> RunSummary:
    """Train a masked autoencoder on the store's training recordings, or go on with a run that was interrupted.

    Args:
        store: with splits; validation recordings choose the best model.
        run: the run folder. If it holds an unfinished run with the same settings and data, that run goes on.
        model: the network.
        training: how it trains.
        device: where; not part of the run's identity.
        settings: what to keep in ``config.yaml``; the model and training settings when None.
        preset: for the record.
        command: for the record.
        overwrite: remove what is in ``run`` and start anew.
        on_start: called with the plan, and whether the run goes on, before the first step.
        on_progress: called after every step with the figures so far.

    Raises:
        ConfigError: the folder holds a run with other settings (the differences are listed) or something else.
        DataError: no training recording is long enough, or the folder's run used other data.
    """
    device = device or DeviceConfig()
    _check_masks(model, training)
    identity = {"model": dataclasses.asdict(model), "training": dataclasses.asdict(training)}
    # The other processes of a run on several devices find the folder as the first one has prepared it.
    resumed = is_first_process() and _claim(run, identity, store, overwrite=overwrite)
    trainer = _trainer(run, training, device)
    plan = _plan(store, run, model, training, trainer.world_size)
    network = _network(store, plan, model, training.seed)
    if trainer.is_global_zero and not resumed:
        write_whole(run / SETTINGS_FILE, yaml.safe_dump(dict(settings or identity), sort_keys=False).encode())

    def write_model(folder: Path, standing: Standing) -> None:
        step = trainer.global_step
        record = provenance(
            store,
            network,
            training,
            command=command,
            preset=preset,
            figures=standing.figures,
            step=step,
            num_windows=step * plan.schedule.windows_per_step,
            seconds=standing.seconds,
            too_short=plan.windows.excluded,
        )
        write_checkpoint(folder, Checkpoint(network, plan.scaler, store.parcels, record))

    if trainer.is_global_zero and not (run / PROVENANCE_FILE).is_file():
        write_model(run, Standing({}, 0.0))
        if store.atlas_image is not None:
            shutil.copyfile(store.atlas_image, run / store.atlas_image.name)
    module = Pretraining(
        network, plan.scaler, training, windows_per_step=plan.schedule.windows_per_step, stretches=plan.stretches
    )
    trainer.fit_loop.max_epochs = len(plan.stretches)
    trainer.check_val_every_n_epoch = training.validate_every * plan.stretches.per_epoch
    # The plan needs the trainer's world size, so the callbacks come after it.
    trainer.callbacks.extend(  # type: ignore[attr-defined]
        _callbacks(plan, training, SaveRun(run, write_model), on_progress)
    )
    if on_start is not None and trainer.is_global_zero:
        on_start(plan, resumed)
    data = _Data(plan, training, with_own=bool(model.own_covariance_points))
    state = run / LAST_STATE
    with quiet(), all_or_none():
        trainer.fit(module, datamodule=data, ckpt_path=str(state) if state.is_file() else None, weights_only=True)
    figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return RunSummary(run, resumed, network.num_parameters, plan.num_windows, figures)


def _check_masks(model: ModelConfig, training: TrainingConfig) -> None:
    """Raise ConfigError for masks that cannot be read, or that leave nothing of a window to see."""
    for mask in parse_masks(training.mask):
        if mask.kind == "future" and mask.amount >= model.num_temporal_patches:
            raise ConfigError(
                f"the mask {mask.label} leaves nothing to see",
                expected=f"fewer than the window's {model.num_temporal_patches} temporal patches",
                found=training.mask,
                remedy="hide fewer patches, or use longer windows or shorter patches",
            )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep to ourselves what Lightning says about things that are as they should be."""
    talkers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [talker.level for talker in talkers]
    for talker in talkers:
        talker.setLevel(logging.WARNING)  # at INFO: which devices there are not, and products to install
    with warnings.catch_warnings():
        # One process fills batches from the memory map faster than any model takes them (see _Data).
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*`IterableDataset` has `__len__` defined.*")
        # Said every epoch of a store without validation recordings, of which the user has been told once.
        warnings.filterwarnings("ignore", ".*Total length of `list` across ranks is zero.*")
        # What is logged with sync_dist unset is the same in all processes.
        warnings.filterwarnings("ignore", ".*sync_dist=True.*")
        warnings.filterwarnings("ignore", ".*torch.distributed._functional_collectives.*")
        # Lightning's own use of a torch name that is on its way out.
        warnings.filterwarnings("ignore", ".*LeafSpec.*")
        try:
            yield
        finally:
            for talker, level in zip(talkers, levels, strict=True):
                talker.setLevel(level)


def _claim(run: Path, identity: Mapping[str, Any], store: Store, *, overwrite: bool) -> bool:
    """Whether ``run`` holds a run to go on with.

    Raises:
        ConfigError: it holds another run, or something that is no run.
    """
    if not run.exists() or (run.is_dir() and not any(run.iterdir())):
        with disk_errors(run, kind=ConfigError):
            run.mkdir(parents=True, exist_ok=True)
        return False
    known = (run / SETTINGS_FILE).is_file()
    if overwrite and known:
        shutil.rmtree(run)
        run.mkdir()
        return False
    if not known:
        raise ConfigError(
            f"{run} exists and is not a run folder",
            expected="a new folder, or one with a run to go on with",
            found="a file" if run.is_file() else f"a folder without {SETTINGS_FILE}",
            remedy="choose another --out",
        )
    remedy = "restore it as it was written, choose another --out, or give --overwrite to start anew"
    what = {"what": "the settings of the run", "remedy": remedy}
    before = read_yaml(run / SETTINGS_FILE, **what, kind=ConfigError, needs=dict.fromkeys(identity, dict))
    before = {part: before.get(part) for part in identity}
    if before != identity:
        raise ConfigError(
            f"{run} holds a run with other settings",
            expected="the same settings, to go on with it",
            found="\n" + _difference(before, identity),
            remedy="give the same settings, another --out, or --overwrite to start anew",
        )
    _check_same_data(run, store)
    return True


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    old, new = (yaml.safe_dump(dict(part), sort_keys=False).splitlines() for part in (before, now))
    return "\n".join(difflib.unified_diff(old, new, "the run in the folder", "this command", lineterm="", n=0))


def _check_same_data(run: Path, store: Store) -> None:
    if not (run / PROVENANCE_FILE).is_file():
        return  # killed before its first file; nothing to disagree with
    before = read_provenance(run, needs={"data.fingerprint": str})["data"]["fingerprint"]
    if before != store.fingerprint:
        raise DataError(
            f"{run} was trained on other data",
            expected=f"the store with fingerprint {before[:12]}",
            found=f"{store.path} with fingerprint {store.fingerprint[:12]}",
            remedy="give the same store, another --out, or --overwrite to start anew",
        )


def _plan(store: Store, run: Path, model: ModelConfig, training: TrainingConfig, world_size: int) -> RunPlan:
    train = store.select(split="train")
    windows = Windows(train, model.num_timepoints, pad_short=training.pad_short)
    schedule = Schedule(
        num_recordings=len(windows.recordings),
        windows_per_recording=training.windows_per_recording,
        windows_per_step=training.batch_size * training.accumulate * world_size,
        seed=training.seed,
    )
    stretches = Stretches(training.epochs, schedule.steps_per_epoch, training.save_every_steps)
    scaler = read_scaler(run) if (run / SCALER_FILE).is_file() else Scaler.fit(train, training.scaler)
    validation = None
    if (store.metadata["split"] == "validation").any():
        validation = Windows(store.select(split="validation"), model.num_timepoints, pad_short=training.pad_short)
    return RunPlan(windows, validation, scaler, schedule, stretches)


def _network(store: Store, plan: RunPlan, config: ModelConfig, seed: int) -> MaskedAutoencoder:
    parcels = store.parcels
    order = torch.from_numpy(parcels.order(config.parcel_order))
    coordinates = torch.from_numpy(parcels.coordinates) if config.spatial_positions == "coordinates" else None
    linear = None if config.head == "plain" else _linear_moments(plan, config.num_timepoints)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MaskedAutoencoder(config, order, coordinates=coordinates, linear=linear)


def _linear_moments(plan: RunPlan, num_timepoints: int) -> LinearMoments:
    training = plan.windows.store
    recordings = (scaled_recording(training, index, plan.scaler) for index in range(len(training)))
    moments = moments_of(recordings, num_lags=num_timepoints)
    return LinearMoments(
        GaussianSpace.of(moments, shrinkage=COVARIANCE_SHRINKAGE).covariance_PP,
        temporal_covariance(moments.autocorrelation.float(), num_timepoints, noise_share=TEMPORAL_NOISE_SHARE),
    )


class _Data(LightningDataModule):
    """Hands Lightning the batches of the current stretch, and the validation's."""

    def __init__(self, plan: RunPlan, training: TrainingConfig, *, with_own: bool) -> None:
        super().__init__()
        self.plan = plan
        self.training = training
        self.with_own = with_own

    def train_dataloader(self) -> DataLoader[Batch]:
        """Lightning's hook, called before every stretch."""
        trainer = self.trainer
        assert trainer is not None
        batches = TrainingBatches(
            self.plan.windows,
            self.plan.schedule,
            accumulate=self.training.accumulate,
            scaler=self.plan.scaler,
            with_own=self.with_own,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
        )
        stretch = self.plan.stretches[min(trainer.current_epoch, len(self.plan.stretches) - 1)]
        batches.epoch, batches.first_step, batches.num_steps = stretch.epoch, stretch.first_step, stretch.num_steps
        return self._loader(batches)

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """Lightning's hook."""
        if self.plan.validation is None:
            return []
        assert self.trainer is not None
        return self._loader(
            ValidationBatches(
                self.plan.validation,
                batch_size=self.training.batch_size,
                max_per_recording=self.training.validation_windows,
                seed=self.training.seed,
                scaler=self.plan.scaler,
                with_own=self.with_own,
                rank=self.trainer.global_rank,
                world_size=self.trainer.world_size,
            )
        )

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Lightning's hook: our batches know how to move."""
        assert dataloader_idx == 0
        return batch.to(device)

    @staticmethod
    def _loader(batches: TrainingBatches | ValidationBatches) -> DataLoader[Batch]:
        # No worker processes: one process fills batches from the memory map faster than any model takes them.
        return DataLoader(batches, batch_size=None, num_workers=0, pin_memory=torch.cuda.is_available())


def _trainer(run: Path, training: TrainingConfig, device: DeviceConfig) -> Trainer:
    """Lightning's trainer for this run.

    Raises:
        ConfigError: there are no such devices.
    """
    try:
        with quiet():
            trainer = _make_trainer(run, training, device)
    except (ValueError, MisconfigurationException) as error:
        raise ConfigError(
            "there is no such device to train on",
            expected="settings of device.* that Lightning's Trainer takes on this machine",
            found=f"{device}: {error}",
            remedy="leave them at auto, or see `brainlm pretrain --help`",
        ) from error
    take_over(trainer)
    return trainer


def _make_trainer(run: Path, training: TrainingConfig, device: DeviceConfig) -> Trainer:
    torch.set_float32_matmul_precision("high")
    # A resumed run logs into a new folder beside the old one, so that nothing logged is lost.
    attempt = len(list((run / "logs").glob("attempt_*")))
    loggers = [
        CSVLogger(run, name="logs", version=f"attempt_{attempt}", flush_logs_every_n_steps=1000),
        TensorBoardLogger(run, name="logs", version=f"attempt_{attempt}", default_hp_metric=False),
    ]
    return Trainer(
        accelerator=device.accelerator,
        devices=device.devices,
        num_nodes=device.num_nodes,
        strategy=device.strategy,
        precision=training.precision,
        max_epochs=1,
        accumulate_grad_batches=training.accumulate,
        gradient_clip_val=training.clip_norm or None,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        log_every_n_steps=1,
        logger=loggers,
        plugins=[WholeFileIO()],
    )


def _callbacks(plan: RunPlan, training: TrainingConfig, save: SaveRun, on_progress: Listener | None) -> list[Callback]:
    per_step = plan.schedule.windows_per_step
    callbacks: list[Callback] = [Repeatable(training.seed), Speed(per_step)]
    if training.early_stopping:
        callbacks.append(EarlyStopping("val_loss", patience=training.early_stopping, check_on_train_epoch_end=False))
    if on_progress is not None:
        callbacks.append(Announce(on_progress, plan.stretches, per_step))
    return [*callbacks, save]
