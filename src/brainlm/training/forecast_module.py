"""A network that learns to forecast, as Lightning sees it: squared error of the future, and what a network adds to it.

The budget around it is in ``forecast.py``, the optimiser in ``optimizer.py``.

Shapes: B batch, P parcels, T time points of the context, H time points of the horizon.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from brainlm.data.context_windows import ContextBatch
from brainlm.training.finetune_config import SupervisedConfig
from brainlm.training.optimizer import warmed_adamw


@dataclass(frozen=True, eq=False)
class ForecastBatch:
    """What of a ``ContextBatch`` a network learns from, and moves to a device."""

    context_BPT: Float[Tensor, "B P T"]
    valid_BPT: Bool[Tensor, "B P T"]
    future_BPH: Float[Tensor, "B P H"]
    future_valid_BPH: Bool[Tensor, "B P H"]

    @classmethod
    def of(cls, batch: ContextBatch) -> ForecastBatch:
        """The same tensors."""
        return cls(batch.context_BPT, batch.context_valid_BPT, batch.future_BPH, batch.future_valid_BPH)

    def to(self, device: torch.device) -> ForecastBatch:
        """The same batch on another device."""
        return ForecastBatch(*(tensor.to(device, non_blocking=True) for tensor in vars(self).values()))


@runtime_checkable
class LearntForecast(Protocol):
    """A forecast in training, and what the network wants to be small beside its error: a mean per value, like it."""

    @property
    def future_BPH(self) -> Float[Tensor, "B P H"]: ...  # noqa: N802 - shape suffix

    @property
    def penalty(self) -> Float[Tensor, ""]: ...


@runtime_checkable
class LearnsOtherwise(Protocol):
    """A network that forecasts in another way while it learns (a latent variable is drawn, say)."""

    def learn(self, context_BPT: Float[Tensor, "B P T"], valid_BPT: Bool[Tensor, "B P T"]) -> LearntForecast:
        """The forecast to learn from."""
        ...


class ForecastModule(LightningModule):
    """A network and its loss: the mean squared error over the valid values of the future.

    The validation error is that of what the network says when it is asked, without what it adds in training.

    Args:
        network: from (context_BPT, valid_BPT) to (B, P, H); has ``learn`` if it ``LearnsOtherwise``.
        config: how it learns.
    """

    def __init__(self, network: nn.Module, config: SupervisedConfig) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self._sums = torch.zeros(2, dtype=torch.float64)

    def training_step(self, batch: ForecastBatch, batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        """The loss of one batch."""
        loss = training_loss(self.network, batch)
        self.log("train_loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(batch.context_BPT))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Start counting anew."""
        self._sums = torch.zeros(2, dtype=torch.float64)

    def validation_step(self, batch: ForecastBatch, batch_idx: int) -> None:  # noqa: ARG002
        """Add the squared errors of one batch to the mean over all values."""
        self._sums += _squared_error(self.network(batch.context_BPT, batch.valid_BPT), batch).double().cpu()

    def on_validation_epoch_end(self) -> None:
        """Log the error that early stopping looks at."""
        self.log("val_loss", (self._sums[0] / self._sums[1]).float())

    def transfer_batch_to_device(
        self, batch: ForecastBatch, device: torch.device, dataloader_idx: int
    ) -> ForecastBatch:
        """Lightning's hook: our batches know how to move."""
        assert dataloader_idx == 0
        return batch.to(device)

    def configure_optimizers(self) -> Any:
        """AdamW; see ``warmed_adamw``."""
        return warmed_adamw(self.network, self.config, trainer=self.trainer)


def training_loss(network: nn.Module, batch: ForecastBatch) -> Float[Tensor, ""]:
    """The mean squared error of a batch and what the network adds to it."""
    penalty: Tensor | float = 0.0
    if isinstance(network, LearnsOtherwise):
        learnt = network.learn(batch.context_BPT, batch.valid_BPT)
        future_BPH, penalty = learnt.future_BPH, learnt.penalty
    else:
        future_BPH = network(batch.context_BPT, batch.valid_BPT)
    squares, count = _squared_error(future_BPH, batch)
    return squares / count.clamp(min=1) + penalty


def _squared_error(forecast_BPH: Tensor, batch: ForecastBatch) -> Float[Tensor, "2"]:
    """The sum of squared errors over valid values, and how many these are."""
    error_BPH = (forecast_BPH.float() - batch.future_BPH).masked_fill(~batch.future_valid_BPH, 0.0)
    return torch.stack((error_BPH.square().sum(), batch.future_valid_BPH.sum().float()))
