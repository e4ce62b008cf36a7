"""The best state of a network while it is trained, kept in memory: what early stopping goes back to.

Only what training changes is kept (parameters with gradients, buffers), so that a frozen encoder costs nothing.
Saving whole runs is in ``callbacks.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from brainlm.errors import ConfigError

LOSSES: tuple[str, ...] = ("train_loss", "val_loss")


@runtime_checkable
class EpochBatches(Protocol):
    """The batches of a training epoch by their number; which epoch it is, is set before it begins."""

    epoch: int

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Any: ...


class KeepBest(Callback):
    """Remembers the state with the lowest validation loss, tells a listener of each epoch, and starts the next.

    Args:
        network: whose state is kept.
        batches: told which epoch it is.
        listener: called with epoch, train_loss and val_loss.
    """

    def __init__(
        self,
        network: nn.Module,
        batches: EpochBatches,
        listener: Callable[[Mapping[str, float]], None] | None = None,
    ) -> None:
        self.network = network
        self.batches = batches
        self.listener = listener
        self.best_loss = math.inf
        self.best_epoch = 0
        self.epochs = 0
        self._state: dict[str, Tensor] | None = None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Lightning's hook, before the epoch's first batch is made."""
        self.batches.epoch = trainer.current_epoch

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Lightning's hook; validation has happened before."""
        metrics = trainer.callback_metrics
        figures: dict[str, float] = {name: float(metrics[name]) for name in LOSSES if name in metrics}
        self.epochs = trainer.current_epoch + 1
        if not math.isfinite(figures["train_loss"]) or not math.isfinite(figures.get("val_loss", 0.0)):
            raise _diverged(self.epochs, figures)
        loss = figures.get("val_loss")
        if loss is None:
            self.best_epoch = self.epochs
        elif loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, self.epochs
            self._state = {name: tensor.detach().clone() for name, tensor in self._changing().items()}
        if self.listener is not None:
            self.listener({"epoch": float(self.epochs), **figures})

    def restore(self) -> None:
        """Put the best state back into the network; without validation that is the last."""
        if self._state is not None:
            for name, tensor in self._changing().items():
                tensor.data.copy_(self._state[name])

    def _changing(self) -> dict[str, Tensor]:
        trained = {name: tensor for name, tensor in self.network.named_parameters() if tensor.requires_grad}
        return {**trained, **dict(self.network.named_buffers())}


class DivergedError(ConfigError):
    """The losses of a training are no longer finite."""


def _diverged(epoch: int, figures: Mapping[str, float]) -> DivergedError:
    return DivergedError(
        f"the training lost its way in epoch {epoch}",
        expected="finite losses",
        found=", ".join(f"{name} {value:g}" for name, value in figures.items()),
        remedy="lower the learning rate",
    )
