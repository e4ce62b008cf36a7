"""Networks that learn from recordings without labels, and the vectors they then give to parcels.

Such a network gives its own loss; the engine is ``fitting.py``; what networks take of recordings is in ``labelled.py``.

Shapes: M recordings learnt from, N encoded, B of a batch, W windows, P parcels, D numbers of a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.utils.data import Dataset

from brainlm.training.draws import Draws
from brainlm.training.finetune_config import SupervisedConfig
from brainlm.training.fitting import Fitted, Listener, fit_network
from brainlm.training.labelled import Inputs
from brainlm.training.optimizer import warmed_adamw


def train_unsupervised(
    network: nn.Module,
    inputs: Inputs,
    *,
    recordings_M: Int64[np.ndarray, "M"],
    config: SupervisedConfig,
    logs: Path | None = None,
    on_progress: Listener | None = None,
) -> Fitted:
    """Train ``network`` (in place) for all epochs; nobody is held out, for there is no label to learn by heart.

    The same seed gives the same bytes on the same machine.

    Args:
        network: from the tensors of ``inputs`` to the loss of each entry, (B,).
        inputs: what it takes.
        recordings_M: whom it learns from, by position in the store of ``inputs``.
        config: how; ``patience`` and ``balanced`` mean nothing here.
        logs: a folder for the losses of every epoch, ``metrics.csv``.
        on_progress: called after every epoch with epoch and train_loss.

    Raises:
        ConfigError: there is no such device, or the losses are not finite.
    """
    return fit_network(
        Unsupervised(network, config),
        network,
        batches=DrawnInputs(inputs, recordings_M, config),
        held_out=None,
        config=config,
        logs=logs,
        on_progress=on_progress,
    )


@torch.no_grad()
def encode_parcels(
    encode: Callable[..., Tensor], inputs: Inputs, *, num_recordings: int, batch_size: int = 16
) -> Float32[np.ndarray, "N P D"]:
    """The vector of every parcel in the first ``num_recordings`` recordings of ``inputs``, the mean over its windows.

    Args:
        encode: of a trained network: from the tensors of ``inputs`` to (W, P, D), NaN where a parcel has no signal.
        inputs: of the recordings to encode.
        num_recordings: N.
        batch_size: recordings at a time; changes no result.

    Returns:
        NaN where a parcel has no signal in any window.
    """
    parts = []
    for first in range(0, num_recordings, batch_size):
        recordings_B = np.arange(first, min(first + batch_size, num_recordings))
        fixed = inputs.fixed(recordings_B)
        vectors_WPD = encode(*fixed.tensors)
        parts.append(_mean_by(vectors_WPD, torch.from_numpy(fixed.position_W), len(recordings_B)))
    return torch.cat(parts).float().numpy()


class Unsupervised(LightningModule):
    """A network and its own loss, as Lightning sees them."""

    def __init__(self, network: nn.Module, config: SupervisedConfig) -> None:
        super().__init__()
        self.network = network
        self.config = config

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        """The mean loss of one batch."""
        losses_B: Tensor = self.network(*batch)
        self.log("train_loss", losses_B.mean(), on_step=False, on_epoch=True, batch_size=len(losses_B))
        return losses_B.mean()

    def configure_optimizers(self) -> Any:
        """AdamW, decay on matrices only; warm-up and cosine."""
        return warmed_adamw(self.network, self.config, trainer=self.trainer)


class DrawnInputs(Dataset[tuple[Tensor, ...]]):
    """The inputs of a training epoch; see ``Draws``."""

    def __init__(self, inputs: Inputs, recordings_M: Int64[np.ndarray, "M"], config: SupervisedConfig) -> None:
        self.inputs = inputs
        self.recordings_M = recordings_M
        self.seed = config.seed
        self.epoch = 0
        self.draws = Draws(len(recordings_M), draws=config.draws, batch_size=config.batch_size, seed=config.seed)

    def __len__(self) -> int:
        return len(self.draws)

    def __getitem__(self, number: int) -> tuple[Tensor, ...]:
        draw = self.draws.step(number, epoch=self.epoch)
        recordings_B = self.recordings_M[draw.position_B]
        drawn = [
            self.inputs.drawn(recordings_B[draw.visit_B == visit], seed=self.seed, epoch=int(visit))
            for visit in np.unique(draw.visit_B)
        ]
        return tuple(torch.cat(parts) for parts in zip(*drawn, strict=True))


def _mean_by(vectors_WPD: Tensor, position_W: Tensor, num_recordings: int) -> Tensor:
    """The mean over the windows of each recording that know the parcel; NaN where none does."""
    known_WPD = torch.isfinite(vectors_WPD)
    shape = (num_recordings, *vectors_WPD.shape[1:])
    sums = torch.zeros(shape).index_add(0, position_W, torch.where(known_WPD, vectors_WPD, 0.0))
    return sums / torch.zeros(shape).index_add(0, position_W, known_WPD.float())
