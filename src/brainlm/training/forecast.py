"""Any network learning to forecast: every learning rate of a budget from the same start, the best state kept.

The pretrained model, the same network untrained and the neural baselines all train here, so that they differ in the
network alone. The engine is in ``fitting.py``, the loss in ``forecast_module.py``.

Shapes: B of a batch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset

from brainlm.data.context_windows import ContextWindows
from brainlm.errors import ConfigError
from brainlm.training.best_state import DivergedError
from brainlm.training.draws import Draws
from brainlm.training.fitting import Fitted, Listener, fit_network
from brainlm.training.forecast_config import ForecastConfig
from brainlm.training.forecast_module import ForecastBatch, ForecastModule, training_loss

__all__ = ["Attempt", "ForecastConfig", "Listener", "TrainedForecaster", "seconds_per_window", "train_forecaster"]

NUM_TIMED = 3  # steps; the fastest counts, because whatever else the machine does only adds


@dataclass(frozen=True)
class Attempt:
    """What came of one learning rate; ``validation_mse`` is infinite where training diverged or nobody was held out."""

    learning_rate: float
    validation_mse: float
    epochs: int
    best_epoch: int
    seconds: float


@dataclass(frozen=True, eq=False)
class TrainedForecaster:
    """A network in its best state, in evaluation mode on the CPU, and how it came there.

    ``attempts``: all learning rates of the budget, in its order; ``best``: the one whose state was kept; ``device``:
    where it was trained.
    """

    network: nn.Module
    device: torch.device
    attempts: tuple[Attempt, ...]
    best: Attempt

    @property
    def seconds(self) -> float:
        """Of the whole budget."""
        return sum(attempt.seconds for attempt in self.attempts)

    @property
    def tuned(self) -> str:
        """What was chosen on the validation windows, in words."""
        rates = ", ".join(f"{attempt.learning_rate:g}" for attempt in self.attempts)
        chosen = f"learning rate {self.best.learning_rate:g}" + (f" of {rates}" if len(self.attempts) > 1 else "")
        epochs = f"epoch {self.best.best_epoch} of {self.best.epochs}"
        return f"{chosen}; {epochs}; validation MSE {self.best.validation_mse:.4g}"


def train_forecaster(
    network: nn.Module,
    train: ContextWindows,
    validation: ContextWindows | None,
    config: ForecastConfig,
    *,
    on_progress: Listener | None = None,
    logs: Path | None = None,
) -> TrainedForecaster:
    """Train ``network`` (in place) with each learning rate of the budget; the best state is in it afterwards.

    The same seed gives the same bytes on the same machine. A learning rate at which training diverges is one that was
    not the best; only where all of them diverge is it an error.

    Args:
        network: from (context_BPT, valid_BPT) to (B, P, H); see ``ForecastModule``.
        train: what it learns from.
        validation: what decides on the learning rate and when to stop; without it all epochs are done and the last
            state is kept.
        config: the budget.
        on_progress: called after every epoch with epoch, train_loss, val_loss and learning_rate.
        logs: a folder for the losses of every epoch, one of each learning rate in it.

    Raises:
        ConfigError: several learning rates and nothing to choose between them by, no such device, or losses that are
            not finite at any learning rate.
    """
    if validation is None and len(config.learning_rates) > 1:
        raise ConfigError(
            "nothing decides between the learning rates",
            expected="validation recordings, or one learning rate",
            found=f"{len(config.learning_rates)} learning rates and no validation",
            remedy="give the store a validation split, or choose one learning rate",
        )
    assert validation is None or (validation.context, validation.horizon) == (train.context, train.horizon)
    start = _copied(network)
    best: tuple[Attempt, dict[str, Tensor]] | None = None
    attempts, device, diverged = [], torch.device("cpu"), None
    for rate in config.learning_rates:
        network.load_state_dict(start)
        began = time.monotonic()
        try:
            fitted = _fit(network, train, validation, config, rate=rate, on_progress=on_progress, logs=logs)
        except DivergedError as error:
            diverged = error
            network.cpu()
            attempts.append(Attempt(rate, float("inf"), 0, 0, time.monotonic() - began))
            continue
        device = fitted.device
        attempt = Attempt(rate, fitted.validation_loss, fitted.epochs, fitted.best_epoch, fitted.seconds)
        attempts.append(attempt)
        if best is None or attempt.validation_mse < best[0].validation_mse:
            best = attempt, _copied(network)
    if best is None:
        assert diverged is not None
        raise diverged
    network.load_state_dict(best[1])
    return TrainedForecaster(network.eval(), device, tuple(attempts), best[0])


def _fit(
    network: nn.Module,
    train: ContextWindows,
    validation: ContextWindows | None,
    config: ForecastConfig,
    *,
    rate: float,
    on_progress: Listener | None,
    logs: Path | None,
) -> Fitted:
    def listen(figures: Mapping[str, float]) -> None:
        assert on_progress is not None
        on_progress({**figures, "learning_rate": rate})

    supervised = config.at(rate)
    return fit_network(
        ForecastModule(network, supervised),
        network,
        batches=DrawnForecasts(train, config),
        held_out=None if validation is None else _Fixed(validation, config.batch_size),
        config=supervised,
        logs=None if logs is None else logs / f"rate_{rate:g}",
        on_progress=None if on_progress is None else listen,
    )


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


class DrawnForecasts(Dataset[ForecastBatch]):
    """The batches of a training epoch: a random window of each recording, ``config.draws`` times; see ``Draws``."""

    def __init__(self, windows: ContextWindows, config: ForecastConfig) -> None:
        self.windows = windows
        self.seed = config.seed
        self.epoch = 0
        num_recordings = len(windows.recordings)
        self.draws = Draws(num_recordings, draws=config.draws, batch_size=config.batch_size, seed=config.seed)

    def __len__(self) -> int:
        return len(self.draws)

    def __getitem__(self, number: int) -> ForecastBatch:
        draw = self.draws.step(number, epoch=self.epoch)
        recordings_B = self.windows.recordings[draw.position_B]
        return ForecastBatch.of(self.windows.drawn(recordings_B, seed=self.seed, epoch=draw.visit_B))


class _Fixed(IterableDataset[ForecastBatch]):
    """The batches of a validation: as many windows as fit without overlap, always the same."""

    def __init__(self, windows: ContextWindows, batch_size: int) -> None:
        self.windows = windows
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[ForecastBatch]:
        fixed = self.windows.fixed()
        for first in range(0, len(fixed), self.batch_size):
            part = slice(first, first + self.batch_size)
            yield ForecastBatch.of(self.windows.batch(fixed.recording[part], fixed.start[part]))


def seconds_per_window(network: nn.Module, windows: ContextWindows, config: ForecastConfig) -> float:
    """What a window of a training step takes, forwards and backwards, where ``network`` is now; it learns nothing."""
    batches = DrawnForecasts(windows, config)
    device = next(network.parameters()).device
    batch = batches[0].to(device)
    training, fastest = network.training, float("inf")
    with torch.random.fork_rng(devices=[]):
        network.train()
        for _ in range(NUM_TIMED):
            began = time.perf_counter()
            training_loss(network, batch).backward()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            fastest = min(fastest, time.perf_counter() - began)
    network.train(training)
    network.zero_grad(set_to_none=True)
    return fastest / len(batch.context_BPT)
