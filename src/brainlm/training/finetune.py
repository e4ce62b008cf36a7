"""Fine-tuning: a head on the encoder's vectors, trained together with as much of the encoder as is wanted.

The training itself is ``supervised.py``'s, the head ``model/head.py``'s. A fine-tuned model is again a checkpoint,
which ``inference/predicting.py`` writes, reads and applies.

Shapes: U units (people, or recordings where each has its own label), K outputs.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from brainlm.data.store import Store
from brainlm.inference.brainlm import BrainLM
from brainlm.inference.predicting import FinetunedHead, check_recordings, write_finetuned
from brainlm.model.head import Head, Predictor, TargetKind, TargetUnits
from brainlm.training.adapters import merge_adapters
from brainlm.training.encoded import EncodedInputs
from brainlm.training.finetune_config import FinetuneConfig
from brainlm.training.labelled import Labelled, WindowInputs
from brainlm.training.provenance import with_finetuning
from brainlm.training.supervised import (
    Listener,
    Trained,
    predict_supervised,
    train_supervised,
)
from brainlm.training.trained_part import choose_trained, layer_rates

# Recordings whose vectors give the head its mean and spread: enough for an error of 4 % in each, and soon encoded.
NUM_STANDARDISING = 256
LEAST_SPREAD = 0.05  # of what a head standardises while the encoder moves; chosen so that random encoders train, too


@dataclass(frozen=True, eq=False)
class Finetuned:
    """A fine-tuned model: a plain ``BrainLM`` (its own copy, scaler fitted), its head, and how it was trained."""

    model: BrainLM
    head: Head
    trained: Trained

    @property
    def units(self) -> TargetUnits:
        """What the head's numbers mean."""
        return self.trained.units

    def predict(self, store: Store, units: Labelled) -> Float64[np.ndarray, "U K"]:
        """What the model says of units of ``store``; see ``predict_supervised``. Their labels are not looked at."""
        return predict_supervised(self.trained, _inputs(self.model, store), units)

    def write(self, folder: str | Path, facts: Mapping[str, Any]) -> None:
        """Write the checkpoint folder; see ``write_finetuned``."""
        write_finetuned(folder, self.model, FinetunedHead(self.head, self.units), facts)


def finetune(
    model: BrainLM,
    store: Store,
    *,
    train: Labelled,
    validation: Labelled | None,
    config: FinetuneConfig,
    kind: TargetKind,
    classes: tuple[str, ...] = (),
    name: str = "",
    logs: Path | None = None,
    on_progress: Listener | None = None,
) -> Finetuned:
    """Fine-tune a copy of ``model`` on the labels of ``train``; ``model`` itself stays as it is.

    A scaler that was never fitted (published weights) is fitted on the recordings of ``train``. The same seed gives
    the same bytes on the same machine.

    Args:
        model: where the encoder starts.
        store: of the model's parcels.
        train: who is learnt from, with positions in ``store``.
        validation: who decides when to stop; nobody: all epochs are done.
        config: how.
        kind: of the target.
        classes: in the order of their codes; none for regression.
        name: of the target.
        logs: a folder for the losses of every epoch.
        on_progress: called after every epoch with epoch, train_loss and val_loss.

    Raises:
        DataError: the store's parcels or repetition times are not the model's, or the target does not vary.
        ConfigError: more blocks than the encoder has, no peft, no such device, or losses that are not finite.
    """
    check_recordings(model, store)
    model = _own_copy(model, store.take(train.recordings_M))
    units = TargetUnits.of(train.values_U, train.weights_U, kind=kind, classes=classes, name=name)
    seed = config.supervised.seed
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = Head(config.head, width=model.config.encoder_width, num_outputs=units.num_outputs)
    needed = {tensor: parameter.requires_grad for tensor, parameter in model.network.named_parameters()}
    choose_trained(model.network, config.train, lora_rank=config.lora_rank, seed=seed)
    predictor = Predictor(model.network, head, hidden_share=config.hidden_share)
    inputs = _inputs(model, store)
    encoded = EncodedInputs(predictor, inputs, batch_size=config.supervised.batch_size)
    some = train.recordings_M[np.linspace(0, len(train.recordings_M) - 1, NUM_STANDARDISING).round().astype(np.int64)]
    (vectors_MD,) = encoded.drawn(np.unique(some), seed=seed, epoch=0)
    head.fit_standardisation(vectors_MD, least_share=0.0 if config.train == "head" else LEAST_SPREAD)
    alone = config.train == "head" and not config.hidden_share
    trained = train_supervised(
        head if alone else predictor,
        encoded if alone else inputs,
        train=train,
        validation=validation,
        config=config.supervised,
        kind=kind,
        classes=classes,
        name=name,
        rate_share=None if alone else layer_rates(model.config.encoder_depth, config.layer_decay),
        logs=logs,
        on_progress=on_progress,
    )
    if config.train == "lora":
        merge_adapters(model.network)
    for tensor, parameter in model.network.named_parameters():
        parameter.requires_grad_(needed[tensor])
    model.provenance = _with_finetuning(model.provenance, store, (train, validation), config, trained)
    return Finetuned(model, head, dataclasses.replace(trained, network=predictor.eval()))


def _own_copy(model: BrainLM, training: Store) -> BrainLM:
    network = copy.deepcopy(model.network).cpu()
    own = BrainLM(network, model.scaler, model.parcels, copy.deepcopy(model.provenance))
    return own if own.scaler.fitted else own.fit_scaler(training)


def _inputs(model: BrainLM, store: Store) -> WindowInputs:
    return WindowInputs(store, model.scaler, model.config.num_timepoints)


def _with_finetuning(
    provenance: Mapping[str, Any],
    store: Store,
    seen: Sequence[Labelled | None],
    config: FinetuneConfig,
    trained: Trained,
) -> dict[str, Any]:
    """The record of where a model comes from, with whom it has now seen as well and what it was taught.

    Those who decided when to stop are among the seen: the model was chosen by them.
    """
    recordings = np.concatenate([units.recordings_M for units in seen if units is not None])
    taught = {
        "target": trained.units.name,
        "kind": trained.units.kind,
        "settings": dataclasses.asdict(config),
        "best_epoch": trained.best_epoch,
        "wall_time_s": round(trained.seconds, 1),
    }
    return with_finetuning(provenance, store, set(store.metadata["subject"].iloc[recordings]), taught=taught)
