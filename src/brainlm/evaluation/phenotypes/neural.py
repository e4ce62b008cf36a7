"""The neural baselines in a fold: an LSTM and a graph network on recordings, and on a model's patches, as in the paper.

Each says what it takes of a store's recordings and builds its network for a training fold; all train on the same path
as fine-tuning (``training/supervised.py``). The networks themselves are in ``brainlm.baselines``.

Shapes: N recordings of the store, M recordings or units of a fold, P parcels, E pairs of parcels, W windows, C temporal
patches of a window, D width of the model, K outputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor, nn

from brainlm.baselines.graph import ConnectomeGCN, EmbeddingGCN, group_graph
from brainlm.baselines.recurrent import SeriesLSTM, TokenLSTM
from brainlm.baselines.standardise import Standardise
from brainlm.data.scaling import Scaler, ScalerKind
from brainlm.data.store import Store
from brainlm.evaluation.phenotypes.problem import InnerFolds, Problem
from brainlm.training.labelled import FeatureInputs, Inputs, Labelled, WindowInputs
from brainlm.training.supervised import SupervisedConfig, predict_supervised, train_supervised

# The same for all four networks and all targets; early stopping does the rest. They are small: a device would wait.
NEURAL_CONFIG = SupervisedConfig(epochs=30, batch_size=32, learning_rate=1e-3, patience=6, accelerator="cpu")


@dataclass(frozen=True, eq=False)
class Built:
    """An untrained network for one training fold, and what it takes of recordings."""

    network: nn.Module
    inputs: Inputs


@runtime_checkable
class NeuralBaseline(Protocol):
    """A kind of network over the recordings of one store; ``name`` is what tables show."""

    @property
    def name(self) -> str: ...

    def build(self, training_M: Int64[np.ndarray, "M"], *, num_outputs: int, seed: int) -> Built:
        """The network, with all that is fitted beforehand fitted to the recordings at these positions of the store."""
        ...


@dataclass(frozen=True, eq=False)
class SeriesLSTMBaseline:
    """An LSTM over time points: random windows in training, in judging as many as fit, their predictions averaged.

    Args:
        store: whose recordings are read.
        num_timepoints: of a window, the model's for a fair comparison.
        scaler: ready-made, such as a model's, or the kind of one that is fitted to each training fold.
    """

    store: Store
    num_timepoints: int
    scaler: Scaler | ScalerKind = "robust"
    name: str = "LSTM (recordings)"

    def build(self, training_M: Int64[np.ndarray, "M"], *, num_outputs: int, seed: int) -> Built:
        """See ``NeuralBaseline``."""
        scaler = self.scaler
        if not isinstance(scaler, Scaler):
            scaler = Scaler.fit(self.store.take(training_M), scaler, allow_any_split=True)
        network = SeriesLSTM(self.store.num_parcels, num_outputs, seed=seed)
        return Built(network, WindowInputs(self.store, scaler, self.num_timepoints))


@dataclass(frozen=True, eq=False)
class ConnectomeGCNBaseline:
    """A graph network whose nodes carry their rows of the connectome.

    Args:
        edges_NE: ``baselines.connectome.connectomes(store, "correlation")``.
    """

    edges_NE: Float32[np.ndarray, "N E"]
    name: str = "GCN (connectomes)"

    def build(self, training_M: Int64[np.ndarray, "M"], *, num_outputs: int, seed: int) -> Built:
        """See ``NeuralBaseline``."""
        graph_PP = group_graph(self.edges_NE[training_M])
        network = ConnectomeGCN(graph_PP, Standardise.fit(self.edges_NE, training_M), num_outputs, seed=seed)
        return Built(network, FeatureInputs(_tensor(self.edges_NE)))


@dataclass(frozen=True, eq=False)
class TokenLSTMBaseline:
    """An LSTM over the temporal patches of a pretrained model.

    Args:
        patches_NWCD: ``inference.patch_embeddings.temporal_patch_embeddings(model, store)``.
    """

    patches_NWCD: Float32[np.ndarray, "N W C D"]
    name: str = "LSTM (patch embeddings)"

    def build(self, training_M: Int64[np.ndarray, "M"], *, num_outputs: int, seed: int) -> Built:
        """See ``NeuralBaseline``."""
        num_recordings, num_windows, *place = self.patches_NWCD.shape
        # The windows of a recording are alike: a place is standardised over all windows of the training recordings.
        windows_M = (training_M[:, None] * num_windows + np.arange(num_windows)).ravel()
        windows = self.patches_NWCD.reshape(num_recordings * num_windows, *place)
        network = TokenLSTM(Standardise.fit(windows, windows_M), num_outputs, seed=seed)
        return Built(network, FeatureInputs(_tensor(self.patches_NWCD)))


@dataclass(frozen=True, eq=False)
class EmbeddingGCNBaseline:
    """A graph network whose nodes carry a pretrained model's vectors of the parcels.

    Args:
        parcels_NPD: pooling ``parcels`` of ``inference.features``, reshaped.
        edges_NE: connectomes of the same recordings, for the graph.
    """

    parcels_NPD: Float32[np.ndarray, "N P D"]
    edges_NE: Float32[np.ndarray, "N E"]
    name: str = "GCN (patch embeddings)"

    def build(self, training_M: Int64[np.ndarray, "M"], *, num_outputs: int, seed: int) -> Built:
        """See ``NeuralBaseline``."""
        graph_PP = group_graph(self.edges_NE[training_M])
        network = EmbeddingGCN(graph_PP, Standardise.fit(self.parcels_NPD, training_M), num_outputs, seed=seed)
        return Built(network, FeatureInputs(_tensor(self.parcels_NPD)))


@dataclass(frozen=True, eq=False)
class NeuralFold:
    """What a network predicts of a fold's test units, and how it was trained.

    ``values_MK``: in original units (K = 1), the second class's probability (K = 1), or a probability a class.
    """

    values_MK: Float64[np.ndarray, "M K"]
    num_parameters: int
    epochs: int
    best_epoch: int
    seconds: float


def fit_predict_neural(
    baseline: NeuralBaseline,
    problem: Problem,
    recordings: Sequence[Int64[np.ndarray, "_"]],
    train_M: Int64[np.ndarray, "_"],
    test_M: Int64[np.ndarray, "_"],
    *,
    inner: InnerFolds,
    config: SupervisedConfig = NEURAL_CONFIG,
) -> NeuralFold:
    """Train on the training units but for a part that decides when to stop; predict the test units.

    Predictions are averaged window -> recording -> unit. The same seed gives the same numbers. Labels of test units are
    not looked at.

    Args:
        baseline: over the store that ``recordings`` count in.
        problem: what is to be predicted of each unit; its seed is that of weights, windows, order and dropout.
        recordings: positions in the store of each unit's recordings, of all units.
        train_M: positions of units.
        test_M: positions of units.
        inner: positions into ``train_M``; the test part of the first pair decides when to stop.
        config: how it learns; its seed is not used.

    Raises:
        ConfigError: the training lost its way.
        DataError: the target does not vary among the training units.
    """
    learning, stopping = inner[0]
    learn, stop, test = (
        _labelled(problem, recordings, units) for units in (train_M[learning], train_M[stopping], test_M)
    )
    built = baseline.build(learn.recordings_M, num_outputs=problem.num_outputs, seed=problem.seed)
    trained = train_supervised(
        built.network,
        built.inputs,
        train=learn,
        validation=stop,
        config=dataclasses.replace(config, seed=problem.seed),
        kind=problem.kind,
        classes=tuple(str(number) for number in range(problem.num_classes)),
    )
    values_MK = predict_supervised(trained, built.inputs, test)
    return NeuralFold(
        np.exp(values_MK) if problem.transform == "log" else values_MK,
        num_parameters=sum(parameter.numel() for parameter in built.network.parameters()),
        epochs=trained.epochs,
        best_epoch=trained.best_epoch,
        seconds=trained.seconds,
    )


def _labelled(
    problem: Problem, recordings: Sequence[Int64[np.ndarray, "_"]], units_M: Int64[np.ndarray, "_"]
) -> Labelled:
    values_N = np.log(problem.values_N) if problem.transform == "log" else problem.values_N
    return Labelled.of(recordings, values_N, units_M, weights_N=problem.weights_N)


def _tensor(features: Float32[np.ndarray, "N ..."]) -> Float32[Tensor, "N ..."]:
    """The same memory as a tensor; a copy where it is read-only, which torch refuses."""
    return torch.from_numpy(features if features.flags.writeable else features.copy())
