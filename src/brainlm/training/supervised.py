"""Any network learning people's labels: Lightning, early stopping on people held out, the best state kept.

Fine-tuning (``finetune.py``) and the neural baselines both train through ``train_supervised``, so that they differ in
the network alone. What goes into a network is in ``labelled.py``, its loss in ``supervised_module.py``, the engine in
``fitting.py``.

Shapes: U units, W windows, K outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.utils.data import IterableDataset

from brainlm.model.head import TargetKind, TargetUnits
from brainlm.training.finetune_config import SupervisedConfig
from brainlm.training.fitting import Listener, fit_network
from brainlm.training.labelled import DrawnBatches, Inputs, Labelled, LabelledBatch, fixed_batches
from brainlm.training.optimizer import RateShare
from brainlm.training.supervised_module import Supervised

__all__ = ["Listener", "RateShare", "SupervisedConfig", "Trained", "predict_supervised", "train_supervised"]


@dataclass(frozen=True, eq=False)
class Trained:
    """A network in its best state, in evaluation mode on the CPU, and how it came there.

    ``device``: where it was trained, and predicts. ``epochs``: done; ``best_epoch`` counts from 1 and is the last one
    where nobody was held out for validation.
    """

    network: nn.Module
    units: TargetUnits
    device: torch.device
    epochs: int
    best_epoch: int
    validation_loss: float
    seconds: float


def train_supervised(
    network: nn.Module,
    inputs: Inputs,
    *,
    train: Labelled,
    validation: Labelled | None,
    config: SupervisedConfig,
    kind: TargetKind,
    classes: tuple[str, ...] = (),
    name: str = "",
    rate_share: RateShare | None = None,
    logs: Path | None = None,
    on_progress: Listener | None = None,
) -> Trained:
    """Train ``network`` (in place) until the validation loss no longer falls; its best state is in it afterwards.

    The same seed gives the same bytes on the same machine. Parameters that need no gradient stay as they are.

    Args:
        network: from ``inputs``' tensors to (B, K): K = 1 for regression (a standardised value) and two classes (the
            log-odds of the second), else one number a class.
        inputs: what it takes.
        train: whom it learns from.
        validation: who decides when to stop; without anybody all epochs are done and the last state is kept.
        config: how.
        kind: of the target.
        classes: their names in the order of their codes; none for regression.
        name: of the target, for messages.
        rate_share: of a parameter's name, its learning rate as a share of the config's.
        logs: a folder for the losses of every epoch, ``metrics.csv``.
        on_progress: called after every epoch with epoch, train_loss and val_loss.

    Raises:
        DataError: nobody to learn from, or a quantity that does not vary.
        ConfigError: there is no such device, or the losses are not finite.
    """
    units = TargetUnits.of(train.values_U, train.weights_U, kind=kind, classes=classes, name=name)
    module = Supervised(
        network, units, config, rate_share=rate_share, class_weights_K=_class_weights(train, units, config)
    )
    fitted = fit_network(
        module,
        network,
        batches=DrawnBatches(inputs, train, batch_size=config.batch_size, draws=config.draws, seed=config.seed),
        held_out=None if validation is None else _Fixed(inputs, validation, config.batch_size),
        config=config,
        logs=logs,
        on_progress=on_progress,
    )
    return Trained(
        network,
        units,
        device=fitted.device,
        epochs=fitted.epochs,
        best_epoch=fitted.best_epoch,
        validation_loss=fitted.validation_loss,
        seconds=fitted.seconds,
    )


@torch.no_grad()
def predict_supervised(
    trained: Trained, inputs: Inputs, labelled: Labelled, *, batch_size: int = 32
) -> Float64[np.ndarray, "U K"]:
    """What the network says of every unit (labels are not looked at): averaged window -> recording -> unit.

    Values in original units (K = 1), the second class's probability (K = 1), or a probability a class.
    """
    network = trained.network.to(trained.device).eval()
    values_WK, position_W = [], []
    for batch in fixed_batches(inputs, labelled, batch_size=batch_size):
        raw_BK = network(*batch.to(trained.device).tensors)
        values_WK.append(trained.units.in_units(raw_BK.cpu()).numpy())
        position_W.append(batch.position_B.numpy())
    network.cpu()
    return labelled.mean_by_unit(np.concatenate(values_WK), np.concatenate(position_W))


class _Fixed(IterableDataset[LabelledBatch]):
    """The batches of a validation, for Lightning."""

    def __init__(self, inputs: Inputs, labelled: Labelled, batch_size: int) -> None:
        self.parts = inputs, labelled
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[LabelledBatch]:
        return fixed_batches(*self.parts, batch_size=self.batch_size)


def _class_weights(train: Labelled, units: TargetUnits, config: SupervisedConfig) -> Float[Tensor, "K"] | None:
    if not config.balanced or units.kind == "regression":
        return None
    votes_K = np.bincount(train.values_U.astype(np.int64), train.weights_U, minlength=len(units.classes))
    assert (votes_K > 0).all(), "folds in which a class is missing are refused before"
    return torch.from_numpy(votes_K.sum() / (len(votes_K) * votes_K)).float()
