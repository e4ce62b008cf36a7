"""A pretraining run from store to run folder: set up, train, save, and go on where it was interrupted.

The run folder is a checkpoint folder (the best model so far) with ``config.yaml``, ``last/`` (the latest model),
``checkpoints/`` (the state to resume from) and ``logs/`` beside it.
"""

from __future__ import annotations

import dataclasses
import filecmp
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.utils.data import DataLoader

from brainlm.atomic import FULL, copy, disk_errors
from brainlm.baselines.gaussian import GaussianSpace
from brainlm.baselines.moments import moments_of
from brainlm.data.scaling import Scaler, scaled_recording
from brainlm.data.store import Store
from brainlm.data.windows import Windows
from brainlm.errors import CheckpointError, ConfigError
from brainlm.inference.folder import SCALER_FILE, Checkpoint, read_scaler, write_checkpoint
from brainlm.model.autoencoder import LinearMoments, MaskedAutoencoder
from brainlm.model.checkpoint import CONFIG_FILE, write_whole
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
from brainlm.training.run_folder import SETTINGS_FILE, check_goes_on, forget_replaced, held, set_aside
from brainlm.training.schedule import Stretches

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
        overwrite: start anew; the run that is there is removed when the new one has its first state.
        on_start: called with the plan, and whether the run goes on, before the first step.
        on_progress: called after every step with the figures so far.

    Raises:
        ConfigError: the folder holds a run with other settings (the differences are listed) or something else.
        DataError: no training recording is long enough, the folder's run used other data, or another process trains
            there.
        CheckpointError: the state to go on from is damaged, or the disk is full.
    """
    device = device or DeviceConfig()
    _check_masks(model, training)
    identity = {"model": dataclasses.asdict(model), "training": dataclasses.asdict(training)}
    first = is_first_process()
    # The other processes of a run on several devices find the folder as the first one has prepared it.
    with held(run) if first else nullcontext():
        trainer = _trainer(training, device)

        def prepare() -> _Prepared:
            # Everything that can be refused comes before anything is written.
            goes_on = not overwrite and check_goes_on(run, identity, store, num_devices=trainer.world_size)
            prepared = _prepared(store, run, model, training, trainer, goes_on=goes_on)
            if not prepared.goes_on:
                if (run / SETTINGS_FILE).exists():
                    set_aside(run)
                write_whole(run / SETTINGS_FILE, yaml.safe_dump(dict(settings or identity), sort_keys=False).encode())
            if not (run / CONFIG_FILE).is_file():
                write_model(prepared, run, Standing({}, 0.0))
            image = store.atlas_image
            if image is not None and not _is_copy(image, run / image.name):
                copy(image, run / image.name)
            return prepared

        def write_model(prepared: _Prepared, folder: Path, standing: Standing) -> None:
            record = provenance(
                store,
                prepared.network,
                training,
                command=command,
                preset=preset,
                figures=standing.figures,
                step=trainer.global_step,
                windows_per_step=prepared.plan.schedule.windows_per_step,
                seconds=standing.seconds,
                windows=prepared.plan.windows,
                validation=prepared.plan.validation,
            )
            write_checkpoint(folder, Checkpoint(prepared.network, prepared.plan.scaler, store.parcels, record))

        prepared = _first_alone(trainer, prepare) or _prepared(store, run, model, training, trainer, goes_on=True)
        plan, network = prepared.plan, prepared.network
        module = Pretraining(
            network, plan.scaler, training, windows_per_step=plan.schedule.windows_per_step, stretches=plan.stretches
        )
        trainer.fit_loop.max_epochs = len(plan.stretches)
        trainer.check_val_every_n_epoch = training.validate_every * plan.stretches.per_epoch
        # Callbacks need the plan, which needs the trainer's world size; and a refused run begins no log.
        save = SaveRun(run, partial(write_model, prepared), on_saved=lambda: forget_replaced(run))
        trainer.callbacks.extend(_callbacks(plan, training, save, on_progress))  # type: ignore[attr-defined]
        trainer.loggers = _loggers(run)
        if on_start is not None and first:
            on_start(plan, prepared.goes_on)
        data = _Data(plan, training, with_own=bool(model.own_covariance_points))
        state = run / LAST_STATE
        with quiet(), disk_errors(run, kind=CheckpointError, codes=FULL), all_or_none():
            trainer.fit(module, datamodule=data, ckpt_path=str(state) if state.is_file() else None, weights_only=True)
    figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return RunSummary(run, prepared.goes_on, network.num_parameters, plan.num_windows, figures)


@dataclass(frozen=True, eq=False)
class _Prepared:
    """What a run needs, all of it checked; ``goes_on`` where the folder holds a part of it already."""

    plan: RunPlan
    network: MaskedAutoencoder
    goes_on: bool


def _prepared(
    store: Store, run: Path, model: ModelConfig, training: TrainingConfig, trainer: Trainer, *, goes_on: bool
) -> _Prepared:
    fitted = read_scaler(run) if goes_on and (run / SCALER_FILE).is_file() else None
    plan = _plan(store, fitted, model, training, trainer.world_size)
    return _Prepared(plan, _network(store, plan, model, training.seed), goes_on)


def _first_alone(trainer: Trainer, prepare: Callable[[], _Prepared]) -> _Prepared | None:
    """What ``prepare`` returns, in the first process; None in the others, which wait for it and fail with it.

    Processes that Lightning starts itself begin when everything is prepared.
    """
    environment = getattr(trainer.strategy, "cluster_environment", None)
    together = trainer.world_size > 1 and not isinstance(environment, LightningEnvironment)
    if together:
        trainer.strategy.setup_environment()
    prepared, failure = None, None
    if is_first_process():
        try:
            prepared = prepare()
        except Exception as error:  # raised again below, in every process
            failure = error
    if together:
        failure = trainer.strategy.broadcast(failure)
    if failure is not None:
        raise failure
    return prepared


def _is_copy(source: Path, path: Path) -> bool:
    return path.is_file() and filecmp.cmp(source, path, shallow=False)


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


def _plan(
    store: Store, fitted: Scaler | None, model: ModelConfig, training: TrainingConfig, world_size: int
) -> RunPlan:
    train = store.select(split="train")
    windows = Windows(train, model.num_timepoints, pad_short=training.pad_short)
    schedule = Schedule(
        num_recordings=len(windows.recordings),
        windows_per_recording=training.windows_per_recording,
        windows_per_step=training.batch_size * training.accumulate * world_size,
        seed=training.seed,
    )
    stretches = Stretches(training.epochs, schedule.steps_per_epoch, training.save_every_steps)
    scaler = fitted or Scaler.fit(train.take(windows.recordings), training.scaler)
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
    training = plan.windows.store.take(plan.windows.recordings)
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


def _trainer(training: TrainingConfig, device: DeviceConfig) -> Trainer:
    """Lightning's trainer for this run.

    Raises:
        ConfigError: there are no such devices.
    """
    try:
        with quiet():
            trainer = _make_trainer(training, device)
    except (ValueError, MisconfigurationException) as error:
        raise ConfigError(
            "there is no such device to train on",
            expected="settings of device.* that Lightning's Trainer takes on this machine",
            found=f"{device}: {error}",
            remedy="leave them at auto, or see `brainlm pretrain --help`",
        ) from error
    take_over(trainer)
    return trainer


def _make_trainer(training: TrainingConfig, device: DeviceConfig) -> Trainer:
    torch.set_float32_matmul_precision("high")
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
        logger=False,
        plugins=[WholeFileIO()],
    )


def _loggers(run: Path) -> list[Logger]:
    # A resumed run logs into a new folder beside the old one, so that nothing logged is lost.
    attempt = len(list((run / "logs").glob("attempt_*")))
    return [
        CSVLogger(run, name="logs", version=f"attempt_{attempt}", flush_logs_every_n_steps=1000),
        TensorBoardLogger(run, name="logs", version=f"attempt_{attempt}", default_hp_metric=False),
    ]


def _callbacks(plan: RunPlan, training: TrainingConfig, save: SaveRun, on_progress: Listener | None) -> list[Callback]:
    per_step = plan.schedule.windows_per_step
    callbacks: list[Callback] = [Repeatable(training.seed), Speed(per_step)]
    if training.early_stopping:
        callbacks.append(EarlyStopping("val_loss", patience=training.early_stopping, check_on_train_epoch_end=False))
    if on_progress is not None:
        callbacks.append(Announce(on_progress, plan.stretches, per_step))
    return [*callbacks, save]
