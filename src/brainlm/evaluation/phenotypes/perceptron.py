"""A perceptron with one hidden layer; its penalty and its number of epochs are chosen in inner folds.

scikit-learn's own early stopping holds out random rows, which would part the recordings of a person. Here all inner
folds train side by side, and the epoch with the lowest mean loss is where the final networks stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float64, Int64
from sklearn import config_context
from sklearn.neural_network import MLPClassifier, MLPRegressor

from brainlm.evaluation.phenotypes.fits import Fit, all_classes, as_outputs, log_loss, squared_error
from brainlm.evaluation.phenotypes.problem import InnerFolds
from brainlm.evaluation.phenotypes.rotation import Coordinates

NUM_HIDDEN = 64
PENALTIES = (1.0, 30.0)
_MAX_EPOCHS = 40
_PATIENCE = 8
_BATCH_SIZE = 32
_MAX_UPDATES = 64  # an epoch: beyond 2,048 rows batches grow, or time an epoch would grow without any gain
_LEARNING_RATE = 3e-3
# The final prediction is the mean of this many networks: one alone depends on its first weights.
_NUM_NETWORKS = 3

# MLPClassifier or MLPRegressor: scikit-learn has no types to tell them by.
_Network: TypeAlias = Any


@dataclass(frozen=True, eq=False)
class _Task:
    """Training rows with what to predict of them; ``num_classes`` is 0 for numbers."""

    rows_MR: np.ndarray
    labels_M: np.ndarray
    weights_M: np.ndarray
    num_classes: int
    seed: int

    def network(self, penalty: float, number: int) -> _Network:
        kind = MLPClassifier if self.num_classes else MLPRegressor
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        return kind(
            hidden_layer_sizes=(NUM_HIDDEN,), alpha=penalty, learning_rate_init=_LEARNING_RATE, random_state=seed
        )

    def train_an_epoch(self, network: _Network, rows: np.ndarray) -> None:
        network.set_params(batch_size=min(max(_BATCH_SIZE, -(-len(rows) // _MAX_UPDATES)), len(rows)))
        labelled = self.rows_MR[rows], self.labels_M[rows], self.weights_M[rows]
        if self.num_classes:
            network.partial_fit(*labelled, classes=np.arange(self.num_classes))
        else:
            network.partial_fit(*labelled)

    def outputs(self, network: _Network, rows_LR: np.ndarray) -> np.ndarray:
        """Probabilities of all classes, or the value."""
        if isinstance(network, MLPRegressor):
            return network.predict(rows_LR).reshape(len(rows_LR), 1).astype(np.float64)
        return all_classes(network.predict_proba(rows_LR).astype(np.float64), network.classes_, self.num_classes)

    def loss(self, outputs_MC: np.ndarray) -> float:
        if self.num_classes:
            return log_loss(outputs_MC, self.labels_M, self.weights_M)
        return float(squared_error(outputs_MC, self.labels_M[:, None].astype(np.float64), self.weights_M)[0])


@dataclass(frozen=True, eq=False)
class _Chosen:
    """When to stop, and what the inner folds predicted then."""

    loss: float
    penalty: float
    num_epochs: int
    inner_MC: np.ndarray


def perceptron_regression(
    coordinates: Coordinates,
    values_M: Float64[np.ndarray, "M"],
    weights_M: Float64[np.ndarray, "M"],
    *,
    inner: InnerFolds,
    seed: int,
) -> Fit:
    """Of standardised values."""
    rows_MR = coordinates.train_MR.astype(np.float32)
    return _fit(_Task(rows_MR, values_M.astype(np.float32), weights_M, 0, seed), coordinates, inner)


def perceptron_classification(
    coordinates: Coordinates,
    classes_M: Int64[np.ndarray, "M"],
    weights_M: Float64[np.ndarray, "M"],
    *,
    num_classes: int,
    inner: InnerFolds,
    seed: int,
) -> Fit:
    """Probabilities of classes."""
    rows_MR = coordinates.train_MR.astype(np.float32)
    return _fit(_Task(rows_MR, classes_M, weights_M, num_classes, seed), coordinates, inner)


def _fit(task: _Task, coordinates: Coordinates, inner: InnerFolds) -> Fit:
    # An epoch is one call of scikit-learn: its checks of input that is known to be good would take half the time.
    with config_context(assume_finite=True, skip_parameter_validation=True):
        return _chosen_and_fitted(task, coordinates, inner)


def _chosen_and_fitted(task: _Task, coordinates: Coordinates, inner: InnerFolds) -> Fit:
    chosen = min((_best_epoch(task, penalty, inner) for penalty in PENALTIES), key=lambda candidate: candidate.loss)
    test_LR = coordinates.test_LR.astype(np.float32)
    predicted = []
    for number in range(_NUM_NETWORKS):
        network = task.network(chosen.penalty, number)
        for _ in range(chosen.num_epochs):
            task.train_an_epoch(network, np.arange(len(task.labels_M)))
        predicted.append(task.outputs(network, test_LR))
    predicted_LC = np.mean(predicted, axis=0)
    if not task.num_classes:
        return Fit(predicted_LC, chosen.inner_MC, chosen.penalty)
    return Fit(as_outputs(predicted_LC), as_outputs(chosen.inner_MC), chosen.penalty)


def _best_epoch(task: _Task, penalty: float, inner: InnerFolds) -> _Chosen:
    """All inner folds an epoch at a time, until the mean loss has not fallen for a while."""
    networks = [task.network(penalty, number) for number in range(len(inner))]
    best = _Chosen(np.inf, penalty, 1, np.empty((0, 0)))
    for epoch in range(1, _MAX_EPOCHS + 1):
        inner_MC = np.full((len(task.labels_M), max(task.num_classes, 1)), np.nan)
        for network, (train, test) in zip(networks, inner, strict=True):
            task.train_an_epoch(network, train)
            inner_MC[test] = task.outputs(network, task.rows_MR[test])
        loss = task.loss(inner_MC)
        if loss < best.loss:
            best = _Chosen(loss, penalty, epoch, inner_MC)
        elif epoch - best.num_epochs >= _PATIENCE:
            break
    return best
