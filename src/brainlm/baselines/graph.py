"""A small graph convolutional network over parcels, as in the paper: its graph is the group's strongest connections.

Node features are rows of connectomes or vectors of parcels; how it is trained belongs to the evaluation of phenotypes.

Shapes: B batch, N recordings, P parcels, E = P (P - 1) / 2 pairs of parcels, F numbers a parcel, H width, K outputs.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from brainlm.baselines.standardise import Standardise
from brainlm.errors import ConfigError

EDGE_SHARE = 0.1  # of all pairs of parcels; brain graphs are usually thresholded at 5 to 30 %
WIDTH = 32
NODE_WIDTH = 4  # numbers that each parcel hands to the head
HEAD_WIDTH = 16


class GraphNetwork(nn.Module):
    """Two graph convolutions (Kipf and Welling, 2017) on one graph for all, then an MLP on all parcels side by side.

    Parcels are not pooled: they are the same parcel in every recording, and which of them says what is the information
    (concatenation pooling of Cui et al. 2022, BrainGB).

    Args:
        graph_PP: 1 between connected parcels, 0 elsewhere (see ``group_graph``).
        num_features: F.
        num_outputs: K.
        dropout: share of activations dropped in training.
        seed: of the weights.
    """

    graph_PP: Tensor

    def __init__(
        self,
        graph_PP: Float[Tensor, "P P"],
        num_features: int,
        num_outputs: int,
        *,
        width: int = WIDTH,
        dropout: float = 0.3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        # With one graph for all a product of matrices does the same as messages along edges, five times as fast.
        convolution = graph_layers().DenseGCNConv
        self.register_buffer("graph_PP", graph_PP)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = convolution(num_features, width)
            self.second = convolution(width, width)
            self.node = nn.Linear(width, NODE_WIDTH)
            self.join = nn.Linear(NODE_WIDTH * len(graph_PP), HEAD_WIDTH)
            self.drop = nn.Dropout(dropout)
            self.head = nn.Linear(HEAD_WIDTH, num_outputs)

    def forward(self, features_BPF: Float[Tensor, "B P F"]) -> Float[Tensor, "B K"]:
        """One row of outputs for each recording; features are finite everywhere."""
        hidden_BPH = F.relu(self.first(features_BPF, self.graph_PP))
        hidden_BPH = F.relu(self.second(self.drop(hidden_BPH), self.graph_PP))
        joined_BH = F.relu(self.join(self.drop(self.node(hidden_BPH).flatten(1))))
        outputs_BK: Tensor = self.head(self.drop(joined_BH))
        return outputs_BK


class ConnectomeGCN(nn.Module):
    """``GraphNetwork`` whose node features are each parcel's own row of the connectome, given as its upper triangle.

    Args:
        graph_PP: see ``GraphNetwork``.
        standardise: of each edge, fitted to the training fold.
        num_outputs: K.
        seed: of the weights.
    """

    place_PP: Tensor

    def __init__(
        self, graph_PP: Float[Tensor, "P P"], standardise: Standardise, num_outputs: int, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.standardise = standardise
        self.graph = GraphNetwork(graph_PP, len(graph_PP), num_outputs, seed=seed)
        self.register_buffer("place_PP", places_of_pairs(len(graph_PP)), persistent=False)

    def forward(self, edges_BE: Float[Tensor, "B E"]) -> Float[Tensor, "B K"]:
        """One row of outputs for each connectome; NaN where a parcel has no signal. The diagonal counts as 0."""
        outputs_BK: Tensor = self.graph(F.pad(self.standardise(edges_BE), (0, 1))[:, self.place_PP])
        return outputs_BK


class EmbeddingGCN(nn.Module):
    """``GraphNetwork`` whose node features are a model's vectors of the parcels.

    Args:
        graph_PP: see ``GraphNetwork``.
        standardise: of each parcel's numbers, fitted to the training fold: what is the same in everybody (where a
            parcel lies) would otherwise drown what is not.
        num_outputs: K.
        seed: of the weights.
    """

    def __init__(
        self, graph_PP: Float[Tensor, "P P"], standardise: Standardise, num_outputs: int, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.standardise = standardise
        self.graph = GraphNetwork(graph_PP, standardise.mean.shape[-1], num_outputs, seed=seed)

    def forward(self, parcels_BPD: Float[Tensor, "B P D"]) -> Float[Tensor, "B K"]:
        """One row of outputs for each recording; NaN where a parcel has no signal."""
        outputs_BK: Tensor = self.graph(self.standardise(parcels_BPD))
        return outputs_BK


def group_graph(edges_NE: Float32[np.ndarray, "N E"], *, share: float = EDGE_SHARE) -> Float32[Tensor, "P P"]:
    """The graph that joins the ``share`` of all pairs of parcels with the highest mean connection over recordings.

    Args:
        edges_NE: upper triangles of connectomes, row by row, of the training fold; NaN where a parcel has no signal.
            A pair that no recording knows is not joined.

    Raises:
        ConfigError: ``share`` is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise ConfigError("a share of connections was expected", expected="above 0, at most 1", found=str(share))
    known_NE = np.isfinite(edges_NE)
    count_E = known_NE.sum(axis=0)
    sum_E = np.where(known_NE, edges_NE, 0).sum(axis=0, dtype=np.float64)
    mean_E = np.where(count_E > 0, sum_E / np.maximum(count_E, 1), -np.inf)
    strongest = np.argsort(-mean_E, kind="stable")[: max(1, round(share * len(mean_E)))]
    joined_E = np.zeros(len(mean_E), np.float32)
    joined_E[strongest] = count_E[strongest] > 0
    return F.pad(torch.from_numpy(joined_E), (0, 1))[places_of_pairs(num_parcels_of(len(mean_E)))]


def num_parcels_of(num_pairs: int) -> int:
    """P of P (P - 1) / 2 pairs."""
    num_parcels = round((1 + (1 + 8 * num_pairs) ** 0.5) / 2)
    assert num_parcels * (num_parcels - 1) // 2 == num_pairs, f"{num_pairs} is no number of pairs"
    return num_parcels


def places_of_pairs(num_parcels: int) -> Int64[Tensor, "P P"]:
    """For each two parcels the place of their pair in the upper triangle; for one with itself the place behind."""
    rows, columns = np.triu_indices(num_parcels, k=1)
    places_PP = np.full((num_parcels, num_parcels), len(rows), np.int64)
    places_PP[rows, columns] = places_PP[columns, rows] = np.arange(len(rows))
    return torch.from_numpy(places_PP)


def graph_layers() -> Any:
    """The module ``torch_geometric.nn``, loaded when a network needs it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's names that it uses and that are on their way out
        import torch_geometric.nn  # type: ignore[import-untyped]
    return torch_geometric.nn
